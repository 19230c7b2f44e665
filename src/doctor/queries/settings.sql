-- The settings that checks are about, as far as this user may see them, and whether they are of this role's or connection's own. No parameters.
SELECT name, setting, unit, pending_restart, source IN ('user', 'database user', 'client', 'session') AS is_own, source FROM pg_settings
WHERE pending_restart OR name IN (
    'autovacuum', 'track_counts', 'track_io_timing', 'fsync', 'full_page_writes', 'synchronous_commit', 'shared_buffers', 'work_mem',
    'effective_cache_size', 'max_connections', 'superuser_reserved_connections', 'reserved_connections', 'idle_in_transaction_session_timeout',
    'shared_preload_libraries', 'password_encryption', 'ssl', 'autovacuum_freeze_max_age', 'data_checksums', 'zero_damaged_pages', 'ignore_checksum_failure',
    'max_slot_wal_keep_size'
)
