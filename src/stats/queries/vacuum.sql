-- How far each database is from the end of its transaction ids, what autovacuum has to do, and what it does now. $1 bigint: how many tables;
-- $2 boolean: dead rows are counted. "found": how many tables there are with dead rows.
WITH settings AS (
    SELECT
        current_setting('autovacuum_freeze_max_age')::bigint AS freeze_max_age,
        current_setting('autovacuum_vacuum_threshold')::float8 AS threshold,
        current_setting('autovacuum_vacuum_scale_factor')::float8 AS scale,
        nullif(current_setting('autovacuum_vacuum_max_threshold', true)::float8, -1) AS most
),
tables AS (
    SELECT
        s.relid, s.n_dead_tup, greatest(s.last_vacuum, s.last_autovacuum) AS vacuumed, age(c.relfrozenxid)::bigint AS xid_age,
        least(
            coalesce((SELECT option_value::float8 FROM pg_options_to_table(c.reloptions) WHERE option_name = 'autovacuum_vacuum_threshold'), threshold)
            + coalesce((SELECT option_value::float8 FROM pg_options_to_table(c.reloptions) WHERE option_name = 'autovacuum_vacuum_scale_factor'), scale)
            * greatest(c.reltuples, 0),
            most) AS due
    FROM pg_stat_all_tables s
    JOIN pg_class c ON c.oid = s.relid
    CROSS JOIN settings
    WHERE s.schemaname NOT IN ('pg_catalog', 'information_schema') AND c.relkind IN ('r', 'm', 't')
)
SELECT what, name, xid_age, wraparound_ratio, dead_est, due_at, dead_est / nullif(due_at, 0)::float8 AS due_ratio, vacuumed_seconds, phase, progress_ratio, found
FROM (
    SELECT 1 AS position, 'running' AS what,
        CASE WHEN p.datname = current_database() THEN p.relid::regclass::text ELSE p.datname || ': ' || p.relid END AS name,
        NULL::bigint AS xid_age, NULL::float8 AS wraparound_ratio, NULL::bigint AS dead_est, NULL::bigint AS due_at, NULL::float8 AS vacuumed_seconds,
        p.phase, p.heap_blks_scanned::float8 / nullif(p.heap_blks_total, 0) AS progress_ratio, NULL::bigint AS found
    FROM pg_stat_progress_vacuum p
    UNION ALL
    -- Ids end at 2 billion; the server refuses to write 3 million before that.
    SELECT 2, 'database', d.datname, greatest(age(d.datfrozenxid), mxid_age(d.datminmxid))::bigint,
        greatest(age(d.datfrozenxid), mxid_age(d.datminmxid)) / 2147483648.0::float8, NULL, NULL, NULL, NULL, NULL, NULL
    FROM pg_database d
    UNION ALL
    (
        SELECT 3, 'table', t.relid::regclass::text, t.xid_age, t.xid_age / 2147483648.0::float8, t.n_dead_tup, round(t.due)::bigint,
            extract(epoch FROM clock_timestamp() - t.vacuumed)::float8, NULL, NULL, count(*) OVER ()
        FROM tables t WHERE t.n_dead_tup > 0 AND $2 ORDER BY t.n_dead_tup / nullif(t.due, 0) DESC NULLS LAST LIMIT $1
    )
) AS rows
ORDER BY position, due_at IS NULL, dead_est / nullif(due_at, 0)::float8 DESC NULLS LAST, xid_age DESC, name
