-- How many rows of a table a refresh has set aside: all of the source's that have no place.
-- $1 text: the run; $2 text: the source table; $3 bigint: rows set aside
UPDATE candlefish.run_table SET rows_rejected = $3 WHERE run_id = $1 AND source = $2
