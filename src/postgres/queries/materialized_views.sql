-- The materialized views of a schema, oldest first: one that reads another was made after it.
-- $1 text: the schema's name.
-- Refreshing concurrently needs rows to compare with, and a unique index on plain columns without WHERE.
SELECT
    c.relname::text AS name,
    c.relispopulated AS populated,
    EXISTS (
        SELECT FROM pg_index i
        WHERE i.indrelid = c.oid AND i.indisunique AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL
    ) AS has_unique_index
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'm' AND n.nspname = $1
ORDER BY c.oid
