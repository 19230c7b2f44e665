-- What autovacuum did in this database: tables that it vacuumed or analyzed, and how often it comes by, in seconds. No parameters.
SELECT
    (SELECT sum(pg_stat_get_autovacuum_count(oid) + pg_stat_get_autoanalyze_count(oid))::float8 FROM pg_class WHERE relkind IN ('r', 'm', 't'))
        AS tables,
    CASE WHEN current_setting('autovacuum')::boolean THEN (
        SELECT setting::float8 FROM pg_settings WHERE name = 'autovacuum_naptime'
    ) END AS every_seconds
