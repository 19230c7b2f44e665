-- The chunks of a run that have landed.
-- $1 text: the run
SELECT source, chunk, rows_written, rows_rejected, bytes FROM candlefish.chunk WHERE run_id = $1
