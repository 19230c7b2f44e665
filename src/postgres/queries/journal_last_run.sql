-- The last run into a schema that did not end for another's sake; one of this very source comes before any other.
-- $1 text: the schema; $2 text: the source's absolute path
SELECT run_id, settings
FROM candlefish.run
WHERE target_schema = $1 AND status NOT IN ('planned', 'given_up', 'refreshing')
ORDER BY coalesce(settings::jsonb ->> 'source_path' = $2, false) DESC, started_at DESC
LIMIT 1
