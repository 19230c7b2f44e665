-- The last probes of one service, newest first. $1: its id, $2: how many.
SELECT id, metric_type, cpu_usage, memory_usage, response_time_ms, status_code, healthy, created_at FROM candlefish_bench.health_metrics
WHERE service_id = $1 ORDER BY created_at DESC LIMIT $2
