-- Tables that hold something, by their files, and of which the planner knows nothing: never analyzed, nor vacuumed. No parameters.
-- The counters are not asked: they may be young, turned off, or the primary's. Of what somebody locks exclusively the size would wait: it may be one.
WITH unknown AS MATERIALIZED (
    SELECT c.oid, n.nspname, c.relname,
        EXISTS (
            SELECT FROM pg_locks l
            WHERE l.locktype = 'relation' AND l.mode = 'AccessExclusiveLock' AND l.relation = c.oid AND l.pid IS DISTINCT FROM pg_backend_pid()
                AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())) AS is_locked
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'm') AND c.reltuples <= 0 AND c.relpages = 0 AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
)
SELECT format('%I.%I', nspname, relname) AS "table", is_locked
FROM (SELECT *, CASE WHEN NOT is_locked THEN pg_relation_size(oid) END AS bytes FROM unknown) AS sized
-- As many pages as it guesses at anyhow.
WHERE is_locked OR bytes >= 10 * current_setting('block_size')::bigint
ORDER BY is_locked, bytes DESC, 1
