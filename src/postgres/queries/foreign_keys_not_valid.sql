-- Foreign keys of some tables or their partitions, or onto them, that old rows may break; with the whole table that the key's own is a partition of, else that itself.
-- $1: the tables' names as SQL, an array.
SELECT n.nspname, c.relname, k.conname, whole_n.nspname, whole.relname
FROM pg_constraint k
JOIN pg_class c ON c.oid = k.conrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_class whole ON whole.oid = coalesce(pg_partition_root(k.conrelid), k.conrelid)
JOIN pg_namespace whole_n ON whole_n.oid = whole.relnamespace
JOIN unnest($1::text[]) AS t(name) ON whole.oid = to_regclass(t.name) OR coalesce(pg_partition_root(k.confrelid), k.confrelid) = to_regclass(t.name)
WHERE k.contype = 'f' AND NOT k.convalidated AND k.conparentid = 0
GROUP BY n.nspname, c.relname, k.conname, whole_n.nspname, whole.relname
ORDER BY n.nspname, c.relname, k.conname;
