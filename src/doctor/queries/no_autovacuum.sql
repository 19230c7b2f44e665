-- Tables for which autovacuum was turned off, in whatever words. No parameters.
SELECT format('%I.%I', n.nspname, c.relname) AS "table"
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'm')
    AND NOT (SELECT bool_and(CASE option_name WHEN 'autovacuum_enabled' THEN option_value::boolean END) FROM pg_options_to_table(c.reloptions))
ORDER BY 1
