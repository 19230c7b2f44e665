-- For each table that runs have copied from a source into a schema: how many rows the newest of them has set aside that no retry has brought since (NULL where the
-- journal does not tell), and the folder in which they are.
-- $1 text: the schema; $2 text: the source's absolute path
WITH run AS (
    SELECT run_id, started_at, settings::jsonb AS settings
    FROM candlefish.run
    WHERE target_schema = $1 AND status NOT IN ('planned', 'given_up', 'refreshing')
), last AS (
    SELECT settings ->> 'source_path' AS source_path
    FROM run
    ORDER BY coalesce(settings ->> 'source_path' = $2, false) DESC, started_at DESC
    LIMIT 1
), copied AS (
    SELECT t.source, r.started_at, r.run_id, r.settings ? 'retry_rejects' AS retried, t.rows_written, t.rows_rejected,
        r.settings ->> 'rejects_dir' AS folder
    FROM candlefish.run_table t JOIN run r USING (run_id) JOIN last ON r.settings ->> 'source_path' IS NOT DISTINCT FROM last.source_path
), newest AS (
    SELECT DISTINCT ON (source) source, started_at, rows_rejected, folder
    FROM copied WHERE NOT retried
    ORDER BY source, started_at DESC, run_id DESC
)
SELECT n.source,
    n.rows_rejected - coalesce((
        SELECT sum(c.rows_written) FROM copied c WHERE c.retried AND c.source = n.source AND c.started_at > n.started_at
    ), 0)::bigint AS set_aside,
    coalesce((
        SELECT c.folder FROM copied c WHERE c.retried AND c.source = n.source AND c.started_at > n.started_at ORDER BY c.started_at DESC LIMIT 1
    ), n.folder) AS folder
FROM newest n
