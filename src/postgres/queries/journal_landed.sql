-- Has that part landed?
-- $1 text: the run; $2 text: what of; $3 int: its number
SELECT EXISTS (SELECT 1 FROM candlefish.chunk WHERE run_id = $1 AND source = $2 AND chunk = $3)
