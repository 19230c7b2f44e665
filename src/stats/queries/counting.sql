-- Since when the counters of this database count, and for how long. No parameters.
-- A crash takes them all away, which the database's own reset does not say; those of the server do, as long as not each of them was reset by hand.
SELECT
    to_char(began, 'YYYY-MM-DD"T"HH24:MI:SS"Z"') AS since,
    extract(epoch FROM clock_timestamp() - began)::float8 AS age_seconds,
    pg_is_in_recovery() AS in_recovery
FROM (
    SELECT greatest(d.stats_reset, least(b.stats_reset, a.stats_reset)) AS began
    FROM pg_stat_database d CROSS JOIN pg_stat_bgwriter b CROSS JOIN pg_stat_archiver a
    WHERE d.datname = current_database()
) AS counters
