-- Runs that are connected and have told where they are by what a session of theirs is called, since the journal knows nothing of them yet: the run, its phase, and when
-- the command was given.
SELECT said[1], said[2], extract(epoch FROM to_timestamp(left(said[1], 15), 'YYYYMMDD-HH24MISS'))::float8
FROM pg_stat_activity a
CROSS JOIN LATERAL regexp_match(a.application_name, '^candlefish run (\d{8}-\d{6}-[0-9a-f]{8}), ([a-z]+)$') AS said
WHERE a.datname = current_database() AND said IS NOT NULL
ORDER BY 1 DESC
