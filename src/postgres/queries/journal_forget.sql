-- Takes a run out of the journal; what refers to it goes with it.
-- $1 text: the run
WITH chunks AS (DELETE FROM candlefish.chunk WHERE run_id = $1),
     definitions AS (DELETE FROM candlefish.kept_definition WHERE run_id = $1)
DELETE FROM candlefish.run WHERE run_id = $1
