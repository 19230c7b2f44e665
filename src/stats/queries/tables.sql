-- Tables and materialized views, the largest first. $1 bigint: how many, NULL for all; $2 boolean: what is read is counted; $3 boolean: what is written is.
-- A size is asked only of a table that nobody locks, or waits to lock, exclusively: asking would wait, too. Those have "locked_by".
WITH locked AS MATERIALIZED (
    -- A prepared transaction has no process: it is 0, as in pg_blocking_pids().
    SELECT relation, coalesce(min(pid), 0) AS pid
    FROM pg_locks
    WHERE locktype = 'relation' AND mode = 'AccessExclusiveLock' AND pid IS DISTINCT FROM pg_backend_pid()
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
    GROUP BY relation
),
listed AS MATERIALIZED (
    SELECT
        c.oid, c.relkind, c.relispopulated, c.xmin, c.relpages, c.reltuples, c.reltoastrelid, c.reloptions,
        (
            SELECT min(l.pid) FROM locked l
            WHERE l.relation IN (c.oid, c.reltoastrelid)
                OR l.relation IN (SELECT x.indexrelid FROM pg_index x WHERE x.indrelid IN (c.oid, c.reltoastrelid))
        ) AS locked_by
    FROM pg_class c
    JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'm') AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
),
-- For each size the server looks at files: for the order at all of them, for the rest at those of the tables that are shown.
largest AS MATERIALIZED (
    SELECT l.*, CASE WHEN locked_by IS NULL THEN pg_total_relation_size(oid) END AS size_bytes, count(*) OVER () AS found
    FROM listed l
    ORDER BY size_bytes DESC NULLS FIRST, oid::regclass::text
    LIMIT $1
),
sized AS MATERIALIZED (
    SELECT
        l.*,
        CASE WHEN locked_by IS NULL THEN pg_relation_size(oid) END AS main_bytes,
        CASE WHEN locked_by IS NULL THEN pg_indexes_size(oid) END AS index_bytes,
        CASE WHEN locked_by IS NULL AND reltoastrelid <> 0 THEN pg_total_relation_size(reltoastrelid) END AS toast_bytes
    FROM largest l
),
-- What a row takes by the planner's statistics: header, line pointer and the columns' average widths. Unknown until the table is analyzed.
widths AS (
    SELECT a.attrelid, CASE WHEN count(*) = count(s.avg_width) THEN 28 + sum((1 - s.null_frac) * s.avg_width)::float8 END AS row_bytes
    FROM pg_attribute a
    JOIN sized z ON z.oid = a.attrelid
    JOIN pg_class c ON c.oid = a.attrelid
    JOIN pg_namespace n ON n.oid = c.relnamespace
    LEFT JOIN pg_stats s ON s.schemaname = n.nspname AND s.tablename = c.relname AND s.attname = a.attname AND NOT s.inherited
    WHERE a.attnum > 0 AND NOT a.attisdropped
    GROUP BY a.attrelid
)
SELECT
    z.oid::regclass::text AS table,
    CASE z.relkind WHEN 'm' THEN 'materialized view' ELSE 'table' END AS kind,
    z.size_bytes,
    CASE WHEN z.reltuples >= 0 AND (z.reltuples > 0 OR s.last_analyze IS NOT NULL OR s.last_autoanalyze IS NOT NULL) THEN z.reltuples::bigint
        ELSE nullif(s.n_live_tup, 0) END AS rows_est,
    CASE WHEN $3 THEN s.n_dead_tup END AS dead_est,
    CASE WHEN $3 THEN s.n_dead_tup::float8 / nullif(s.n_live_tup + s.n_dead_tup, 0) END AS dead_ratio,
    -- greatest() would take unknown for 0.
    -- A file that has grown since the planner's statistics holds rows that they do not know: most of a table that was just filled would seem to be bloat.
    CASE WHEN z.reltuples > 0 AND w.row_bytes IS NOT NULL AND z.main_bytes > 10 * current_setting('block_size')::bigint
        AND z.main_bytes <= 1.2 * z.relpages * current_setting('block_size')::bigint THEN
        greatest(
            z.main_bytes - ceil(
                z.reltuples * w.row_bytes
                / ((current_setting('block_size')::bigint - 24) * coalesce((
                    SELECT option_value::float8 FROM pg_options_to_table(z.reloptions) WHERE option_name = 'fillfactor'), 100) / 100)
            )::bigint * current_setting('block_size')::bigint,
            0)
        END AS bloat_est_bytes,
    z.index_bytes,
    z.toast_bytes,
    s.seq_scan AS seq_scans,
    s.seq_tup_read AS seq_rows,
    s.idx_scan AS index_scans,
    CASE WHEN $3 THEN s.n_tup_ins END AS inserts,
    CASE WHEN $3 THEN s.n_tup_upd END AS updates,
    CASE WHEN $3 THEN s.n_tup_del END AS deletes,
    extract(epoch FROM clock_timestamp() - greatest(s.last_vacuum, s.last_autovacuum))::float8 AS vacuumed_seconds,
    extract(epoch FROM clock_timestamp() - greatest(s.last_analyze, s.last_autoanalyze))::float8 AS analyzed_seconds,
    CASE
        -- Without data it never was, or is no longer.
        WHEN z.relkind <> 'm' OR NOT z.relispopulated THEN NULL
        -- A standby has its primary's timestamps, and those only where that keeps them.
        WHEN current_setting('track_commit_timestamp') = 'on' AND NOT pg_is_in_recovery()
            THEN extract(epoch FROM clock_timestamp() - pg_xact_commit_timestamp(z.xmin))::float8
    END AS refreshed_seconds,
    CASE WHEN NOT (current_setting('autovacuum')::boolean AND coalesce((
        SELECT bool_and(CASE option_name WHEN 'autovacuum_enabled' THEN option_value::boolean END) FROM pg_options_to_table(z.reloptions)), true))
        THEN 'off' END AS autovacuum,
    z.locked_by, z.found
FROM sized z
LEFT JOIN pg_stat_all_tables s ON s.relid = z.oid AND $2
LEFT JOIN widths w ON w.attrelid = z.oid
ORDER BY z.size_bytes DESC NULLS FIRST, 1
