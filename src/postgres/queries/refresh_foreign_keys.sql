-- Foreign keys of or into some tables, with what builds them again and what they would do to other rows by themselves.
-- $1 text[]: the tables, qualified and quoted
SELECT n.nspname, c.relname, k.conname, pg_get_constraintdef(k.oid), k.convalidated,
       k.confrelid = ANY (t.oids) AND k.confdeltype IN ('c', 'n', 'd') AS acts_on_delete,
       k.confrelid = ANY (t.oids) AND k.confupdtype IN ('c', 'n', 'd') AS acts_on_update,
       (SELECT x.name FROM unnest($1::text[]) AS x(name) WHERE x.name::regclass = k.confrelid) AS parent,
       obj_description(k.oid, 'pg_constraint') AS comment
FROM pg_constraint k
JOIN pg_class c ON c.oid = k.conrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
CROSS JOIN (SELECT array_agg(name::regclass::oid) AS oids FROM unnest($1::text[]) AS name) t
WHERE k.contype = 'f' AND k.conparentid = 0 AND (k.conrelid = ANY (t.oids) OR k.confrelid = ANY (t.oids))
ORDER BY k.oid
