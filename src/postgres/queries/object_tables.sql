-- The tables of a schema that do not keep or show what they are given: those that a crash of the server empties, those with row level security, and those with
-- rules that are in force.
-- $1 oid: the schema
SELECT c.relname, c.relpersistence = 'u' AS unlogged, c.relrowsecurity AS row_security,
       ARRAY(SELECT r.rulename::pg_catalog.text FROM pg_catalog.pg_rewrite r WHERE r.ev_class = c.oid AND r.ev_enabled IN ('O', 'A') ORDER BY 1) AS rules
FROM pg_catalog.pg_class c
WHERE c.relnamespace = $1 AND c.relkind IN ('r', 'p') AND (c.relpersistence = 'u' OR c.relhasrules OR c.relrowsecurity)
