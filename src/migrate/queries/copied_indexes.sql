-- The indexes of an empty copy of a table, each with the index that it is a copy of.
-- $1 text: the copy; $2 text: the original
WITH shape AS (
    SELECT
        i.indrelid AS table_id,
        c.relname::text AS name,
        concat(i.indisprimary, substring(pg_get_indexdef(i.indexrelid) FROM '(UNIQUE )?INDEX'), substring(pg_get_indexdef(i.indexrelid) FROM ' USING .*$')) AS shape,
        i.indexrelid AS id
    FROM pg_index i
    JOIN pg_class c ON c.oid = i.indexrelid
    WHERE i.indrelid IN ($1::text::regclass, $2::text::regclass)
), numbered AS (
    SELECT *, row_number() OVER (PARTITION BY table_id, shape ORDER BY id) AS number FROM shape
)
SELECT copy.name, original.name
FROM numbered copy
JOIN numbered original ON original.shape = copy.shape AND original.number = copy.number
WHERE copy.table_id = $1::text::regclass AND original.table_id = $2::text::regclass
