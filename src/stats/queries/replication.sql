-- Standbys and how far they are behind, and replication slots with the WAL that they hold back. No parameters.
WITH here AS (
    SELECT CASE WHEN pg_is_in_recovery() THEN pg_last_wal_receive_lsn() ELSE pg_current_wal_lsn() END AS lsn
)
SELECT kind, name, client, state, sync, lag_bytes, lag_seconds, retained_bytes
FROM (
    SELECT 1 AS position, 'standby' AS kind, coalesce(nullif(r.application_name, ''), r.pid::text) AS name,
        coalesce(host(r.client_addr), CASE WHEN r.state IS NOT NULL THEN 'socket' END) AS client, r.state, r.sync_state AS sync,
        pg_wal_lsn_diff(here.lsn, r.replay_lsn)::float8::bigint AS lag_bytes, extract(epoch FROM r.replay_lag)::float8 AS lag_seconds,
        NULL::bigint AS retained_bytes
    FROM pg_stat_replication r CROSS JOIN here
    UNION ALL
    SELECT 2, 'slot', s.slot_name::text, NULL, CASE WHEN s.active THEN 'active' ELSE 'inactive' END || coalesce(', ' || s.wal_status, ''),
        s.slot_type, NULL, NULL, pg_wal_lsn_diff(here.lsn, s.restart_lsn)::float8::bigint
    FROM pg_replication_slots s CROSS JOIN here
    UNION ALL
    -- A standby that has replayed all it received is not behind, however long ago the last transaction was; as long as it receives: without that
    -- nobody here knows what there would be to receive.
    SELECT 3, 'this standby', coalesce(w.sender_host, 'its primary'), NULL,
        nullif(concat_ws(', ', CASE WHEN w.streams IS NULL THEN 'receives nothing' ELSE w.status END,
            -- Outside of a recovery it may not be asked.
            CASE WHEN pg_is_in_recovery() AND pg_is_wal_replay_paused() THEN 'replay paused' END), ''), NULL,
        CASE WHEN w.streams THEN pg_wal_lsn_diff(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn()) END::float8::bigint,
        CASE
            WHEN w.streams IS NOT TRUE THEN NULL
            WHEN pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn() THEN 0
            ELSE extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp()) END::float8,
        NULL
    FROM (SELECT) AS always
    -- Who may not see its status sees that it is there.
    LEFT JOIN (SELECT sender_host, status, coalesce(status, 'streaming') = 'streaming' AS streams FROM pg_stat_wal_receiver WHERE pid IS NOT NULL) AS w ON true
    WHERE pg_is_in_recovery()
) AS rows
ORDER BY position, name
