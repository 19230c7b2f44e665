-- Which of these names are views of a schema.
-- $1 text: the schema; $2 text[]: names
SELECT c.relname
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = $1 AND c.relkind = 'v' AND c.relname = ANY ($2)
