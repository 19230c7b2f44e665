-- Starts or stops three services, locked in the order of their keys so that two who do it never wait for each other. $1 to $3: ids, $4: the new status.
UPDATE candlefish_bench.services SET status = $4, started_at = CURRENT_TIMESTAMP
WHERE id IN (SELECT id FROM candlefish_bench.services WHERE id IN ($1, $2, $3) ORDER BY id FOR UPDATE)
