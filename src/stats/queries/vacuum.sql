-- How far each database is from the end of its transaction ids, who keeps old rows from being cleaned up, what autovacuum has to do, and what it does
-- now. $1 bigint: how many tables; $2 boolean: dead rows are counted. "found": how many tables there are with dead rows.
WITH settings AS (
    SELECT
        current_setting('autovacuum_freeze_max_age')::bigint AS freeze_max_age,
        current_setting('autovacuum_vacuum_threshold')::float8 AS threshold,
        current_setting('autovacuum_vacuum_scale_factor')::float8 AS scale,
        nullif(current_setting('autovacuum_vacuum_max_threshold', true)::float8, -1) AS most
),
tables AS (
    SELECT
        s.relid, s.n_dead_tup, greatest(s.last_vacuum, s.last_autovacuum) AS vacuumed, age(c.relfrozenxid)::bigint AS xid_age,
        least(
            coalesce((SELECT option_value::float8 FROM pg_options_to_table(c.reloptions) WHERE option_name = 'autovacuum_vacuum_threshold'), threshold)
            + coalesce((SELECT option_value::float8 FROM pg_options_to_table(c.reloptions) WHERE option_name = 'autovacuum_vacuum_scale_factor'), scale)
            * greatest(c.reltuples, 0),
            most) AS due
    FROM pg_stat_all_tables s
    JOIN pg_class c ON c.oid = s.relid
    CROSS JOIN settings
    WHERE s.schemaname NOT IN ('pg_catalog', 'information_schema') AND c.relkind IN ('r', 'm', 't')
),
-- What was dead only after the oldest of these began cannot be cleaned up. Of sessions those of this database alone, which sees no other's rows; a walsender
-- has none, and stands for its standby. VACUUM itself is in nobody's way.
holders AS (
    SELECT 'session ' || a.pid AS name, greatest(age(a.backend_xmin), age(a.backend_xid))::bigint AS xid_age, a.pid, a.usename::text AS "user",
        nullif(a.application_name, '') AS application, coalesce(a.state, a.backend_type) AS state,
        extract(epoch FROM clock_timestamp() - a.xact_start)::float8 AS seconds,
        CASE
            -- What the server does by itself ends by itself; of whom this user may not look into nobody knows what would end it.
            WHEN coalesce(a.backend_type, '') <> 'client backend' OR a.xact_start >= clock_timestamp() - interval '1 minute' THEN NULL
            WHEN a.state LIKE 'idle in transaction%' THEN format('SELECT pg_terminate_backend(%s)', a.pid)
            ELSE format('SELECT pg_cancel_backend(%s)', a.pid)
        END || CASE
            -- Who may do it, where this user may not.
            WHEN current_setting('is_superuser') = 'on' THEN ''
            WHEN a.usesysid IS NULL OR r.rolsuper THEN ' -- as a superuser'
            WHEN pg_has_role(a.usesysid, 'USAGE') OR pg_has_role('pg_signal_backend', 'USAGE') THEN ''
            -- A line's end in a name would end the comment.
            ELSE format(' -- as %s, as a superuser, or with pg_signal_backend', regexp_replace(quote_ident(a.usename), '[[:cntrl:]]', '?', 'g'))
        END AS remedy,
        true AS is_session
    FROM pg_stat_activity a
    LEFT JOIN pg_roles r ON r.oid = a.usesysid
    WHERE a.datname = current_database() AND coalesce(a.backend_type, '') NOT IN ('walsender', 'parallel worker') AND a.pid <> pg_backend_pid()
        AND a.pid NOT IN (SELECT pid FROM pg_stat_progress_vacuum)
    UNION ALL
    SELECT 'standby ' || coalesce(nullif(s.application_name, ''), s.pid::text), age(s.backend_xmin), s.pid, s.usename::text, nullif(s.application_name, ''),
        'hot_standby_feedback', NULL, '-- its oldest query holds them: end that one there, or set hot_standby_feedback = off there',
        false
    FROM pg_stat_replication s
    UNION ALL
    SELECT 'prepared transaction ' || p.gid, age(p.transaction), NULL, p.owner::text, NULL, 'prepared',
        extract(epoch FROM clock_timestamp() - p.prepared)::float8,
        regexp_replace(format('COMMIT PREPARED %1$L or ROLLBACK PREPARED %1$L', p.gid), '[[:cntrl:]]', '?', 'g') || ' -- ask the coordinator first', false
    FROM pg_prepared_xacts p
    WHERE p.database = current_database()
    UNION ALL
    -- What decodes holds the rows of catalogs alone.
    SELECT 'slot ' || s.slot_name, coalesce(age(s.xmin), age(s.catalog_xmin)), s.active_pid, NULL, NULL,
        CASE WHEN s.active THEN 'active' ELSE 'inactive' END || CASE WHEN s.xmin IS NULL THEN ', rows of catalogs alone' ELSE '' END, NULL,
        CASE WHEN NOT s.active THEN format('SELECT pg_drop_replication_slot(%L) -- only where its consumer never comes back', s.slot_name) END,
        false
    FROM pg_replication_slots s
    -- One that is lost holds nothing any more.
    WHERE s.wal_status IS DISTINCT FROM 'lost'
),
-- One that nothing was changed after holds nothing. Sessions come and go: those are named that have been in the way for a minute, or for many transactions.
oldest AS (
    SELECT * FROM holders WHERE xid_age > 0 AND (NOT is_session OR seconds >= 60 OR xid_age >= 10000) ORDER BY xid_age DESC, seconds DESC NULLS LAST, name LIMIT 5
)
SELECT what, name, xid_age, wraparound_ratio, dead_est, due_at, dead_est / nullif(due_at, 0)::float8 AS due_ratio, vacuumed_seconds, phase, progress_ratio,
    pid, "user", application, state, transaction_seconds, remedy, found
