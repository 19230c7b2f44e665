-- How many blocks were found in shared buffers, for tables, indexes, TOAST and the whole database; unknown where nothing was read.
-- $1 boolean: they are counted.
SELECT what, CASE WHEN $1 THEN hits END AS hits, CASE WHEN $1 THEN reads END AS reads,
    CASE WHEN $1 THEN hits::float8 / nullif(hits + reads, 0) END AS hit_ratio
FROM (
    SELECT 1 AS position, 'tables' AS what, sum(heap_blks_hit)::bigint AS hits, sum(heap_blks_read)::bigint AS reads FROM pg_statio_user_tables
    UNION ALL
    SELECT 2, 'indexes', sum(idx_blks_hit)::bigint, sum(idx_blks_read)::bigint FROM pg_statio_user_tables
    UNION ALL
    SELECT 3, 'toast', sum(toast_blks_hit)::bigint, sum(toast_blks_read)::bigint FROM pg_statio_user_tables
    UNION ALL
    SELECT 4, 'toast indexes', sum(tidx_blks_hit)::bigint, sum(tidx_blks_read)::bigint FROM pg_statio_user_tables
    UNION ALL
    SELECT 5, 'database', blks_hit, blks_read FROM pg_stat_database WHERE datname = current_database()
) AS sums
ORDER BY position
