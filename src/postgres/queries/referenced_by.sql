-- Foreign keys onto the tables of a schema: the table, the one that references it, and the key. A partition stands for its whole table.
-- $1 text: the schema
SELECT parent.oid, n.nspname, child.relname, k.conname
FROM pg_constraint k
JOIN pg_class parent ON parent.oid = coalesce(pg_partition_root(k.confrelid), k.confrelid)
JOIN pg_namespace of_parent ON of_parent.oid = parent.relnamespace
JOIN pg_class child ON child.oid = coalesce(pg_partition_root(k.conrelid), k.conrelid)
JOIN pg_namespace n ON n.oid = child.relnamespace
WHERE k.contype = 'f' AND k.conparentid = 0 AND of_parent.nspname = $1
ORDER BY n.nspname, child.relname, k.conname
