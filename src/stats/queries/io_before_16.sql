-- The same from what PostgreSQL 13 to 15 count: client backends of this database, the checkpointer, the background writer.
-- $1 boolean: what backends read is counted.
WITH block AS (SELECT current_setting('block_size')::bigint AS bytes)
SELECT backend, object, context, reads, reads * block.bytes AS read_bytes, read_ms, writes, writes * block.bytes AS write_bytes, write_ms,
    NULL::bigint AS extends, NULL::bigint AS extend_bytes, hits, hits::float8 / nullif(hits + reads, 0) AS hit_ratio, NULL::bigint AS evictions, fsyncs
FROM (
    SELECT 'this database''s backends' AS backend, 'relation' AS object, 'normal' AS context, CASE WHEN $1 THEN d.blks_read END AS reads,
        CASE WHEN timed THEN d.blk_read_time END AS read_ms, NULL::bigint AS writes, CASE WHEN timed THEN d.blk_write_time END AS write_ms,
        CASE WHEN $1 THEN d.blks_hit END AS hits, NULL::bigint AS fsyncs
    FROM pg_stat_database d
    -- Unmeasured time is 0 there, and unknown here: also of what was done before it was measured.
    CROSS JOIN LATERAL (SELECT $1 AND current_setting('track_io_timing') = 'on' AND (d.blk_read_time > 0 OR d.blks_read = 0) AS timed) AS t
    WHERE d.datname = current_database()
    UNION ALL
    SELECT 'all backends', 'relation', 'normal', NULL, NULL, buffers_backend, NULL, NULL, buffers_backend_fsync FROM pg_stat_bgwriter
    UNION ALL
    SELECT 'checkpointer', 'relation', 'normal', NULL, NULL, buffers_checkpoint, NULL, NULL, NULL FROM pg_stat_bgwriter
    UNION ALL
    SELECT 'background writer', 'relation', 'normal', NULL, NULL, buffers_clean, NULL, NULL, NULL FROM pg_stat_bgwriter
) AS counted
CROSS JOIN block
