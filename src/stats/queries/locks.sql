-- Sessions that wait for a lock, and those that they wait for; whose turn comes before whose is made out of it. No parameters.
-- pg_locks, which everybody may read, names the waiters, those for a tuple too; pg_blocking_pids() says whom each waits for (0: a prepared transaction):
-- who holds the lock, and who stands before it in the queue. "holders" are those of them that hold it.
WITH locks AS MATERIALIZED (
    SELECT coalesce(pid, 0) AS pid, granted, mode, locktype, database, relation, transactionid,
        ROW(locktype, database, relation, page, tuple, virtualxid, transactionid, classid, objid, objsubid)::text AS object
    FROM pg_locks WHERE pid IS DISTINCT FROM pg_backend_pid()
),
waits AS MATERIALIZED (
    SELECT w.*, pg_blocking_pids(w.pid) AS blockers FROM (SELECT DISTINCT ON (pid) * FROM locks WHERE NOT granted AND pid <> 0) AS w
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
    a.usename::text AS user,
    nullif(a.application_name, '') AS application,
    coalesce(host(a.client_addr), CASE WHEN a.backend_type = 'client backend' THEN 'socket' END) AS client,
    CASE WHEN c.pid = 0 THEN 'prepared transaction' ELSE a.state END AS state,
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
    extract(epoch FROM clock_timestamp() - a.state_change)::float8 AS state_seconds,
    -- For whoever turns out to be the root; and who may do it, where this user may not.
    CASE
        WHEN c.pid = 0 THEN 'ROLLBACK PREPARED a transaction of pg_prepared_xacts'
        WHEN a.state = 'active' THEN format('SELECT pg_cancel_backend(%s)', c.pid)
        ELSE format('SELECT pg_terminate_backend(%s)', c.pid)
    END || CASE
        WHEN c.pid = 0 OR current_setting('is_superuser') = 'on' THEN ''
        WHEN a.usesysid IS NULL OR r.rolsuper THEN ' -- as a superuser'
        WHEN pg_has_role(a.usesysid, 'USAGE') OR pg_has_role('pg_signal_backend', 'USAGE') THEN ''
        -- A line's end in a name would end the comment.
        ELSE format(' -- as %s, as a superuser, or with pg_signal_backend', regexp_replace(quote_ident(a.usename), '[[:cntrl:]]', '?', 'g'))
    END AS remedy,
    a.query
FROM concerned c
LEFT JOIN waits w ON w.pid = c.pid
LEFT JOIN holds h ON h.pid = c.pid
LEFT JOIN pg_stat_activity a ON a.pid = c.pid
LEFT JOIN pg_roles r ON r.oid = a.usesysid
ORDER BY c.pid
