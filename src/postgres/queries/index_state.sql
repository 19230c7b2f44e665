-- What a schema knows of an index by its name: whether it is valid, and which process is building it now.
-- $1 text: the schema's name; $2 text: the index's name.
SELECT i.indisvalid, p.pid
FROM pg_index i
JOIN pg_class c ON c.oid = i.indexrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_stat_progress_create_index p ON p.index_relid = i.indexrelid AND p.datname = current_database()
WHERE n.nspname = $1 AND c.relname = $2
