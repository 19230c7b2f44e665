-- What ALTER DATABASE and ALTER ROLE ALL have said of these settings for everybody in this database, as it was written: this database comes before all.
-- $1 text: the settings' names, with blanks between them.
SELECT DISTINCT ON (n.name) n.name, substr(c.entry, length(n.name) + 2) AS setting, s.setdatabase <> 0 AS is_of_database
FROM pg_db_role_setting s
CROSS JOIN unnest(s.setconfig) AS c (entry)
JOIN unnest(string_to_array($1, ' ')) AS n (name) ON n.name = lower(split_part(c.entry, '=', 1))
WHERE s.setrole = 0 AND s.setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
ORDER BY n.name, s.setdatabase DESC