FROM (
    SELECT 1 AS position, 'running' AS what,
        CASE WHEN p.datname = current_database() THEN p.relid::regclass::text ELSE p.datname || ': ' || p.relid END AS name,
        NULL::bigint AS xid_age, NULL::float8 AS wraparound_ratio, NULL::bigint AS dead_est, NULL::bigint AS due_at, NULL::float8 AS vacuumed_seconds,
        p.phase, p.heap_blks_scanned::float8 / nullif(p.heap_blks_total, 0) AS progress_ratio, p.pid, NULL::text AS "user", NULL::text AS application,
        NULL::text AS state, NULL::float8 AS transaction_seconds, NULL::text AS remedy, NULL::bigint AS found
    FROM pg_stat_progress_vacuum p
    UNION ALL
    SELECT 2, 'held back by', o.name, o.xid_age, NULL, NULL, NULL, NULL, NULL, NULL, o.pid, o."user", o.application, o.state, o.seconds, o.remedy, NULL
    FROM oldest o
    UNION ALL
    -- Ids end at 2 billion; the server refuses to write 3 million before that.
    SELECT 3, 'database', d.datname, greatest(age(d.datfrozenxid), mxid_age(d.datminmxid))::bigint,
        greatest(age(d.datfrozenxid), mxid_age(d.datminmxid)) / 2147483648.0::float8, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL
    FROM pg_database d
    UNION ALL
    (
        SELECT 4, 'table', t.relid::regclass::text, t.xid_age, t.xid_age / 2147483648.0::float8, t.n_dead_tup, round(t.due)::bigint,
            extract(epoch FROM clock_timestamp() - t.vacuumed)::float8, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, count(*) OVER ()
        FROM tables t WHERE t.n_dead_tup > 0 AND $2 ORDER BY t.n_dead_tup / nullif(t.due, 0) DESC NULLS LAST LIMIT $1
    )
) AS rows
ORDER BY position, due_at IS NULL, dead_est / nullif(due_at, 0)::float8 DESC NULLS LAST, xid_age DESC, name
