-- What a table without chunks has come to.
-- $1 text: the run; $2 text: the source table; $3 bigint: rows written; $4 bigint: rows set aside
UPDATE candlefish.run_table SET rows_written = $3, rows_rejected = $4 WHERE run_id = $1 AND source = $2
