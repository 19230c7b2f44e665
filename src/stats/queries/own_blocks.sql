-- What this session has found in shared buffers, and read into them, that the server has not counted yet: of every relation, and of those of this
-- database alone. No parameters. The sort comes before the sums: what this question itself reads is in them.
SELECT pg_backend_pid() AS pid, sum(hits)::bigint AS hits, sum(fetched - hits)::bigint AS reads,
    sum(hits) FILTER (WHERE NOT relisshared)::bigint AS database_hits, sum(fetched - hits) FILTER (WHERE NOT relisshared)::bigint AS database_reads
FROM (
    SELECT oid, relisshared FROM pg_class WHERE relkind IN ('r', 'i', 't', 'm') ORDER BY relisshared, oid DESC OFFSET 0
) AS relations
CROSS JOIN LATERAL (SELECT pg_stat_get_xact_blocks_hit(oid) AS hits, pg_stat_get_xact_blocks_fetched(oid) AS fetched) AS own
