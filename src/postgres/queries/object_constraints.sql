-- The checks, foreign keys and exclusions of a schema, without their names. One that is NOT VALID holds for new rows, and counts; one whose triggers do not fire is another.
-- A foreign key that each partition of a table has is the table's, too: every row obeys it.
-- $1 oid: the schema
WITH promise AS (
    SELECT k.conrelid, k.contype, k.conname::text AS name,
           regexp_replace(pg_get_constraintdef(k.oid, true), ' NOT VALID$', '')
           || CASE WHEN EXISTS (SELECT FROM pg_trigger g WHERE g.tgconstraint = k.oid AND g.tgenabled NOT IN ('O', 'A')) THEN ' DISABLED' ELSE '' END AS shape
    FROM pg_constraint k
    WHERE k.contype IN ('c', 'f', 'x')
)
SELECT t.relname::text, p.name, p.shape
FROM promise p
JOIN pg_class t ON t.oid = p.conrelid
WHERE t.relnamespace = $1
UNION
SELECT whole.relname::text, min(p.name), p.shape
FROM pg_class whole
CROSS JOIN LATERAL (SELECT part.relid FROM pg_partition_tree(whole.oid) part WHERE part.isleaf) part
JOIN promise p ON p.conrelid = part.relid AND p.contype = 'f'
WHERE whole.relnamespace = $1 AND whole.relkind = 'p'
GROUP BY whole.oid, whole.relname, p.shape
HAVING count(DISTINCT p.conrelid) = (SELECT count(*) FROM pg_partition_tree(whole.oid) part WHERE part.isleaf)
ORDER BY 1, 2
