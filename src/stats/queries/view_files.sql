-- When the files of materialized views were last written, which only a refresh does: its time, or up to a checkpoint later. No parameters.
-- A question of its own: who may not call pg_stat_file() may not even prepare it.
SELECT c.oid::regclass::text AS view,
    extract(epoch FROM clock_timestamp() - (pg_stat_file(pg_relation_filepath(c.oid), true)).modification)::float8 AS written_seconds
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'm' AND c.relispopulated AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
