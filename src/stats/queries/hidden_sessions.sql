-- How many sessions of other users this one may not look into. No parameters.
SELECT count(*) AS hidden FROM pg_stat_activity WHERE backend_type IS NULL AND datid IS NOT NULL AND usesysid IS NOT NULL
