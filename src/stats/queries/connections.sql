-- Who is connected: by state, by what they wait for, by client; and against which limits. $1 bigint: how many clients; "found": how many there are.
-- A user without pg_read_all_stats sees of others only that they are there: those are "hidden".
WITH clients AS (
    SELECT
        a.*, coalesce(a.state, 'hidden') AS shown_state,
        -- How often candlefish's own have looked makes them no other client.
        regexp_replace(a.application_name, '^(candlefish [a-z ]+), \d+ looks \(.*$', '\1') AS application,
        extract(epoch FROM clock_timestamp() - a.state_change)::float8 AS state_seconds
    FROM pg_stat_activity a
    WHERE a.datid IS NOT NULL AND a.usesysid IS NOT NULL AND coalesce(a.backend_type, 'client backend') = 'client backend'
        AND a.pid <> pg_backend_pid()
),
usable AS (
    SELECT
        current_setting('max_connections')::bigint - current_setting('superuser_reserved_connections')::bigint
        - coalesce(current_setting('reserved_connections', true)::bigint, 0) AS connections
)
SELECT scope, name, connections, most, connections::float8 / nullif(most, 0) AS used_ratio, longest_seconds, found
FROM (
    SELECT 1 AS position, 'limit' AS scope, 'server' AS name, (SELECT count(*) FROM clients) AS connections,
        (SELECT connections FROM usable) AS most, NULL::float8 AS longest_seconds, NULL::bigint AS found
    UNION ALL
    SELECT 2, 'limit', 'database ' || d.datname, (SELECT count(*) FROM clients c WHERE c.datid = d.oid), d.datconnlimit::bigint, NULL, NULL
    FROM pg_database d WHERE d.datconnlimit > 0
    UNION ALL
    SELECT 3, 'limit', 'user ' || r.rolname, (SELECT count(*) FROM clients c WHERE c.usesysid = r.oid), r.rolconnlimit::bigint, NULL, NULL
    FROM pg_roles r WHERE r.rolconnlimit > 0
    UNION ALL
    SELECT 4, 'state', shown_state, count(*), NULL, max(state_seconds), NULL FROM clients GROUP BY shown_state
    UNION ALL
    SELECT 5, 'wait', wait_event_type || ': ' || wait_event, count(*), NULL, max(state_seconds), NULL
    FROM clients WHERE wait_event IS NOT NULL AND wait_event_type <> 'Client' GROUP BY 3
    UNION ALL
    (
        SELECT 6, 'client',
            -- Of whom this user may not see, neither is known.
            concat_ws(' ', usename || '@' || coalesce(datname, '?'), nullif(application, ''),
                'from ' || CASE client_port WHEN -1 THEN 'socket' ELSE host(client_addr) END),
            count(*), NULL, max(state_seconds), count(*) OVER ()
        FROM clients GROUP BY 3 ORDER BY 4 DESC, 3 LIMIT $1
    )
) AS counted
ORDER BY position, connections DESC, name
