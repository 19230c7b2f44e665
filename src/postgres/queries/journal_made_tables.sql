-- What stands under the names of tables that runs made: the very table, or another; made of which file; how many rows the run brought, if none came after it.
-- $1 text: the schema; $2 text[]: out of these source tables
SELECT DISTINCT ON (t.target) t.target, c.oid, r.settings::jsonb ->> 'source_path',
       -- An older journal has no such column.
       coalesce(c.oid::text = to_jsonb(t) ->> 'made_oid', false) AS is_the_same,
       CASE WHEN NOT EXISTS (
           SELECT 1 FROM candlefish.run_table later JOIN candlefish.run after USING (run_id)
           WHERE (later.target_schema, later.target) = (t.target_schema, t.target) AND after.started_at > r.started_at
       ) THEN t.rows_written END
FROM candlefish.run_table t
JOIN candlefish.run r USING (run_id)
JOIN pg_class c ON c.oid = to_regclass(format('%I.%I', t.target_schema, t.target))
WHERE t.target_schema = $1 AND t.created AND t.source = ANY ($2)
ORDER BY t.target, is_the_same DESC, r.started_at DESC, r.run_id DESC
