-- Tables that somebody holds, or waits for, exclusively: statistics leave them alone. No parameters.
SELECT c.oid::regclass::text AS table, min(l.pid) AS pid
FROM pg_locks l
JOIN pg_class c ON c.oid = l.relation OR c.oid = (SELECT x.indrelid FROM pg_index x WHERE x.indexrelid = l.relation)
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE l.locktype = 'relation' AND l.mode = 'AccessExclusiveLock' AND l.pid <> pg_backend_pid() AND c.relkind IN ('r', 'm', 'p')
    AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
    AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
GROUP BY 1
ORDER BY 1
