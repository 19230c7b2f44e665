-- The answer of a run.
-- $1 text: the run
SELECT report FROM candlefish.plan WHERE run_id = $1
