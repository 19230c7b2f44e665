-- pg_stat_statements: the version that is installed here, and the newest that the server has. No parameters.
SELECT installed_version AS installed, default_version AS newest FROM pg_available_extensions WHERE name = 'pg_stat_statements'
