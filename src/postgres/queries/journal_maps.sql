-- How the tables of a run were copied.
-- $1 text: the run
SELECT map FROM candlefish.run_table WHERE run_id = $1 ORDER BY position
