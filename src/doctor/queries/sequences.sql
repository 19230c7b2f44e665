-- Sequences that have used most of what they, or the column that they fill, can count to. Those that this user may not read are unknown. No parameters.
SELECT format('%I.%I', s.schemaname, s.sequencename) AS sequence,
    s.last_value / least(
        s.max_value::float8,
        coalesce((
            SELECT min(CASE a.atttypid WHEN 'int2'::regtype THEN 32767 WHEN 'int4'::regtype THEN 2147483647 ELSE 9223372036854775807 END)
            FROM pg_depend d JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
            WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass AND d.deptype IN ('a', 'i') AND d.refobjsubid > 0
                AND d.objid = format('%I.%I', s.schemaname, s.sequencename)::regclass
        ), 9223372036854775807)::float8
    ) AS used
FROM pg_sequences s
WHERE s.last_value > 0 AND s.increment_by > 0 AND NOT s.cycle
ORDER BY used DESC NULLS LAST LIMIT 5
