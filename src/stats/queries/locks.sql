-- Who waits for whom, as a tree: each root blocks others and waits for nobody. No parameters.
-- pg_locks, which everybody may read, names the waiters, those for a tuple too; pg_blocking_pids() says whom each waits for (0: a prepared transaction).
WITH RECURSIVE waits AS MATERIALIZED (
    SELECT w.pid, unnest(pg_blocking_pids(w.pid)) AS blocker
    FROM (SELECT DISTINCT pid FROM pg_locks WHERE NOT granted AND pid IS NOT NULL AND pid <> pg_backend_pid()) AS w
),
roots AS (
    SELECT DISTINCT blocker AS pid FROM waits WHERE blocker NOT IN (SELECT pid FROM waits)
),
tree AS (
    SELECT pid, NULL::int AS blocked_by, 0 AS depth, ARRAY[pid] AS path FROM roots
    UNION ALL
    -- A deadlock that is not yet broken has no root: its first session stands for one.
    SELECT min(pid), NULL, 0, ARRAY[min(pid)] FROM waits HAVING min(pid) IS NOT NULL AND NOT EXISTS (SELECT FROM roots)
    UNION ALL
    SELECT w.pid, w.blocker, t.depth + 1, t.path || w.pid FROM tree t JOIN waits w ON w.blocker = t.pid WHERE w.pid <> ALL (t.path)
)
SELECT
    repeat('  ', t.depth) || t.pid AS tree,
    t.depth,
    t.pid,
    t.blocked_by,
    (SELECT count(DISTINCT b.pid) FROM tree b WHERE t.pid = ANY (b.path) AND b.pid <> t.pid) AS blocks,
    a.usename::text AS user,
    nullif(a.application_name, '') AS application,
    coalesce(host(a.client_addr), CASE WHEN a.backend_type = 'client backend' THEN 'socket' END) AS client,
    CASE WHEN t.pid = 0 THEN 'prepared transaction' ELSE a.state END AS state,
    coalesce(
        (
            SELECT l.mode || ' on ' || CASE
                WHEN l.locktype = 'relation' AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
                    THEN l.relation::regclass::text
                WHEN l.locktype = 'tuple' AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
                    THEN 'a row of ' || l.relation::regclass::text
                WHEN l.locktype = 'transactionid' THEN 'a row of transaction ' || l.transactionid::text
                ELSE l.locktype END
            FROM pg_locks l WHERE l.pid = t.pid AND NOT l.granted LIMIT 1
        ),
        nullif(concat_ws(': ', a.wait_event_type, a.wait_event), '')
    ) AS wait,
    extract(epoch FROM clock_timestamp() - a.xact_start)::float8 AS transaction_seconds,
    extract(epoch FROM clock_timestamp() - a.state_change)::float8 AS state_seconds,
    CASE
        WHEN t.depth > 0 THEN NULL
        WHEN t.pid = 0 THEN 'ROLLBACK PREPARED a transaction of pg_prepared_xacts'
        WHEN a.state = 'active' THEN format('SELECT pg_cancel_backend(%s)', t.pid)
        ELSE format('SELECT pg_terminate_backend(%s)', t.pid)
    END AS remedy,
    a.query
FROM tree t
LEFT JOIN pg_stat_activity a ON a.pid = t.pid
ORDER BY t.path
