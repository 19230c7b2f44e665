-- Keeps the answer of a run.
-- $1 text: the run; $2 text: the answer (JSON)
UPDATE candlefish.plan SET report = $2 WHERE run_id = $1
