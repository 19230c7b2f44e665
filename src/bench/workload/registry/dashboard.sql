-- What one user's dashboard shows: the layout, and each group's health. $1: the user's id.
SELECT d.layout, h.group_name, count(*), sum(h.probes_hour), sum(h.probes_day), sum(h.probes_day_healthy), avg(h.response_ms_hour_avg), avg(h.response_ms_day_avg)
FROM candlefish_bench.dashboards d CROSS JOIN candlefish_bench.dashboard_service_health h
WHERE d.user_id = $1 GROUP BY d.id, h.group_name ORDER BY h.group_name
