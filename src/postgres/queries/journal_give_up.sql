-- Unfinished runs whose tables a new run takes can no longer be resumed; nor is a refresh into the same schema wanted any more that left nothing.
-- $1 text: the new run; $2 text: its schema
UPDATE candlefish.run old
SET status = 'given_up', finished_at = now()
WHERE old.target_schema = $2 AND old.run_id <> $1 AND (old.status = 'refreshing' OR old.status IN ('running', 'stopped', 'copied', 'partial')
  AND EXISTS (
      SELECT 1 FROM candlefish.run_table o JOIN candlefish.run_table n ON (n.target_schema, n.target) = (o.target_schema, o.target)
      WHERE o.run_id = old.run_id AND n.run_id = $1
  ))
