-- Records a probe that found the service as the one before did; affects no row, and records nothing, when it did not.
-- $1: bigint, $2: text, $3: integer, $4: integer, $5: boolean
WITH steady AS (
    UPDATE services SET last_health_check = now(), health_response_time = $3
    WHERE id = $1 AND health_status = CASE WHEN $5 THEN 'healthy' ELSE 'unhealthy' END
    RETURNING id
)
INSERT INTO health_metrics (service_id, metric_type, response_time_ms, status_code, healthy, created_at) SELECT id, $2, $3, $4, $5, now() FROM steady
