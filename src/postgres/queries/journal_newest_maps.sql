-- For each table that runs have copied from a source into a schema, how the newest of them did; and that run, with the version that wrote it.
-- $1 text: the schema; $2 text: the source's absolute path
SELECT DISTINCT ON (t.source) t.map, r.run_id, r.version
FROM candlefish.run_table t JOIN candlefish.run r USING (run_id)
WHERE r.target_schema = $1 AND r.status NOT IN ('planned', 'given_up') AND r.settings::jsonb ->> 'source_path' = $2
ORDER BY t.source, r.started_at DESC, r.run_id DESC
