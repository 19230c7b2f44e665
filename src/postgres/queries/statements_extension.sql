-- pg_stat_statements as it is installed in this database now: its version, and its schema, quoted. No parameters.
SELECT e.extversion AS version, quote_ident(n.nspname) AS schema
FROM pg_extension e
JOIN pg_namespace n ON n.oid = e.extnamespace
WHERE e.extname = 'pg_stat_statements'
