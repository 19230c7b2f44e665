-- Replication slots that nobody uses, that keep much though somebody does, or that have lost their place; the worst first. No parameters.
-- What a primary's failover slots have made of a standby (PostgreSQL 17) nobody uses there before the failover.
SELECT s.slot_name::text AS name, quote_literal(s.slot_name) AS literal, s.wal_status = 'lost' OR to_jsonb(s) ->> 'invalidation_reason' IS NOT NULL AS is_lost,
    pg_wal_lsn_diff(CASE WHEN pg_is_in_recovery() THEN pg_last_wal_receive_lsn() ELSE pg_current_wal_lsn() END, s.restart_lsn)::float8::bigint AS retained_bytes,
    to_jsonb(s) ->> 'invalidation_reason' AS invalidation_reason, s.active AS is_active
FROM pg_replication_slots s
WHERE s.wal_status = 'lost' OR to_jsonb(s) ->> 'invalidation_reason' IS NOT NULL
    OR (NOT s.temporary AND s.restart_lsn IS NOT NULL AND coalesce(to_jsonb(s) ->> 'synced', 'false') <> 'true')
ORDER BY is_lost DESC, retained_bytes DESC NULLS LAST, name
