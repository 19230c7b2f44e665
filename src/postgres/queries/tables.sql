-- The tables of a schema, and whether this role may see all of their rows.
-- $1 text: the schema
SELECT c.oid, c.relname, has_any_column_privilege(c.oid, 'SELECT') AND NOT row_security_active(c.oid)
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = $1 AND c.relkind IN ('r', 'p') AND NOT c.relispartition
ORDER BY c.relname
