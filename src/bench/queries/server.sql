-- The server's version and the settings that a load test's numbers depend on: name, value.
SELECT name, current_setting(name) AS value
FROM pg_settings
WHERE name IN ('server_version', 'shared_buffers', 'max_connections', 'fsync', 'synchronous_commit', 'wal_level', 'full_page_writes',
    'max_wal_size', 'checkpoint_timeout', 'work_mem', 'effective_io_concurrency', 'random_page_cost', 'jit', 'autovacuum', 'huge_pages',
    'shared_preload_libraries')
ORDER BY name
