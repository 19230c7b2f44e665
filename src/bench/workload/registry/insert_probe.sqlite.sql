-- Records a probe. $1: the service's id, $2: CPU in per cent, $3: the response's milliseconds, $4: was it healthy?
INSERT INTO health_metrics (service_id, metric_type, cpu_usage, memory_usage, response_time_ms, status_code, healthy, created_at)
VALUES ($1, 'probe', $2, 512, $3, 200, $4, CURRENT_TIMESTAMP)
