-- Prepared transactions of all databases, the oldest first. No parameters. A line's end in a name would end a comment.
SELECT regexp_replace(gid, '[[:cntrl:]]', '?', 'g') AS gid, regexp_replace(quote_literal(gid), '[[:cntrl:]]', '?', 'g') AS literal,
    regexp_replace(owner, '[[:cntrl:]]', '?', 'g') AS owner, regexp_replace(database, '[[:cntrl:]]', '?', 'g') AS database,
    extract(epoch FROM clock_timestamp() - prepared)::float8 AS age_seconds
FROM pg_prepared_xacts
ORDER BY prepared, gid
