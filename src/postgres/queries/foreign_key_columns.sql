-- The two sides of a foreign key, as SQL: child table, parent table, child columns, parent columns, in key order; the child's primary key; and whether
-- it is MATCH FULL.
-- $1 text: the child table, quoted; $2 text: the constraint's name
SELECT k.conrelid::regclass::text, k.confrelid::regclass::text,
       array_agg(quote_ident(c.attname) ORDER BY place.number), array_agg(quote_ident(p.attname) ORDER BY place.number),
       (SELECT coalesce(array_agg(quote_ident(a.attname) ORDER BY key.number), '{}')
        FROM pg_index i
        CROSS JOIN LATERAL unnest(i.indkey::int2[]) WITH ORDINALITY AS key (attnum, number)
        JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = key.attnum
        WHERE i.indrelid = k.conrelid AND i.indisprimary),
       k.confmatchtype = 'f'
FROM pg_constraint k
CROSS JOIN LATERAL unnest(k.conkey, k.confkey) WITH ORDINALITY AS place (child, parent, number)
JOIN pg_attribute c ON c.attrelid = k.conrelid AND c.attnum = place.child
JOIN pg_attribute p ON p.attrelid = k.confrelid AND p.attnum = place.parent
WHERE k.conrelid = $1::text::regclass AND k.conname = $2 AND k.contype = 'f'
GROUP BY k.conrelid, k.confrelid, k.confmatchtype
