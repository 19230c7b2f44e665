-- The rows that may not have been seen yet, and from where to read next time; one row without an id when there are none.
-- $1: from where, as text
SELECT pg_snapshot_xmin(pg_current_snapshot())::text AS next, o.id, o.tags
FROM (SELECT 1) one LEFT JOIN candlefish.cache_outbox o ON o.xid >= $1::xid8
ORDER BY o.id
