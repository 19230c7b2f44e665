-- What the server's files say of these settings, as it was written; NULL where they say nothing. Only who may read pg_file_settings can ask.
-- $1 text: the settings' names, with blanks between them.
SELECT n.name, (SELECT f.setting FROM pg_file_settings f WHERE lower(f.name) = n.name AND f.applied ORDER BY f.seqno DESC LIMIT 1) AS setting
FROM unnest(string_to_array($1, ' ')) AS n (name)
