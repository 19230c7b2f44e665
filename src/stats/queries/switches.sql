-- Where these settings are turned off, and what turns them on. $1 text: their names, with blanks between them.
-- One row a place: for everybody who has no setting of his own ("role" is NULL), or for one role. A setting of a role's own, or of its connection's,
-- hides the server's: "is_off" is NULL then, "own" says what would show it, and "remedy" what would turn it on.
WITH settings AS (
    SELECT name, CASE name WHEN 'pg_stat_statements.track' THEN 'top' WHEN 'compute_query_id' THEN 'auto' ELSE 'on' END AS wanted
    FROM unnest(string_to_array($1, ' ')) AS name
),
off AS (
    SELECT unnest(ARRAY['off', 'of', 'false', 'fals', 'fal', 'fa', 'f', 'no', 'n', '0', 'none']) AS value
),
-- For all roles (0) or one, in all databases (0) or this one.
said AS (
    SELECT s.name, d.setrole, d.setdatabase, lower(substr(c.entry, length(s.name) + 2)) IN (SELECT value FROM off) AS is_off
    FROM pg_db_role_setting d
    CROSS JOIN unnest(d.setconfig) AS c (entry)
    JOIN settings s ON s.name = split_part(c.entry, '=', 1)
    WHERE d.setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
),
everybody AS (
    SELECT s.name,
        coalesce(
            d.is_off, a.is_off,
            CASE WHEN p.source NOT IN ('user', 'database user', 'client', 'session') THEN p.setting IN (SELECT value FROM off) END
        ) AS is_off,
        CASE
            WHEN d.is_off THEN format('ALTER DATABASE %I RESET %s; -- as a superuser; then connect anew', current_database(), s.name)
            WHEN a.is_off THEN format('ALTER ROLE ALL RESET %s; -- as a superuser; then connect anew', s.name)
            WHEN p.source = 'command line' THEN format('-- start the server without -c %s on its command line', s.name)
            ELSE format('ALTER SYSTEM SET %s = %s; SELECT pg_reload_conf(); -- as a superuser', s.name, s.wanted)
        END AS remedy,
        CASE p.source
            WHEN 'user' THEN format('ALTER ROLE %I RESET %s; -- as a superuser; then connect anew', session_user, s.name)
            WHEN 'database user' THEN
                format('ALTER ROLE %I IN DATABASE %I RESET %s; -- as a superuser; then connect anew', session_user, current_database(), s.name)
            ELSE format('-- connect without setting %s', s.name)
        END AS own
    FROM settings s
    JOIN pg_settings p ON p.name = s.name
    LEFT JOIN said d ON d.name = s.name AND d.setrole = 0 AND d.setdatabase <> 0
    LEFT JOIN said a ON a.name = s.name AND a.setrole = 0 AND a.setdatabase = 0
)
SELECT name AS setting, NULL::text AS role, remedy, is_off, own FROM everybody WHERE is_off IS NOT false
UNION ALL
SELECT s.name, quote_ident(r.rolname),
    format('ALTER ROLE %I%s RESET %s; -- as a superuser; then connect anew',
        r.rolname, CASE WHEN s.setdatabase <> 0 THEN format(' IN DATABASE %I', current_database()) END, s.name),
    true, NULL
FROM said s
JOIN pg_roles r ON r.oid = s.setrole
WHERE s.is_off
    -- What a role has in this database is what it has.
    AND NOT EXISTS (SELECT FROM said o WHERE o.name = s.name AND o.setrole = s.setrole AND o.setdatabase > s.setdatabase AND NOT o.is_off)
ORDER BY 1, 2 NULLS FIRST, 3
