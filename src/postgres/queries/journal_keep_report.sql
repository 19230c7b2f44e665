-- Keeps the answer of a run, or more of it.
-- $1 text: the run; $2 text: a piece of the answer (JSON); $3 boolean: it is the first
UPDATE candlefish.plan SET report = CASE WHEN $3 THEN $2 ELSE report || $2 END WHERE run_id = $1
