-- Tables for which autovacuum was turned off. No parameters.
SELECT format('%I.%I', n.nspname, c.relname) AS "table"
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'm') AND c.reloptions && ARRAY['autovacuum_enabled=false', 'autovacuum_enabled=off', 'autovacuum_enabled=0']
ORDER BY 1
