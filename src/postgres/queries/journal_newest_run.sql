-- The newest run into a schema.
-- $1 text: the schema
SELECT run_id, status FROM candlefish.run WHERE target_schema = $1 ORDER BY started_at DESC LIMIT 1
