-- Sessions that wait for a lock, and those that they wait for; whose turn comes before whose is made out of it. No parameters.
-- pg_locks, which everybody may read, names the waiters, those for a tuple too; pg_blocking_pids() says whom each waits for (0: a prepared transaction):
-- who holds the lock, and who stands before it in the queue. "holders" are those of them that hold it.
-- Prepared transactions, which have no process, have numbers below 0 here, each its own.
WITH all_locks AS MATERIALIZED (
    SELECT * FROM pg_locks WHERE pid IS DISTINCT FROM pg_backend_pid()
),
prepared AS MATERIALIZED (
    -- Each holds its own transaction id; by the same virtualtransaction it holds all else.
    SELECT -row_number() OVER (ORDER BY p.prepared DESC, p.transaction::text)::int AS pid, l.virtualtransaction, p.gid, p.owner, p.database, p.prepared
    FROM pg_prepared_xacts p JOIN all_locks l ON l.pid IS NULL AND l.locktype = 'transactionid' AND l.granted AND l.transactionid = p.transaction
),
locks AS MATERIALIZED (
    SELECT coalesce(l.pid, p.pid, 0) AS pid, l.granted, l.mode, l.locktype, l.database, l.relation, l.transactionid,
        ROW(l.locktype, l.database, l.relation, l.page, l.tuple, l.virtualxid, l.transactionid, l.classid, l.objid, l.objsubid)::text AS object
    FROM all_locks l LEFT JOIN prepared p ON l.pid IS NULL AND p.virtualtransaction = l.virtualtransaction
),
-- Which modes of prepared transactions are in the way of which.
conflicts (wanted, held) AS (
    VALUES
        ('AccessShareLock', '{AccessExclusiveLock}'::text[]),
        ('RowShareLock', '{ExclusiveLock,AccessExclusiveLock}'),
        ('RowExclusiveLock', '{ShareLock,ShareRowExclusiveLock,ExclusiveLock,AccessExclusiveLock}'),
        ('ShareUpdateExclusiveLock', '{ShareUpdateExclusiveLock,ShareLock,ShareRowExclusiveLock,ExclusiveLock,AccessExclusiveLock}'),
        ('ShareLock', '{RowExclusiveLock,ShareUpdateExclusiveLock,ShareRowExclusiveLock,ExclusiveLock,AccessExclusiveLock}'),
        ('ShareRowExclusiveLock', '{RowExclusiveLock,ShareUpdateExclusiveLock,ShareLock,ShareRowExclusiveLock,ExclusiveLock,AccessExclusiveLock}'),
        ('ExclusiveLock', '{RowShareLock,RowExclusiveLock,ShareUpdateExclusiveLock,ShareLock,ShareRowExclusiveLock,ExclusiveLock,AccessExclusiveLock}'),
        ('AccessExclusiveLock', '{AccessShareLock,RowShareLock,RowExclusiveLock,ShareUpdateExclusiveLock,ShareLock,ShareRowExclusiveLock,ExclusiveLock,AccessExclusiveLock}')
),
waits AS MATERIALIZED (
    SELECT w.pid, w.mode, w.locktype, w.database, w.relation, w.transactionid, w.object,
        CASE WHEN 0 = ANY (w.blockers) THEN array_remove(w.blockers, 0) || coalesce((
            SELECT array_agg(DISTINCT h.pid) FROM locks h JOIN conflicts c ON c.wanted = w.mode AND h.mode = ANY (c.held)
            WHERE h.object = w.object AND h.granted AND h.pid < 0), '{0}')
        ELSE w.blockers END AS blockers
    FROM (
        SELECT d.*, pg_blocking_pids(d.pid) AS blockers FROM (SELECT DISTINCT ON (pid) * FROM locks WHERE NOT granted AND pid > 0) AS d
    ) AS w
),
holds AS (
    SELECT w.pid, string_agg(DISTINCT h.pid::text, ' ') AS holders
    FROM waits w JOIN locks h ON h.object = w.object AND h.granted AND h.pid = ANY (w.blockers)
    GROUP BY w.pid
),
concerned AS (
    SELECT pid FROM waits WHERE cardinality(blockers) > 0
    UNION
    SELECT unnest(blockers) FROM waits
)
SELECT
    c.pid,
    array_to_string(w.blockers, ' ') AS blockers,
    h.holders,
    p.database,
    p.gid,
    coalesce(a.usename, p.owner)::text AS user,
    nullif(a.application_name, '') AS application,
    coalesce(host(a.client_addr), CASE WHEN a.backend_type = 'client backend' THEN 'socket' END) AS client,
    CASE WHEN c.pid <= 0 THEN 'prepared transaction' ELSE a.state END AS state,
    coalesce(
        w.mode || ' on ' || CASE
            WHEN w.locktype = 'relation' AND w.database = (SELECT oid FROM pg_database WHERE datname = current_database())
                THEN w.relation::regclass::text
            WHEN w.locktype = 'tuple' AND w.database = (SELECT oid FROM pg_database WHERE datname = current_database())
                THEN 'a row of ' || w.relation::regclass::text
            WHEN w.locktype = 'transactionid' THEN 'a row of transaction ' || w.transactionid::text
            ELSE w.locktype END,
        nullif(concat_ws(': ', a.wait_event_type, a.wait_event), '')
    ) AS wait,
    extract(epoch FROM clock_timestamp() - a.xact_start)::float8 AS transaction_seconds,
    extract(epoch FROM clock_timestamp() - coalesce(a.state_change, p.prepared))::float8 AS state_seconds,
    -- For whoever turns out to be the root. Of a prepared transaction whoever reads this says it.
    CASE
        WHEN c.pid < 0 THEN NULL
        WHEN c.pid = 0 THEN 'ROLLBACK PREPARED a transaction of pg_prepared_xacts'
        WHEN a.state = 'active' THEN format('SELECT pg_cancel_backend(%s)', c.pid)
        ELSE format('SELECT pg_terminate_backend(%s)', c.pid)
    END AS remedy,
    a.query
FROM concerned c
LEFT JOIN waits w ON w.pid = c.pid
LEFT JOIN holds h ON h.pid = c.pid
LEFT JOIN prepared p ON p.pid = c.pid
LEFT JOIN pg_stat_activity a ON a.pid = c.pid
ORDER BY c.pid
