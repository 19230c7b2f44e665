-- Every index of a schema, also those behind keys: what it is, without its own name. That of a partitioned table is said to be on it ONLY.
-- $1 oid: the schema
SELECT t.relname, i.relname, x.indisprimary,
       x.indisunique OR EXISTS (SELECT FROM pg_catalog.pg_constraint k WHERE k.conindid = i.oid AND k.contype = 'x'
                                AND '=' = ALL (SELECT o.oprname FROM pg_catalog.pg_operator o WHERE o.oid = ANY (k.conexclop))) AS keeps_unique,
       x.indisvalid AND x.indisready AND x.indislive AS valid,
       pg_catalog.substr(pg_catalog.pg_get_indexdef(i.oid, 0, true),
              pg_catalog.length('CREATE ' || CASE WHEN x.indisunique THEN 'UNIQUE ' ELSE '' END || 'INDEX ' || pg_catalog.quote_ident(i.relname) || ' ON '
                     || CASE WHEN i.relkind = 'I' THEN 'ONLY ' ELSE '' END) + 1) AS shape,
       EXISTS (SELECT FROM pg_catalog.pg_constraint k WHERE k.conindid = i.oid AND k.contype IN ('p', 'u') AND k.condeferrable) AS deferrable
FROM pg_catalog.pg_index x
JOIN pg_catalog.pg_class i ON i.oid = x.indexrelid
JOIN pg_catalog.pg_class t ON t.oid = x.indrelid
WHERE t.relnamespace = $1 AND t.relkind IN ('r', 'p')
ORDER BY t.relname, i.relname
