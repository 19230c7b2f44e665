-- The state of the server and of this database in one row. $1 boolean: its size, too, for which each of its files is looked at;
-- $2 boolean: what is read and written is counted.
-- pg_stat_activity tells a user without pg_read_all_stats only how many others there are.
WITH clients AS (
    SELECT * FROM pg_stat_activity a
    WHERE a.datid IS NOT NULL AND a.usesysid IS NOT NULL AND coalesce(a.backend_type, 'client backend') = 'client backend' AND a.pid <> pg_backend_pid()
),
-- A session that does not say what it does may do anything.
sees_all AS (
    SELECT pg_has_role(current_user, 'pg_read_all_stats', 'USAGE') AND NOT EXISTS (SELECT FROM clients WHERE state = 'disabled') AS yes
)
SELECT
    d.datname::text AS database,
    extract(epoch FROM clock_timestamp() - pg_postmaster_start_time())::float8 AS up_seconds,
    CASE WHEN $1 AND has_database_privilege(d.datname, 'CONNECT') THEN pg_database_size(d.datid) END AS size_bytes,
    (SELECT count(*) FROM clients) AS connections,
    current_setting('max_connections')::bigint - current_setting('superuser_reserved_connections')::bigint
        - coalesce(current_setting('reserved_connections', true)::bigint, 0) AS connections_most,
    CASE WHEN yes THEN (SELECT count(*) FROM clients WHERE state = 'active') END AS active,
    CASE WHEN yes THEN (SELECT count(*) FROM clients WHERE state LIKE 'idle in transaction%') END AS idle_in_transaction,
    (SELECT count(DISTINCT pid) FROM pg_locks WHERE NOT granted) AS waiting_for_locks,
    CASE WHEN yes THEN (SELECT coalesce(extract(epoch FROM clock_timestamp() - min(xact_start)), 0)::float8 FROM clients) END AS longest_transaction_seconds,
    CASE WHEN $2 THEN d.blks_hit::float8 / nullif(d.blks_hit + d.blks_read, 0) END AS cache_hit_ratio,
    d.xact_commit AS commits,
    d.xact_rollback AS rollbacks,
    d.xact_rollback::float8 / nullif(d.xact_commit + d.xact_rollback, 0) AS rollback_ratio,
    CASE WHEN $2 THEN d.deadlocks END AS deadlocks,
    CASE WHEN $2 THEN d.temp_bytes END AS temp_bytes,
    (SELECT sum(n_dead_tup)::float8 / nullif(sum(n_live_tup + n_dead_tup)::float8, 0) FROM pg_stat_user_tables WHERE $2) AS dead_ratio,
    (SELECT max(greatest(age(datfrozenxid), mxid_age(datminmxid))) / 2147483648.0::float8 FROM pg_database) AS wraparound_ratio,
    (SELECT count(*) FROM pg_index WHERE NOT indisvalid) AS invalid_indexes
FROM pg_stat_database d CROSS JOIN sees_all
WHERE d.datname = current_database()
