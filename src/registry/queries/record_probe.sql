-- Records a probe. $1: bigint, $2: text, $3: integer, $4: integer, $5: boolean
WITH probe AS (
    INSERT INTO health_metrics (service_id, metric_type, response_time_ms, status_code, healthy, created_at) VALUES ($1, $2, $3, $4, $5, now())
)
UPDATE services SET last_health_check = now(), health_response_time = $3, health_status = CASE WHEN $5 THEN 'healthy' ELSE 'unhealthy' END WHERE id = $1
