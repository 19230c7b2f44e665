-- Foreign keys, plain secondary indexes and triggers that fire of a schema's tables, with what puts them back, and when a trigger fires. An index behind a constraint, or one that a foreign key of another
-- schema or the replica identity leans on, is left alone, and so is one with a comment, a tablespace, a
-- statistics target, or an extension that it depends on or belongs to, which its definition does not tell. A key or a trigger that a partition alone has comes with that
-- partition, under the whole table. Of a foreign key also those of its own triggers that somebody has switched: `D RI_FKey_check_ins "s"."t"`. Of an index, the columns whose values may be long: none where it computes, and may fail at any row.
-- $1 text: the schema
WITH relation AS (
    SELECT c.oid, c.relkind, c.relispartition, n.nspname, c.relname, root.oid AS root
    FROM pg_class c
    JOIN pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_class root ON root.oid = coalesce(pg_partition_root(c.oid), c.oid)
    JOIN pg_namespace of_root ON of_root.oid = root.relnamespace
    WHERE of_root.nspname = $1 AND c.relkind IN ('r', 'p', 'f')
)
SELECT r.root, 'index', ic.relname, pg_get_indexdef(i.indexrelid), true, NULL, NULL::text[], NULL::text, NULL::text,
       CASE WHEN i.indexprs IS NULL AND i.indpred IS NULL THEN
           ARRAY(SELECT a.attname::text FROM pg_attribute a WHERE a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey::int2[]) AND a.attlen < 0)
       END, NULL::text[]
FROM pg_index i
JOIN relation r ON r.oid = i.indrelid
JOIN pg_class ic ON ic.oid = i.indexrelid
WHERE r.relkind = 'r' AND NOT r.relispartition AND NOT i.indisunique AND NOT i.indisreplident AND NOT i.indisclustered AND i.indisvalid
  AND ic.reltablespace = 0 AND obj_description(i.indexrelid, 'pg_class') IS NULL
  AND NOT EXISTS (SELECT 1 FROM pg_constraint k WHERE k.conindid = i.indexrelid)
  AND NOT EXISTS (SELECT 1 FROM pg_attribute a WHERE a.attrelid = i.indexrelid AND a.attstattarget >= 0)
  AND NOT EXISTS (SELECT 1 FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = i.indexrelid AND d.deptype IN ('x', 'e'))
UNION ALL
SELECT r.root, 'foreign key', k.conname, pg_get_constraintdef(k.oid), k.convalidated, obj_description(k.oid, 'pg_constraint'), NULL,
       CASE WHEN r.relispartition THEN r.nspname END, CASE WHEN r.relispartition THEN r.relname END, NULL,
       (WITH RECURSIVE own AS (SELECT k.oid UNION ALL SELECT c.oid FROM pg_constraint c JOIN own ON c.conparentid = own.oid)
        SELECT array_agg(g.tgenabled::text || ' ' || f.proname || ' ' || format('%I.%I', gn.nspname, gc.relname) ORDER BY g.oid)
        FROM own
        JOIN pg_trigger g ON g.tgconstraint = own.oid AND g.tgenabled <> 'O'
        JOIN pg_proc f ON f.oid = g.tgfoid
        JOIN pg_class gc ON gc.oid = g.tgrelid
        JOIN pg_namespace gn ON gn.oid = gc.relnamespace)
FROM pg_constraint k
JOIN relation r ON r.oid = k.conrelid
WHERE k.contype = 'f' AND k.conparentid = 0
UNION ALL
SELECT r.root, 'trigger', t.tgname, CASE t.tgenabled WHEN 'A' THEN 'ENABLE ALWAYS' ELSE 'ENABLE' END, true, NULL,
       ARRAY(SELECT CASE WHEN t.tgtype & 2 <> 0 THEN 'BEFORE ' WHEN t.tgtype & 64 <> 0 THEN 'INSTEAD OF ' ELSE 'AFTER ' END || e.word
             FROM (VALUES (4, 'INSERT'), (8, 'DELETE'), (16, 'UPDATE')) e(bit, word) WHERE t.tgtype & e.bit <> 0 AND NOT r.relispartition),
       CASE WHEN r.relispartition THEN r.nspname END, CASE WHEN r.relispartition THEN r.relname END, NULL, NULL
FROM pg_trigger t
JOIN relation r ON r.oid = t.tgrelid
WHERE NOT t.tgisinternal AND t.tgparentid = 0 AND t.tgenabled IN ('O', 'A')
ORDER BY 1, 2, 3
