-- What sessions are doing now, the oldest transaction first; those that hold others up come with a remedy, and without who may do it. No parameters.
SELECT
    a.pid,
    a.usename::text AS user,
    a.datname::text AS database,
    nullif(a.application_name, '') AS application,
    coalesce(host(a.client_addr), 'socket') AS client,
    a.state,
    nullif(concat_ws(': ', a.wait_event_type, a.wait_event), '') AS wait,
    extract(epoch FROM clock_timestamp() - a.xact_start)::float8 AS transaction_seconds,
    extract(epoch FROM clock_timestamp() - a.state_change)::float8 AS state_seconds,
    CASE
        WHEN a.state LIKE 'idle in transaction%' THEN 'idle in transaction'
        WHEN a.wait_event_type = 'Lock' THEN 'waits for a lock'
        WHEN a.xact_start < clock_timestamp() - interval '1 minute' THEN 'long transaction'
    END AS finding,
    CASE
        WHEN a.state LIKE 'idle in transaction%' AND a.state_change < clock_timestamp() - interval '1 minute'
            THEN format('SELECT pg_terminate_backend(%s)', a.pid)
        WHEN a.state = 'active' AND coalesce(a.wait_event_type, '') <> 'Lock' AND a.xact_start < clock_timestamp() - interval '1 minute'
            THEN format('SELECT pg_cancel_backend(%s)', a.pid)
    END AS remedy,
    a.query
FROM pg_stat_activity a
WHERE a.backend_type = 'client backend' AND a.pid <> pg_backend_pid() AND a.state NOT IN ('idle', 'disabled')
ORDER BY a.xact_start NULLS LAST, a.state_change
