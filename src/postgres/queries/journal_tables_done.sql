-- Sums up the chunks of each table of a run that is to have rows.
-- $1 text: the run
UPDATE candlefish.run_table t
SET rows_written = coalesce(c.rows_written, 0), rows_rejected = coalesce(c.rows_rejected, 0)
FROM candlefish.run_table mine
LEFT JOIN (
    SELECT source, sum(rows_written)::bigint AS rows_written, sum(rows_rejected)::bigint AS rows_rejected
    FROM candlefish.chunk WHERE run_id = $1 GROUP BY source
) c USING (source)
WHERE mine.run_id = $1 AND t.run_id = $1 AND t.source = mine.source
