-- A part of the work that has landed, in the transaction that brings it.
-- $1 text: the run; $2 text: what of; $3 int: its number; $4 bigint: rows written
INSERT INTO candlefish.chunk (run_id, source, chunk, rows_written, rows_rejected) VALUES ($1, $2, $3, $4, 0)
