-- Views that candlefish made, known by the comment that it left on them; the newest first, because it may read older ones.
-- $1 text: the schema
SELECT n.nspname, c.relname
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = $1 AND c.relkind = 'v' AND obj_description(c.oid, 'pg_class') = 'made by candlefish'
ORDER BY c.oid DESC
