-- What the sessions of this database are at, at this moment: what each waits for, or that it runs; how many. Looking itself is left out.
SELECT coalesce(a.wait_event_type || ': ' || a.wait_event, 'running') AS waiting_for, count(*) AS sessions
FROM pg_stat_activity a
WHERE a.datname = current_database() AND a.backend_type = 'client backend' AND a.state = 'active' AND a.pid <> pg_backend_pid()
GROUP BY 1
