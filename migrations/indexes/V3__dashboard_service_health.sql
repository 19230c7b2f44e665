-- What a dashboard shows of each service: its last hour and day. `candlefish schema refresh` brings it up to date without blocking readers.
-- Counts, not only ratios, so that groups add up.
--
-- "Last" ends at as_of: the newest probe of any service, never later than now. A service that fell silent while others report shows
-- no probes, as it should; a copy restored from last week still shows its last hour; and a row dated into the future by a wrong
-- clock moves nothing. Compare as_of with now() to see whether anything reports at all.
CREATE MATERIALIZED VIEW dashboard_service_health AS
WITH last_probe AS (
    -- One probe of an index for each service, not a scan of millions of rows.
    SELECT s.id, s.name, s.group_name, p.created_at AS last_probe_at, p.healthy AS last_healthy
    FROM services s
    LEFT JOIN LATERAL (
        SELECT m.created_at, m.healthy
        FROM health_metrics m
        WHERE m.service_id = s.id AND m.created_at <= now()
        ORDER BY m.created_at DESC
        LIMIT 1
    ) p ON true
), clock AS (
    SELECT max(last_probe_at) AS as_of FROM last_probe
)
SELECT
    l.id AS service_id,
    l.name,
    l.group_name,
    l.last_probe_at,
    l.last_healthy,
    d.probes_hour,
    d.probes_hour_healthy,
    d.response_ms_hour_avg,
    d.response_ms_hour_p95,
    d.cpu_usage_hour_avg,
    d.memory_usage_hour_avg,
    d.probes_day,
    d.probes_day_healthy,
    d.response_ms_day_avg,
    d.response_ms_day_p95,
    d.cpu_usage_day_avg,
    d.memory_usage_day_avg,
    c.as_of
FROM last_probe l
CROSS JOIN clock c
CROSS JOIN LATERAL (
    SELECT
        count(*) FILTER (WHERE hour) AS probes_hour,
        count(*) FILTER (WHERE hour AND healthy) AS probes_hour_healthy,
        avg(response_time_ms) FILTER (WHERE hour) AS response_ms_hour_avg,
        percentile_cont(0.95) WITHIN GROUP (ORDER BY response_time_ms) FILTER (WHERE hour) AS response_ms_hour_p95,
        avg(cpu_usage) FILTER (WHERE hour) AS cpu_usage_hour_avg,
        avg(memory_usage) FILTER (WHERE hour) AS memory_usage_hour_avg,
        count(*) AS probes_day,
        count(*) FILTER (WHERE healthy) AS probes_day_healthy,
        avg(response_time_ms) AS response_ms_day_avg,
        percentile_cont(0.95) WITHIN GROUP (ORDER BY response_time_ms) AS response_ms_day_p95,
        avg(cpu_usage) AS cpu_usage_day_avg,
        avg(memory_usage) AS memory_usage_day_avg
    FROM (
        SELECT healthy, response_time_ms, cpu_usage, memory_usage, created_at > c.as_of - interval '1 hour' AS hour
        FROM health_metrics
        WHERE service_id = l.id AND created_at > c.as_of - interval '1 day' AND created_at <= c.as_of
    ) m
) d;

-- REFRESH … CONCURRENTLY compares by this.
CREATE UNIQUE INDEX dashboard_service_health_service_id_idx ON dashboard_service_health (service_id);
