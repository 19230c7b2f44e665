-- Prepared transactions of all databases, the oldest first. No parameters.
SELECT gid, owner::text AS owner, database::text AS database, extract(epoch FROM clock_timestamp() - prepared)::float8 AS age_seconds
FROM pg_prepared_xacts
ORDER BY prepared, gid
