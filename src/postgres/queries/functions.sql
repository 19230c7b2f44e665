-- The functions of a schema that take no arguments, as those of triggers do: no other may have such a name.
-- $1 text: the schema
SELECT p.proname
FROM pg_proc p
JOIN pg_namespace n ON n.oid = p.pronamespace
WHERE n.nspname = $1 AND p.pronargs = 0
