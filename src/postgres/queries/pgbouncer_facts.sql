-- What a pooler's sizes stand on, and the secret by which it lets this role in. No parameters.
SELECT current_setting('max_connections')::int AS max_connections,
       current_setting('superuser_reserved_connections')::int + coalesce(current_setting('reserved_connections', true)::int, 0) AS reserved,
       CASE WHEN has_table_privilege('pg_catalog.pg_authid', 'SELECT') THEN 'yes' ELSE 'no' END AS may_read_secrets
