-- What the server's files say of these settings, as it was written; NULL where they say nothing. A setting is left out whose value the server may have
-- from elsewhere: what the files say was not applied, or its command line names the setting. Only who may read those files can ask.
-- $1 text: the settings' names, with blanks between them.
WITH files AS MATERIALIZED (
    SELECT lower(name) AS name, setting, applied, error, seqno FROM pg_file_settings
)
SELECT n.name, (SELECT f.setting FROM files f WHERE f.name = n.name AND f.applied ORDER BY f.seqno DESC LIMIT 1) AS setting
FROM unnest(string_to_array($1, ' ')) AS n (name)
-- One line that cannot be read keeps the server from applying any.
WHERE (SELECT coalesce(bool_or(applied), true) FROM files)
    AND NOT EXISTS (SELECT FROM files f WHERE f.name = n.name AND f.error IS NOT NULL)
    AND position(n.name IN replace(lower(pg_read_file('postmaster.opts')), '-', '_')) = 0
