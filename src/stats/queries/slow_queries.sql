-- The statements of this database that cost the most since the statistics began.
-- $1 float8: the least mean time in milliseconds; $2 text: total, mean, calls, io or wal; $3 bigint: how many, NULL for all; "found": how many there are.
-- Every version of pg_stat_statements: a bare name that the view does not have is found in "absent" instead, and is NULL.
SELECT
    s.query_id, s.user, s.calls, s.total_ms, s.total_ms / nullif(s.calls, 0) AS mean_ms, s.max_ms,
    s.total_ms / nullif(s.all_ms, 0) AS share_ratio,
    s.rows, s.hits, s.reads, s.hits::float8 / nullif(s.hits + s.reads, 0) AS hit_ratio, s.io_ms, s.temp_bytes, s.wal_bytes,
    s.query, count(*) OVER () AS found
FROM (
    SELECT
        NULL::float8 AS total_exec_time, NULL::float8 AS total_time, NULL::float8 AS max_exec_time, NULL::float8 AS max_time,
        NULL::float8 AS blk_read_time, NULL::float8 AS blk_write_time, NULL::float8 AS shared_blk_read_time, NULL::float8 AS shared_blk_write_time,
        NULL::numeric AS wal_bytes, true AS toplevel
) AS absent
CROSS JOIN LATERAL (
    SELECT
        queryid::text AS query_id,
        coalesce((SELECT rolname::text FROM pg_roles WHERE oid = userid), userid::text) AS user,
        query,
        calls,
        coalesce(total_exec_time, total_time) AS total_ms,
        -- Of all statements, those too that are not listed.
        sum(coalesce(total_exec_time, total_time)) OVER () AS all_ms,
        coalesce(max_exec_time, max_time) AS max_ms,
        rows,
        shared_blks_hit AS hits,
        shared_blks_read AS reads,
        -- Unmeasured time is 0 there, and unknown here: also of what was done before it was measured.
        CASE WHEN current_setting('track_io_timing') = 'on' AND (shared_blks_read + shared_blks_written = 0
                OR coalesce(shared_blk_read_time, blk_read_time) + coalesce(shared_blk_write_time, blk_write_time) > 0)
            THEN coalesce(shared_blk_read_time, blk_read_time) + coalesce(shared_blk_write_time, blk_write_time) END AS io_ms,
        (temp_blks_read + temp_blks_written) * current_setting('block_size')::bigint AS temp_bytes,
        wal_bytes::bigint AS wal_bytes
    FROM pg_stat_statements
    WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database()) AND toplevel AND query NOT LIKE '%/* candlefish looks */%'
) AS s
WHERE s.total_ms / nullif(s.calls, 0) >= $1
ORDER BY
    CASE $2
        WHEN 'mean' THEN s.total_ms / nullif(s.calls, 0)
        WHEN 'calls' THEN s.calls
        WHEN 'io' THEN s.io_ms
        WHEN 'wal' THEN s.wal_bytes
        ELSE s.total_ms
    END DESC NULLS LAST,
    s.total_ms DESC
LIMIT $3
