-- Tables that hold something, by their files, and of which the planner knows nothing: never analyzed, nor vacuumed. No parameters.
-- The counters are not asked: they may be young, turned off, or the primary's. What somebody locks exclusively is left alone: its size would wait.
WITH unknown AS MATERIALIZED (
    SELECT c.oid, n.nspname, c.relname
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'm') AND c.reltuples <= 0 AND c.relpages = 0 AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
        AND NOT EXISTS (
            SELECT FROM pg_locks l
            WHERE l.locktype = 'relation' AND l.mode = 'AccessExclusiveLock' AND l.relation = c.oid AND l.pid <> pg_backend_pid()
                AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()))
)
SELECT format('%I.%I', nspname, relname) AS "table"
FROM (SELECT *, pg_relation_size(oid) AS bytes FROM unknown) AS sized
-- As many pages as it guesses at anyhow.
WHERE bytes >= 10 * current_setting('block_size')::bigint
ORDER BY bytes DESC
