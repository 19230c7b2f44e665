-- Reads and writes by who did them, on what and how: from PostgreSQL 16. No parameters.
-- 16 and 17 count operations of op_bytes each, 18 counts bytes: a bare name that the view does not have is found in "absent" instead.
SELECT i.*
FROM (SELECT NULL::bigint AS op_bytes, NULL::numeric AS read_bytes, NULL::numeric AS write_bytes, NULL::numeric AS extend_bytes) AS absent
CROSS JOIN LATERAL (
    SELECT
        backend_type AS backend, object, context,
        reads, coalesce(read_bytes, reads * op_bytes)::bigint AS read_bytes, CASE WHEN timed AND (read_time > 0 OR reads = 0) THEN read_time END AS read_ms,
        writes, coalesce(write_bytes, writes * op_bytes)::bigint AS write_bytes, CASE WHEN timed AND (write_time > 0 OR writes = 0) THEN write_time END AS write_ms,
        extends, coalesce(extend_bytes, extends * op_bytes)::bigint AS extend_bytes,
        hits, hits::float8 / nullif(hits + reads, 0) AS hit_ratio, evictions, fsyncs
    FROM pg_stat_io
    -- Unmeasured time is 0 there, and unknown here: also of what was done before it was measured. 18 counts WAL in this view, and measures it by a setting of its own.
    CROSS JOIN LATERAL (SELECT current_setting(CASE object WHEN 'wal' THEN 'track_wal_io_timing' ELSE 'track_io_timing' END) = 'on' AS timed) AS t
) AS i
WHERE coalesce(i.reads, 0) + coalesce(i.writes, 0) + coalesce(i.extends, 0) + coalesce(i.hits, 0) + coalesce(i.fsyncs, 0) > 0
ORDER BY coalesce(i.read_bytes, 0) + coalesce(i.write_bytes, 0) + coalesce(i.extend_bytes, 0) DESC, i.hits DESC NULLS LAST, 1, 2, 3
