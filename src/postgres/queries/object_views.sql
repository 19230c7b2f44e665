-- The views of a schema, with what they select.
-- $1 oid: the schema
SELECT c.relname, pg_get_viewdef(c.oid, true) AS shape
FROM pg_class c
WHERE c.relnamespace = $1 AND c.relkind IN ('v', 'm')
ORDER BY c.relname
