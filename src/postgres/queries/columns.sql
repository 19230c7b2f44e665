-- The columns of every table of a schema; a domain stands as its base type.
-- $1 text: the schema
WITH RECURSIVE base AS (
    SELECT oid AS domain, oid, typbasetype, typtypmod, typtype, typname FROM pg_type
    UNION ALL
    SELECT b.domain, t.oid, t.typbasetype, coalesce(nullif(b.typtypmod, -1), t.typtypmod), t.typtype, t.typname
    FROM base b JOIN pg_type t ON t.oid = b.typbasetype
    WHERE b.typtype = 'd'
)
SELECT a.attrelid, a.attname, format_type(a.atttypid, a.atttypmod), b.oid, b.typname,
       CASE WHEN a.atttypmod >= 0 THEN a.atttypmod ELSE b.typtypmod END AS typmod,
       a.attnotnull, a.atthasdef AND a.attgenerated = '' AS has_default, a.attgenerated <> '' AS generated,
       a.attidentity <> '' OR coalesce(pg_get_expr(d.adbin, d.adrelid) LIKE 'nextval(%', false) AS sequence,
       CASE WHEN b.typtype = 'e' THEN (SELECT array_agg(e.enumlabel ORDER BY e.enumsortorder) FROM pg_enum e WHERE e.enumtypid = b.oid) END AS labels
FROM pg_attribute a
JOIN pg_class c ON c.oid = a.attrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN base b ON b.domain = a.atttypid AND b.typtype <> 'd'
LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
WHERE n.nspname = $1 AND c.relkind IN ('r', 'p') AND NOT c.relispartition AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attrelid, a.attnum
