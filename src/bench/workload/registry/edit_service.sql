-- Edits a service. $1: port, $2: health check's address, $3: its id.
UPDATE candlefish_bench.services SET port = $1, health_check_url = $2, updated_at = CURRENT_TIMESTAMP WHERE id = $3
