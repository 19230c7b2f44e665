-- The user triggers of some tables that would fire, and those that a partition of them has alone, with that partition.
-- $1 text[]: the tables, qualified and quoted
SELECT CASE WHEN t.tgrelid = name::regclass THEN name ELSE format('%I.%I', n.nspname, c.relname) END, t.tgname, t.tgenabled = 'A'
FROM unnest($1::text[]) AS name
JOIN pg_class c ON c.oid = name::regclass OR pg_partition_root(c.oid) = name::regclass
JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_trigger t ON t.tgrelid = c.oid
WHERE NOT t.tgisinternal AND t.tgparentid = 0 AND t.tgenabled IN ('O', 'A')
ORDER BY t.oid
