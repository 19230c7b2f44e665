-- Who holds an advisory lock of this database: process id, application and user.
-- $1 bigint: the lock's key.
SELECT l.pid, coalesce(nullif(a.application_name, ''), 'unnamed application') || ' as ' || coalesce(a.usename, 'unknown user')
FROM pg_locks l
LEFT JOIN pg_stat_activity a USING (pid)
WHERE l.locktype = 'advisory'
  AND l.granted
  AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND l.objsubid = 1
  AND (l.classid::bigint << 32) | l.objid::bigint = $1
LIMIT 1
