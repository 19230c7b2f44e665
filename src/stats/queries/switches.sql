-- Where these settings are turned off, and what turns them on. $1 text: their names, with blanks between them.
-- One row a place: the server, this database, all roles (then "role" is NULL), or one role. What our own role says of itself is not the server's word.
WITH settings AS (
    SELECT name, CASE name WHEN 'pg_stat_statements.track' THEN 'top' WHEN 'compute_query_id' THEN 'auto' ELSE 'on' END AS wanted
    FROM unnest(string_to_array($1, ' ')) AS name
),
off AS (
    SELECT unnest(ARRAY['off', 'of', 'false', 'fals', 'fal', 'fa', 'f', 'no', 'n', '0', 'none']) AS value
)
SELECT s.name AS setting, NULL::text AS role, format('ALTER SYSTEM SET %s = %s; SELECT pg_reload_conf(); -- as a superuser', s.name, s.wanted) AS remedy
FROM settings s
JOIN pg_settings p ON p.name = s.name
WHERE p.setting IN (SELECT value FROM off) AND p.source NOT IN ('global', 'database', 'user', 'database user', 'client', 'session')
UNION ALL
SELECT s.name, quote_ident(r.rolname),
    format('ALTER %s RESET %s; -- as a superuser; then connect anew',
        CASE
            WHEN d.setrole = 0 AND d.setdatabase = 0 THEN 'ROLE ALL'
            WHEN d.setrole = 0 THEN format('DATABASE %I', current_database())
            WHEN d.setdatabase = 0 THEN format('ROLE %I', r.rolname)
            ELSE format('ROLE %I IN DATABASE %I', r.rolname, current_database()) END,
        s.name)
FROM pg_db_role_setting d
CROSS JOIN unnest(d.setconfig) AS c (entry)
JOIN settings s ON s.name = split_part(c.entry, '=', 1)
LEFT JOIN pg_roles r ON r.oid = d.setrole
WHERE d.setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
    AND lower(substr(c.entry, length(s.name) + 2)) IN (SELECT value FROM off)
ORDER BY 1, 2 NULLS FIRST, 3
