-- The server's counts that only grow, of this database: name, value. WAL is the whole server's.
SELECT c.name, c.value
FROM pg_stat_database d
CROSS JOIN LATERAL (VALUES
    ('commits', d.xact_commit::float8), ('rollbacks', d.xact_rollback::float8), ('blocks_hit', d.blks_hit::float8), ('blocks_read', d.blks_read::float8),
    ('rows_returned', d.tup_returned::float8), ('rows_written', (d.tup_inserted + d.tup_updated + d.tup_deleted)::float8),
    ('temp_bytes', d.temp_bytes::float8), ('deadlocks', d.deadlocks::float8),
    ('read_ms', CASE WHEN current_setting('track_io_timing')::bool THEN d.blk_read_time END),
    ('write_ms', CASE WHEN current_setting('track_io_timing')::bool THEN d.blk_write_time END),
    ('wal_bytes', CASE WHEN pg_is_in_recovery() THEN NULL ELSE pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::float8 END)
) AS c (name, value)
WHERE d.datname = current_database()
