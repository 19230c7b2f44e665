-- Whether this is a standby, and whether it goes on. No parameters.
SELECT pg_is_in_recovery() AS in_recovery,
    -- Outside of a recovery it may not be asked.
    CASE WHEN pg_is_in_recovery() THEN pg_is_wal_replay_paused() END AS is_paused,
    -- Who may not see its status sees that it is there.
    EXISTS (SELECT FROM pg_stat_wal_receiver WHERE pid IS NOT NULL AND coalesce(status, 'streaming') = 'streaming') AS receives,
    coalesce(current_setting('restore_command', true), '') <> '' AS restores
