-- Foreign keys, plain secondary indexes and triggers that fire of a schema's tables, with what puts them back, and when a trigger fires. An index behind a constraint, or one that a foreign key of another
-- schema or the replica identity leans on, is left alone, and so is one with a comment or a tablespace, which its definition does not tell.
-- $1 text: the schema
SELECT i.indrelid, 'index', ic.relname, pg_get_indexdef(i.indexrelid), true, NULL, NULL::text[]
FROM pg_index i
JOIN pg_class c ON c.oid = i.indrelid
JOIN pg_class ic ON ic.oid = i.indexrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = $1 AND c.relkind = 'r' AND NOT c.relispartition AND NOT i.indisunique AND NOT i.indisreplident AND NOT i.indisclustered AND i.indisvalid
  AND ic.reltablespace = 0 AND obj_description(i.indexrelid, 'pg_class') IS NULL
  AND NOT EXISTS (SELECT 1 FROM pg_constraint k WHERE k.conindid = i.indexrelid)
UNION ALL
SELECT k.conrelid, 'foreign key', k.conname, pg_get_constraintdef(k.oid), k.convalidated, obj_description(k.oid, 'pg_constraint'), NULL
FROM pg_constraint k
JOIN pg_class c ON c.oid = k.conrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = $1 AND k.contype = 'f' AND k.conparentid = 0
UNION ALL
SELECT t.tgrelid, 'trigger', t.tgname, CASE t.tgenabled WHEN 'A' THEN 'ENABLE ALWAYS' ELSE 'ENABLE' END, true, NULL,
       ARRAY(SELECT CASE WHEN t.tgtype & 2 <> 0 THEN 'BEFORE ' WHEN t.tgtype & 64 <> 0 THEN 'INSTEAD OF ' ELSE 'AFTER ' END || e.word
             FROM (VALUES (4, 'INSERT'), (8, 'DELETE'), (16, 'UPDATE')) e(bit, word) WHERE t.tgtype & e.bit <> 0)
FROM pg_trigger t
JOIN pg_class c ON c.oid = t.tgrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = $1 AND c.relkind IN ('r', 'p') AND NOT c.relispartition AND NOT t.tgisinternal AND t.tgenabled IN ('O', 'A')
ORDER BY 1, 2, 3
