-- The same from what PostgreSQL 13 to 15 count: client backends of this database, the checkpointer, the background writer. No parameters.
WITH block AS (SELECT current_setting('block_size')::bigint AS bytes)
SELECT backend, object, context, reads, reads * block.bytes AS read_bytes, read_ms, writes, writes * block.bytes AS write_bytes, write_ms,
    NULL::bigint AS extends, NULL::bigint AS extend_bytes, hits, hits::float8 / nullif(hits + reads, 0) AS hit_ratio, NULL::bigint AS evictions, fsyncs
FROM (
    SELECT 'this database''s backends' AS backend, 'relation' AS object, 'normal' AS context, d.blks_read AS reads,
        CASE WHEN current_setting('track_io_timing') = 'on' THEN d.blk_read_time END AS read_ms,
        NULL::bigint AS writes, CASE WHEN current_setting('track_io_timing') = 'on' THEN d.blk_write_time END AS write_ms, d.blks_hit AS hits, NULL::bigint AS fsyncs
    FROM pg_stat_database d WHERE d.datname = current_database()
    UNION ALL
    SELECT 'all backends', 'relation', 'normal', NULL, NULL, buffers_backend, NULL, NULL, buffers_backend_fsync FROM pg_stat_bgwriter
    UNION ALL
    SELECT 'checkpointer', 'relation', 'normal', NULL, NULL, buffers_checkpoint, NULL, NULL, NULL FROM pg_stat_bgwriter
    UNION ALL
    SELECT 'background writer', 'relation', 'normal', NULL, NULL, buffers_clean, NULL, NULL, NULL FROM pg_stat_bgwriter
) AS counted
CROSS JOIN block
