-- The sequence that fills a column: that of its identity, or the one that its default draws from, whoever owns that; and whether the column does.
-- $1 text: the table, as SQL; $2 text: the column
SELECT CASE WHEN a.attidentity <> '' THEN own.name ELSE drawn.name END AS sequence,
       a.attidentity <> '' OR coalesce(own.name::regclass = drawn.oid, false) AS is_own
FROM pg_attribute a
CROSS JOIN LATERAL (SELECT pg_get_serial_sequence($1, a.attname::text) AS name) own
LEFT JOIN LATERAL (
    SELECT format('%I.%I', n.nspname, s.relname) AS name, s.oid
    FROM pg_attrdef d
    JOIN pg_depend p ON p.classid = 'pg_attrdef'::regclass AND p.objid = d.oid AND p.refclassid = 'pg_class'::regclass
    JOIN pg_class s ON s.oid = p.refobjid AND s.relkind = 'S'
    JOIN pg_namespace n ON n.oid = s.relnamespace
    WHERE d.adrelid = a.attrelid AND d.adnum = a.attnum
    LIMIT 1
) drawn ON true
WHERE a.attrelid = $1::text::regclass AND a.attname = $2::text AND a.attnum > 0 AND NOT a.attisdropped
