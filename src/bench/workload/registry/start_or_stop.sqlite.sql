-- Starts or stops three services. $1: the new status, $2 to $4: ids.
UPDATE services SET status = $1, started_at = CURRENT_TIMESTAMP WHERE id IN ($2, $3, $4)
