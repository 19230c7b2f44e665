-- A run was stopped, unless it came to its end before.
-- $1 text: the run; $2 text[]: the statuses of runs that have not
UPDATE candlefish.run SET status = 'stopped', finished_at = now() WHERE run_id = $1 AND status = ANY ($2)
