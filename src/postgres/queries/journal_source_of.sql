-- A run into a schema that brought tables, and the absolute path of its source.
-- $1 text: the schema; $2 text: the run; NULL for the newest
SELECT run_id, settings::jsonb ->> 'source_path'
FROM candlefish.run r
WHERE target_schema = $1 AND ($2::text IS NULL OR run_id = $2) AND status NOT IN ('planned', 'given_up')
  AND settings::jsonb ->> 'source_path' IS NOT NULL AND EXISTS (SELECT 1 FROM candlefish.run_table t WHERE t.run_id = r.run_id)
ORDER BY started_at DESC
LIMIT 1
