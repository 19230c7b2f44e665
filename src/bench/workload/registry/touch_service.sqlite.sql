-- Notes that a service was looked at. $1: its id, $2: the response's milliseconds
UPDATE services SET last_health_check = CURRENT_TIMESTAMP, health_response_time = $2 WHERE id = $1
