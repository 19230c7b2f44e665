-- Edits a service. $1: its id, $2: port, $3: health check's address.
UPDATE candlefish_bench.services SET port = $2, health_check_url = $3, updated_at = CURRENT_TIMESTAMP WHERE id = $1
