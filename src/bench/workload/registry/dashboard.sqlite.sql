-- What one user's dashboard shows: the layout, and each group's health. SQLite has no materialized view to keep it in. $1: the user's id.
SELECT d.layout, h.group_name, count(DISTINCT h.service_id), sum(h.in_hour), count(*), sum(h.healthy), avg(CASE WHEN h.in_hour THEN h.response_time_ms END), avg(h.response_time_ms)
FROM dashboards d CROSS JOIN (
    SELECT m.service_id, s.group_name, m.healthy, m.response_time_ms, m.created_at > datetime(clock.as_of, '-1 hour') AS in_hour
    FROM services s CROSS JOIN (SELECT max(created_at) AS as_of FROM health_metrics) clock
    JOIN health_metrics m ON m.service_id = s.id AND m.created_at > datetime(clock.as_of, '-1 day')
) h
WHERE d.user_id = $1 GROUP BY d.id, h.group_name ORDER BY h.group_name
