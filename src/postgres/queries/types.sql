-- Every type, with what its values are made of: the type of an array's elements, of a range's bounds, of a domain.
-- The ranges of a multirange, which came with version 14, are found by way of JSON.
SELECT t.oid, t.typname, t.typbasetype, t.typtypmod,
       CASE WHEN t.typcategory = 'A' AND t.typlen = -1 THEN t.typelem ELSE 0 END AS element,
       coalesce((SELECT r.rngsubtype FROM pg_range r WHERE r.rngtypid = t.oid OR (to_jsonb(r) ->> 'rngmultitypid')::oid = t.oid), 0) AS bound,
       t.typtype = 'b' AS is_base,
       CASE WHEN t.typtype = 'e' THEN (SELECT array_agg(e.enumlabel ORDER BY e.enumsortorder) FROM pg_enum e WHERE e.enumtypid = t.oid) END AS labels
FROM pg_type t
