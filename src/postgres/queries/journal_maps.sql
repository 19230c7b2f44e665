-- How the tables of a run were copied; and the run, with the version that wrote it.
-- $1 text: the run
SELECT t.map, r.run_id, r.version FROM candlefish.run_table t JOIN candlefish.run r USING (run_id) WHERE run_id = $1 ORDER BY t.position
