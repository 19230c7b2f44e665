-- Starts or stops a service. $1: bigint, $2: text
UPDATE services SET status = $2, started_at = CASE WHEN $2 = 'running' THEN now() ELSE started_at END WHERE id = $1
