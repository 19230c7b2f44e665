-- Probes of one service in a span of time, newest first. $1: bigint, $2 and $3: timestamptz, $4: bigint, the most rows
SELECT id, metric_type, cpu_usage, memory_usage, response_time_ms, status_code, healthy, note, created_at
FROM health_metrics WHERE service_id = $1 AND created_at >= $2 AND created_at < $3 ORDER BY created_at DESC LIMIT $4
