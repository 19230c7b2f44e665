-- What each statement of this database has cost since it was first seen: id, text, calls, milliseconds, rows, blocks, WAL. The looking itself is left out.
SELECT s.userid::int8 || ' ' || s.queryid AS id, s.query, s.calls, s.total_exec_time AS exec_ms, s.rows, s.shared_blks_hit AS blocks_hit, s.shared_blks_read AS blocks_read,
    s.wal_bytes::float8 AS wal_bytes
FROM pg_stat_statements s
WHERE s.dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
    AND s.query NOT LIKE '%pg_stat_statements s%' AND s.query NOT LIKE '%pg_stat_activity a%' AND s.query NOT LIKE '%set_config(%' AND s.query NOT LIKE '%pg_stat_database d%'
