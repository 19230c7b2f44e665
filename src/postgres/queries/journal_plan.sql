-- The plan of a run.
-- $1 text: the run
SELECT plan FROM candlefish.plan WHERE run_id = $1
