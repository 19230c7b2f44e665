-- Starts or stops three services, locked in the order of their keys so that two who do it never wait for each other. $1: the new status, $2 to $4: ids.
UPDATE candlefish_bench.services SET status = $1, started_at = CURRENT_TIMESTAMP
WHERE id IN (SELECT id FROM candlefish_bench.services WHERE id IN ($2, $3, $4) ORDER BY id FOR UPDATE)
