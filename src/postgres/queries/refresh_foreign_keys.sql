-- Foreign keys of or into some tables or their partitions, with what builds them again and what they would do to other rows by themselves.
-- $1 text[]: the tables, qualified and quoted
SELECT n.nspname, c.relname, k.conname, pg_get_constraintdef(k.oid), k.convalidated,
       parent.oid = ANY (t.oids) AND k.confdeltype IN ('c', 'n', 'd') AS acts_on_delete,
       parent.oid = ANY (t.oids) AND k.confupdtype IN ('c', 'n', 'd') AS acts_on_update,
       (SELECT x.name FROM unnest($1::text[]) AS x(name) WHERE x.name::regclass = parent.oid) AS parent,
       obj_description(k.oid, 'pg_constraint') AS comment, whole_n.nspname, whole.relname,
       -- Its own triggers that somebody has switched.
       (WITH RECURSIVE own AS (SELECT k.oid UNION ALL SELECT c.oid FROM pg_constraint c JOIN own ON c.conparentid = own.oid)
        SELECT array_agg(g.tgenabled::text || ' ' || f.proname || ' ' || format('%I.%I', gn.nspname, gc.relname) ORDER BY g.oid)
        FROM own
        JOIN pg_trigger g ON g.tgconstraint = own.oid AND g.tgenabled <> 'O'
        JOIN pg_proc f ON f.oid = g.tgfoid
        JOIN pg_class gc ON gc.oid = g.tgrelid
        JOIN pg_namespace gn ON gn.oid = gc.relnamespace)
FROM pg_constraint k
JOIN pg_class c ON c.oid = k.conrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_class whole ON whole.oid = coalesce(pg_partition_root(k.conrelid), k.conrelid)
JOIN pg_namespace whole_n ON whole_n.oid = whole.relnamespace
JOIN pg_class parent ON parent.oid = coalesce(pg_partition_root(k.confrelid), k.confrelid)
CROSS JOIN (SELECT array_agg(name::regclass::oid) AS oids FROM unnest($1::text[]) AS name) t
WHERE k.contype = 'f' AND k.conparentid = 0 AND (whole.oid = ANY (t.oids) OR parent.oid = ANY (t.oids))
ORDER BY k.oid
