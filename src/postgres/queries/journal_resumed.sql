-- A run goes on, and what it failed with is past.
-- $1 text: the run
UPDATE candlefish.run SET status = 'running', finished_at = NULL, settings = (settings::jsonb - 'error')::text WHERE run_id = $1
