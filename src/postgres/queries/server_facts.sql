-- What a server is, and what this user may see of it. No parameters.
SELECT
    current_setting('server_version_num')::int AS version_number,
    split_part(current_setting('server_version'), ' ', 1) AS version,
    current_database()::text AS database,
    pg_is_in_recovery() AS in_recovery,
    quote_ident(current_user) AS me,
    pg_has_role(current_user, 'pg_read_all_stats', 'USAGE') AS sees_all
