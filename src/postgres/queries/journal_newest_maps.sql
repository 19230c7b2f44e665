-- For each table that runs have copied into a schema, how the newest of them did; one of this very source comes before any other.
-- $1 text: the schema; $2 text: the source's absolute path
SELECT DISTINCT ON (t.source) t.map
FROM candlefish.run_table t JOIN candlefish.run r USING (run_id)
WHERE r.target_schema = $1 AND r.status NOT IN ('planned', 'given_up')
ORDER BY t.source, coalesce(r.settings::jsonb ->> 'source_path' = $2, false) DESC, r.started_at DESC, r.run_id DESC
