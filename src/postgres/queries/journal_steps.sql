-- The steps of a run that are done, and what each said.
-- $1 text: the run
SELECT step, said FROM candlefish.step WHERE run_id = $1
