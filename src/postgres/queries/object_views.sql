-- The views of a schema, with what they select. One that keeps its rows answers with what was true when it was refreshed, and is another.
-- $1 oid: the schema
SELECT c.relname, pg_catalog.pg_get_viewdef(c.oid, true) || CASE WHEN c.relkind = 'm' THEN E'\nMATERIALIZED' ELSE '' END AS shape
FROM pg_catalog.pg_class c
WHERE c.relnamespace = $1 AND c.relkind IN ('v', 'm')
ORDER BY c.relname
