-- How many tables have statistics of the planner that this user may not see. No parameters.
SELECT count(*) AS tables
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'm') AND c.reltuples > 0 AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
    AND NOT has_table_privilege(c.oid, 'SELECT') AND NOT has_any_column_privilege(c.oid, 'SELECT')
