-- Foreign keys, checks and NOT NULLs of some tables: what rows must fulfil (none of a foreign key), the table's primary key, and whether old rows fulfil it too.
-- $1: the tables' names as SQL, an array; $2: false for those alone that old rows may break.
SELECT n.nspname, c.relname, k.conname,
       CASE k.contype WHEN 'c' THEN pg_get_expr(k.conbin, k.conrelid)
                      WHEN 'n' THEN (SELECT quote_ident(a.attname) || ' IS NOT NULL' FROM pg_attribute a WHERE a.attrelid = k.conrelid AND a.attnum = k.conkey[1]) END,
       (SELECT coalesce(array_agg(quote_ident(a.attname) ORDER BY key.number), '{}')
        FROM pg_index i
        CROSS JOIN LATERAL unnest(i.indkey::int2[]) WITH ORDINALITY AS key (attnum, number)
        JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = key.attnum
        WHERE i.indrelid = k.conrelid AND i.indisprimary),
       k.convalidated
FROM pg_constraint k
JOIN pg_class c ON c.oid = k.conrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE k.contype IN ('f', 'c', 'n') AND ($2::boolean OR NOT k.convalidated) AND k.conrelid IN (SELECT to_regclass(t.name) FROM unnest($1::text[]) AS t(name))
ORDER BY n.nspname, c.relname, k.conname;
