-- The tables of a schema that runs made.
-- $1 text: the schema; $2 text[]: out of these source tables
SELECT DISTINCT target FROM candlefish.run_table WHERE target_schema = $1 AND created AND source = ANY ($2)
