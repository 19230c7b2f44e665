-- The probe's outcome beside its service. $1: milliseconds, $2: the service's id.
UPDATE candlefish_bench.services SET last_health_check = CURRENT_TIMESTAMP, health_status = 'healthy', health_response_time = $1 WHERE id = $2
