-- The load tests that run on this database, by the names of their sessions. A pooler's session keeps its last client's name: one that has long been idle
-- is nobody's. Whose state may not be seen counts as at work.
SELECT DISTINCT application_name
FROM pg_stat_activity
WHERE datname = current_database()
  AND pid <> pg_backend_pid()
  AND application_name LIKE 'candlefish bench%'
  AND (state IS NULL OR state <> 'idle' OR state_change > clock_timestamp() - interval '10 s')
ORDER BY 1
