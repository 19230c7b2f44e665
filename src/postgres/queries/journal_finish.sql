-- How a run ended.
-- $1 text: the run; $2 text: the outcome
UPDATE candlefish.run SET status = $2, finished_at = now() WHERE run_id = $1
