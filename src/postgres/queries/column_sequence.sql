-- The sequence that fills a column: that of its identity, or the one that its default draws from, whoever owns that.
-- $1 text: the table, as SQL; $2 text: the column
SELECT CASE WHEN a.attidentity <> '' THEN pg_get_serial_sequence($1, $2) ELSE drawn.name END AS sequence
FROM pg_attribute a
LEFT JOIN LATERAL (
    SELECT format('%I.%I', n.nspname, s.relname) AS name
    FROM pg_attrdef d
    JOIN pg_depend p ON p.classid = 'pg_attrdef'::regclass AND p.objid = d.oid AND p.refclassid = 'pg_class'::regclass
    JOIN pg_class s ON s.oid = p.refobjid AND s.relkind = 'S'
    JOIN pg_namespace n ON n.oid = s.relnamespace
    WHERE d.adrelid = a.attrelid AND d.adnum = a.attnum
    LIMIT 1
) drawn ON true
WHERE a.attrelid = $1::text::regclass AND a.attname = $2 AND a.attnum > 0 AND NOT a.attisdropped
