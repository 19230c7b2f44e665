-- The checks, foreign keys and exclusions of a schema, without their names. One that is NOT VALID holds for new rows, and counts; one whose triggers do not fire is another.
-- $1 oid: the schema
SELECT t.relname, k.conname,
       regexp_replace(pg_get_constraintdef(k.oid, true), ' NOT VALID$', '')
       || CASE WHEN EXISTS (SELECT FROM pg_trigger g WHERE g.tgconstraint = k.oid AND g.tgenabled NOT IN ('O', 'A')) THEN ' DISABLED' ELSE '' END AS shape
FROM pg_constraint k
JOIN pg_class t ON t.oid = k.conrelid
WHERE t.relnamespace = $1 AND k.contype IN ('c', 'f', 'x')
ORDER BY t.relname, k.conname
