-- A table that is made of partitions, and these, the whole first: each with what it is a part of, which part of that it is, and how it is divided itself. Nothing for any other table.
-- $1 text: the table
SELECT n.nspname, c.relname, pn.nspname, parent.relname, pg_get_expr(c.relpartbound, c.oid), pg_get_partkeydef(c.oid)
FROM pg_partition_tree($1::text::regclass) t
JOIN pg_class c ON c.oid = t.relid
JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_class parent ON parent.oid = t.parentrelid AND t.level > 0
LEFT JOIN pg_namespace pn ON pn.oid = parent.relnamespace
ORDER BY t.level, c.oid
