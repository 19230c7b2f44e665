-- Every run, the newest first, with how far it has come and whether its sessions live.
SELECT r.run_id, r.source, r.target_schema, r.status, r.settings, r.version,
    extract(epoch FROM r.started_at)::float8 AS started_at, extract(epoch FROM r.finished_at)::float8 AS finished_at,
    (SELECT count(*) FROM pg_locks l
     WHERE l.locktype = 'advisory' AND l.objsubid = 1 AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
       AND (l.classid::bigint << 32) | l.objid::bigint = hashtextextended('candlefish run ' || r.run_id, 0)) AS sessions,
    h.phase, extract(epoch FROM h.since)::float8 AS since, extract(epoch FROM h.beat_at)::float8 AS beat_at,
    extract(epoch FROM clock_timestamp())::float8 AS now,
    c.rows_done, c.rows_rejected, c.rows_done_since, c.bytes,
    (SELECT count(*) FROM candlefish.run_table t WHERE t.run_id = r.run_id) AS tables,
    (SELECT count(*) FROM candlefish.step s WHERE s.run_id = r.run_id) AS steps_done,
    ARRAY (SELECT substr(s.step, 9) FROM candlefish.step s WHERE s.run_id = r.run_id AND s.step LIKE 'section %' ORDER BY s.done_at) AS sections_done
FROM candlefish.run r
LEFT JOIN candlefish.heartbeat h USING (run_id)
CROSS JOIN LATERAL (
    SELECT coalesce(sum(rows_written + rows_rejected), 0)::bigint AS rows_done, coalesce(sum(rows_rejected), 0)::bigint AS rows_rejected,
        coalesce(sum(rows_written + rows_rejected) FILTER (WHERE landed_at >= h.since), 0)::bigint AS rows_done_since,
        coalesce(sum(bytes), 0)::bigint AS bytes
    FROM candlefish.chunk WHERE chunk.run_id = r.run_id
) c
ORDER BY r.started_at DESC, r.run_id DESC
