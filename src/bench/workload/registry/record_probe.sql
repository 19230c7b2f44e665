-- Records a probe, and when the service was last looked at. $1: the service's id, $2: CPU in per cent, $3: the response's milliseconds, $4: was it healthy?
WITH probe AS (
    INSERT INTO candlefish_bench.health_metrics (service_id, metric_type, cpu_usage, memory_usage, response_time_ms, status_code, healthy, created_at)
    VALUES ($1, 'probe', $2, 512, $3, 200, $4, CURRENT_TIMESTAMP)
)
UPDATE candlefish_bench.services SET last_health_check = CURRENT_TIMESTAMP, health_response_time = $3 WHERE id = $1
