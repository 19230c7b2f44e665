-- Since when the statistics of this database count: their reset, unknown when there was none. No parameters.
SELECT
    to_char(stats_reset, 'YYYY-MM-DD"T"HH24:MI:SS"Z"') AS since,
    extract(epoch FROM clock_timestamp() - coalesce(stats_reset, pg_postmaster_start_time()))::float8 AS age_seconds
FROM pg_stat_database
WHERE datname = current_database()
