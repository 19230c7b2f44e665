-- How many sessions of other users this one may not look into, and how many do not say what they do. No parameters.
SELECT count(*) FILTER (WHERE backend_type IS NULL) AS hidden, count(*) FILTER (WHERE state = 'disabled') AS silent
FROM pg_stat_activity WHERE datid IS NOT NULL AND usesysid IS NOT NULL AND pid <> pg_backend_pid()
