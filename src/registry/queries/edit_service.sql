-- Edits a service. $1: bigint, $2: text, $3: integer, $4 and $5: text
UPDATE services SET name = $2, port = $3, health_check_url = $4, status = $5 WHERE id = $1
