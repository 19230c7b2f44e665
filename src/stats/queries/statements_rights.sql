-- What this user may do with pg_stat_statements: reach its schema, and read it. $1 text: the schema, quoted.
SELECT
    has_schema_privilege(n.oid, 'USAGE') AS reach,
    has_table_privilege(c.oid, 'SELECT') AS read
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relname = 'pg_stat_statements' AND quote_ident(n.nspname) = $1
