-- Starts or stops three services. $1 to $3: ids, $4: the new status.
UPDATE services SET status = $4, started_at = CURRENT_TIMESTAMP WHERE id IN ($1, $2, $3)
