-- The last hour and day of each group, from the materialized view.
SELECT group_name, count(*) AS services, sum(probes_hour)::bigint AS probes_hour, sum(probes_hour_healthy)::bigint AS probes_hour_healthy,
       sum(probes_day)::bigint AS probes_day, sum(probes_day_healthy)::bigint AS probes_day_healthy,
       max(response_ms_hour_p95) AS response_ms_hour_p95_worst, max(as_of) AS as_of
FROM dashboard_service_health GROUP BY group_name ORDER BY group_name
