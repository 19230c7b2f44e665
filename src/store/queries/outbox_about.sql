-- The outbox, if there is one: whether its remark says who made it, whether triggers write to it, how often it was read. $1: the remark
SELECT
    coalesce(obj_description(c.oid, 'pg_class') = $1, false) AS is_made_by,
    EXISTS (SELECT FROM pg_trigger t WHERE t.tgfoid = to_regproc('candlefish.cache_changed')) AS has_triggers,
    coalesce(s.seq_scan, 0) + coalesce(s.idx_scan, 0) AS readings
FROM pg_class c
LEFT JOIN pg_stat_all_tables s ON s.relid = c.oid
WHERE c.oid = to_regclass('candlefish.cache_outbox')
