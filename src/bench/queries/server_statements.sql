-- What each statement of this database has cost since it was first seen: id, text, calls, milliseconds, rows, whether it is of who asks, blocks, WAL.
-- The looking itself is left out.
SELECT s.userid::int8 || ' ' || s.queryid AS id, min(s.query) AS query, sum(s.calls)::float8 AS calls, sum(s.total_exec_time) AS exec_ms, sum(s.rows)::float8 AS rows,
    bool_and(s.userid = current_user::regrole) AS is_own, sum(s.shared_blks_hit)::float8 AS blocks_hit, sum(s.shared_blks_read)::float8 AS blocks_read, sum(s.wal_bytes)::float8 AS wal_bytes
FROM pg_stat_statements s
WHERE s.dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
    AND s.query NOT LIKE '%pg_stat_statements s%' AND s.query NOT LIKE '%pg_stat_activity a%' AND s.query NOT LIKE '%set_config(%' AND s.query NOT LIKE '%pg_stat_database d%'
    AND s.query NOT LIKE '%pg_stat_force_next_flush%' AND s.query NOT LIKE '%/* candlefish looks */%'
-- From PostgreSQL 14 on a statement inside a function is counted apart from the same outside; a hidden one has no id.
GROUP BY 1
