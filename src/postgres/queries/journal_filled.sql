-- The tables of a schema that runs filled without making them.
-- $1 text: the schema
SELECT DISTINCT target FROM candlefish.run_table WHERE target_schema = $1 AND NOT created AND rows_written IS NOT NULL
