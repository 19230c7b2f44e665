-- Who holds locks on the tables of a schema, those in the way of most first: a session, or a prepared transaction (without a pid, by its name); what it is called, its
-- user and state, the beginnings of its transaction and of its last query, and its strongest lock on each table.
-- $1 text: the schema
WITH held AS (
    SELECT l.pid, l.virtualtransaction, format('%I.%I', n.nspname, c.relname) AS name, l.mode,
           array_position('{AccessShareLock,RowShareLock,RowExclusiveLock,ShareUpdateExclusiveLock,ShareLock,ShareRowExclusiveLock,ExclusiveLock,AccessExclusiveLock}', l.mode) AS strength
    FROM pg_locks l
    JOIN pg_class c ON c.oid = l.relation
    JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE l.locktype = 'relation' AND l.granted AND l.pid IS DISTINCT FROM pg_backend_pid() AND n.nspname = $1 AND c.relkind IN ('r', 'p', 'v', 'm')
      AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
), strongest AS (
    SELECT DISTINCT ON (virtualtransaction, name) * FROM held ORDER BY virtualtransaction, name, strength DESC
), holders AS (
    SELECT pid, virtualtransaction, max(strength) AS strength, array_agg(mode || ' on ' || name ORDER BY strength DESC, name) AS locks
    FROM strongest GROUP BY pid, virtualtransaction
)
SELECT h.pid, p.gid, coalesce(nullif(a.application_name, ''), a.backend_type, 'unnamed'), coalesce(a.usename, p.owner, 'unknown')::text, a.state,
       to_char(coalesce(a.xact_start, p.prepared) AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS'), to_char(a.query_start AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS'), h.locks
FROM holders h
LEFT JOIN pg_stat_activity a ON a.pid = h.pid
LEFT JOIN pg_locks x ON h.pid IS NULL AND x.pid IS NULL AND x.locktype = 'transactionid' AND x.granted AND x.virtualtransaction = h.virtualtransaction
LEFT JOIN pg_prepared_xacts p ON p.transaction = x.transactionid
ORDER BY h.strength DESC, coalesce(a.xact_start, p.prepared), h.pid
LIMIT 6
