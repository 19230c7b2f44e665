-- Foreign keys of some tables, or onto them, that old rows may break.
-- $1: the tables' names as SQL, an array.
SELECT n.nspname, c.relname, k.conname
FROM pg_constraint k
JOIN pg_class c ON c.oid = k.conrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN unnest($1::text[]) AS t(name) ON k.conrelid = to_regclass(t.name) OR k.confrelid = to_regclass(t.name)
WHERE k.contype = 'f' AND NOT k.convalidated
GROUP BY n.nspname, c.relname, k.conname
ORDER BY n.nspname, c.relname, k.conname;
