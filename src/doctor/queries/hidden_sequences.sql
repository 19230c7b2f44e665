-- Sequences of which this user may not see how far they are, with their schemas. No parameters.
SELECT format('%I.%I', n.nspname, c.relname) AS sequence, quote_ident(n.nspname) AS schema
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE NOT pg_is_other_temp_schema(n.oid)
    -- It may be asked of nothing else.
    AND CASE WHEN c.relkind = 'S' THEN NOT has_sequence_privilege(c.oid, 'SELECT, USAGE') ELSE false END
ORDER BY 1
