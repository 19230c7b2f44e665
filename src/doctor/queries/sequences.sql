-- Sequences that have used most of what they, or the column that they fill, can count to, with that column where a larger type would help; the fullest first,
-- and that one however much room it has. Those that this user may not read are unknown. $1 float8: from which part on they are listed.
WITH counting AS (
    SELECT format('%I.%I', s.schemaname, s.sequencename) AS sequence,
        s.last_value / least(s.max_value::float8, coalesce(o.most, 9223372036854775807)::float8) AS used,
        CASE WHEN o.most < 9223372036854775807 THEN o.table_name END AS table_name,
        CASE WHEN o.most < 9223372036854775807 THEN o.column_name END AS column_name,
        s.max_value < 9223372036854775807 AS is_bounded
    FROM pg_sequences s
    -- By the catalog: to look a name up takes a right to its schema, which is not needed otherwise.
    JOIN pg_namespace n ON n.nspname = s.schemaname
    JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = s.sequencename AND c.relkind = 'S'
    LEFT JOIN LATERAL (
        SELECT d.refobjid::regclass::text AS table_name, quote_ident(a.attname) AS column_name,
            CASE a.atttypid WHEN 'int2'::regtype THEN 32767 WHEN 'int4'::regtype THEN 2147483647 ELSE 9223372036854775807 END AS most
        FROM pg_depend d JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
        WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass AND d.deptype IN ('a', 'i') AND d.refobjsubid > 0
            AND d.objid = c.oid
        ORDER BY most LIMIT 1
    ) o ON true
    WHERE s.last_value > 0 AND s.increment_by > 0 AND NOT s.cycle
)
SELECT sequence, used, table_name, column_name, is_bounded FROM counting
WHERE used >= least($1, (SELECT max(used) FROM counting))
ORDER BY used DESC, sequence
