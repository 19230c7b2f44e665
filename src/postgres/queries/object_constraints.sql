-- The checks, foreign keys and exclusions of a schema, without their names, and whether they are NOT VALID: those hold for new rows, and count; one whose triggers do not fire, be it for one
-- partition, is another. A foreign key that each partition of a table has is the table's, too: every row obeys it.
-- $1 oid: the schema
WITH promise AS (
    SELECT k.conrelid, k.contype, NOT k.convalidated AS not_valid, k.conname::pg_catalog.text AS name, pg_catalog.regexp_replace(pg_catalog.pg_get_constraintdef(k.oid, true), ' NOT VALID$', '') AS shape,
           (WITH RECURSIVE own AS (SELECT k.oid UNION ALL SELECT c.oid FROM pg_catalog.pg_constraint c JOIN own ON c.conparentid = own.oid)
            SELECT pg_catalog.count(*) > 0 FROM own JOIN pg_catalog.pg_trigger g ON g.tgconstraint = own.oid AND g.tgenabled NOT IN ('O', 'A')) AS disabled
    FROM pg_catalog.pg_constraint k
    WHERE k.contype IN ('c', 'f', 'x')
)
SELECT t.relname::pg_catalog.text, p.name, p.shape || CASE WHEN p.disabled THEN ' DISABLED' ELSE '' END, p.not_valid
FROM promise p
JOIN pg_catalog.pg_class t ON t.oid = p.conrelid
WHERE t.relnamespace = $1
UNION
SELECT whole.relname::pg_catalog.text, pg_catalog.min(p.name), p.shape || CASE WHEN pg_catalog.bool_or(p.disabled) THEN ' DISABLED' ELSE '' END,
       pg_catalog.bool_or(p.not_valid)
FROM pg_catalog.pg_class whole
CROSS JOIN LATERAL (SELECT part.relid FROM pg_catalog.pg_partition_tree(whole.oid) part WHERE part.isleaf) part
JOIN promise p ON p.conrelid = part.relid AND p.contype = 'f'
WHERE whole.relnamespace = $1 AND whole.relkind = 'p'
GROUP BY whole.oid, whole.relname, p.shape
HAVING pg_catalog.count(DISTINCT p.conrelid) = (SELECT pg_catalog.count(*) FROM pg_catalog.pg_partition_tree(whole.oid) part WHERE part.isleaf)
ORDER BY 1, 2
