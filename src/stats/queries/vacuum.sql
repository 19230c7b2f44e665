-- How far each database is from the end of its transaction ids, who keeps old rows from being cleaned up, what autovacuum has to freeze and to clean up, and
-- what it does now. $1 bigint: how many of each list; $2 boolean: dead rows are counted; $3 boolean: autovacuum is on. "found": how many a list has.
-- What ends a prepared transaction, and who may end a session, is not said here.
WITH settings AS (
    SELECT
        current_setting('autovacuum_freeze_max_age')::bigint AS xids,
        current_setting('autovacuum_multixact_freeze_max_age')::bigint AS multixacts,
        current_setting('autovacuum_vacuum_threshold')::float8 AS threshold,
        current_setting('autovacuum_vacuum_scale_factor')::float8 AS scale,
        current_setting('autovacuum_vacuum_max_threshold', true)::float8 AS most
),
tables AS MATERIALIZED (
    SELECT
        c.oid, c.relnamespace, c.relowner, c.relisshared, c.relpages,
        -- Of a TOAST table nobody knows the name.
        c.oid::regclass::text || coalesce(' of ' || m.oid::regclass::text, '') AS name,
        coalesce(m.oid, c.oid)::regclass::text AS vacuumed_as,
        -- What has no ids that grow old is as old as can be.
        nullif(age(c.relfrozenxid), 2147483647)::bigint AS xid_age, nullif(mxid_age(c.relminmxid), 2147483647)::bigint AS multixact_age,
        -- A table has its vacuum sooner than others, never later.
        least(o.xids, s.xids) AS xids, least(o.multixacts, s.multixacts) AS multixacts,
        $3 AND coalesce(o.is_enabled, true) AS is_enabled,
        least(
            coalesce(o.threshold, s.threshold) + coalesce(o.scale, s.scale) * greatest(c.reltuples, 0),
            nullif(coalesce(o.most, s.most), -1)) AS due
    FROM pg_class c
    -- A TOAST table without options of its own goes by its table's.
    LEFT JOIN pg_class m ON c.relkind = 't' AND m.reltoastrelid = c.oid
    CROSS JOIN settings s
    CROSS JOIN LATERAL (
        SELECT
            max(CASE option_name WHEN 'autovacuum_freeze_max_age' THEN option_value::bigint END) AS xids,
            max(CASE option_name WHEN 'autovacuum_multixact_freeze_max_age' THEN option_value::bigint END) AS multixacts,
            max(CASE option_name WHEN 'autovacuum_vacuum_threshold' THEN option_value::float8 END) AS threshold,
            max(CASE option_name WHEN 'autovacuum_vacuum_scale_factor' THEN option_value::float8 END) AS scale,
            max(CASE option_name WHEN 'autovacuum_vacuum_max_threshold' THEN option_value::float8 END) AS most,
            bool_and(CASE option_name WHEN 'autovacuum_enabled' THEN option_value::boolean END) AS is_enabled
        FROM pg_options_to_table(coalesce(c.reloptions, m.reloptions))
    ) AS o
    WHERE c.relkind IN ('r', 'm', 't')
),
-- Those that autovacuum has to freeze, even where it is turned off: older than they may become, by either kind of ids. And those with a third of all ids behind
-- them, however old the settings let them become.
old AS (
    SELECT *, greatest(xid_age / xids::float8, multixact_age / multixacts::float8) AS ratio,
        coalesce(multixact_age / multixacts::float8 > xid_age / xids::float8, xid_age IS NULL) AS is_by_multixacts
    FROM tables WHERE xid_age > xids OR multixact_age > multixacts OR greatest(xid_age, multixact_age) > 0.3 * 2147483648
),
to_freeze AS (
    -- Of equals the largest, which takes the longest; a TOAST table stands behind its own.
    SELECT t.*, count(*) OVER () AS found, row_number() OVER (ORDER BY ratio DESC, relpages DESC, vacuumed_as, oid) AS place,
        CASE WHEN is_by_multixacts THEN multixact_age ELSE xid_age END AS age,
        CASE WHEN is_by_multixacts THEN multixacts ELSE xids END AS most,
        (SELECT greatest(s.last_vacuum, s.last_autovacuum) FROM pg_stat_all_tables s WHERE s.relid = t.oid) AS vacuumed,
        EXISTS (SELECT FROM pg_stat_progress_vacuum p WHERE p.relid = t.oid AND p.datname = current_database()) AS is_under_way
    FROM old t ORDER BY place LIMIT $1
),
dead AS (
    SELECT t.*, s.n_dead_tup, greatest(s.last_vacuum, s.last_autovacuum) AS vacuumed, count(*) OVER () AS found,
        row_number() OVER (ORDER BY s.n_dead_tup / nullif(t.due, 0) DESC NULLS LAST, t.name) AS place
    FROM pg_stat_all_tables s JOIN tables t ON t.oid = s.relid
    WHERE $2 AND s.n_dead_tup > 0 AND s.schemaname NOT IN ('pg_catalog', 'information_schema')
    ORDER BY place LIMIT $1
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
        END AS remedy,
        true AS is_session
    FROM pg_stat_activity a
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
        NULL, false
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
    SELECT *, count(*) OVER () AS found, row_number() OVER (ORDER BY xid_age DESC, seconds DESC NULLS LAST, name) AS place FROM holders
    WHERE xid_age > 0 AND (NOT is_session OR seconds >= 60 OR xid_age >= 10000) ORDER BY place LIMIT $1
)
SELECT what, name, xid_age, wraparound_ratio, freeze_at, freeze_ratio, dead_est, due_at, dead_est / nullif(due_at, 0)::float8 AS due_ratio, vacuumed_seconds,
    phase, progress_ratio, pid, "user", application, state, transaction_seconds, remedy, found
FROM (
    SELECT 1 AS position, NULL::bigint AS place, 'running' AS what,
        CASE WHEN p.datname = current_database() THEN p.relid::regclass::text ELSE p.datname || ': ' || p.relid END AS name,
        NULL::bigint AS xid_age, NULL::float8 AS wraparound_ratio, NULL::bigint AS freeze_at, NULL::float8 AS freeze_ratio,
        NULL::bigint AS dead_est, NULL::bigint AS due_at, NULL::float8 AS vacuumed_seconds,
        p.phase, p.heap_blks_scanned::float8 / nullif(p.heap_blks_total, 0) AS progress_ratio, p.pid, NULL::text AS "user", NULL::text AS application,
        NULL::text AS state, NULL::float8 AS transaction_seconds, NULL::text AS remedy, NULL::bigint AS found
    FROM pg_stat_progress_vacuum p
    UNION ALL
    SELECT 2, o.place, 'held back by', o.name, o.xid_age, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, o.pid, o."user", o.application, o.state, o.seconds,
        o.remedy, o.found
    FROM oldest o
    UNION ALL
    SELECT 3, t.place, 'to freeze', t.name, t.age, t.age / 2147483648.0::float8, t.most, t.ratio, NULL, NULL,
        extract(epoch FROM clock_timestamp() - t.vacuumed)::float8, NULL, NULL, NULL, NULL, NULL,
        nullif(concat_ws(', ', CASE WHEN t.is_by_multixacts THEN 'by multixacts' END, CASE WHEN t.is_under_way THEN 'being vacuumed' END), ''), NULL,
        CASE
            WHEN t.is_under_way THEN NULL
            -- Nobody but the session itself reaches its temporary tables.
            WHEN pg_is_other_temp_schema(t.relnamespace) THEN '-- a temporary table: it goes with its session'
            WHEN pg_is_in_recovery() THEN format('VACUUM (FREEZE) %s -- on the primary', t.vacuumed_as)
            ELSE format('VACUUM (FREEZE) %s', t.vacuumed_as) || CASE
                -- Who may do it, where this user may not.
                WHEN current_setting('is_superuser') = 'on' OR pg_has_role(t.relowner, 'USAGE') THEN ''
                WHEN t.relisshared THEN ' -- as a superuser'
                WHEN pg_has_role((SELECT datdba FROM pg_database WHERE datname = current_database()), 'USAGE') THEN ''
                ELSE ' -- as its owner, the database''s, or a superuser' END
        END,
        t.found
    FROM to_freeze t
    UNION ALL
    -- Ids end at 2 billion; the server refuses to write 3 million before that.
    SELECT 4, -greatest(age(d.datfrozenxid), mxid_age(d.datminmxid)), 'database', d.datname, greatest(age(d.datfrozenxid), mxid_age(d.datminmxid))::bigint,
        greatest(age(d.datfrozenxid), mxid_age(d.datminmxid)) / 2147483648.0::float8, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
        NULL, NULL
    FROM pg_database d
    UNION ALL
    -- What nobody cleans up is due at no number of dead rows.
    SELECT 5, t.place, 'table', t.name, t.xid_age, t.xid_age / 2147483648.0::float8, NULL, NULL, t.n_dead_tup,
        CASE WHEN t.is_enabled THEN round(t.due)::bigint END, extract(epoch FROM clock_timestamp() - t.vacuumed)::float8, NULL, NULL, NULL, NULL, NULL,
        CASE WHEN NOT t.is_enabled THEN 'autovacuum is off' END, NULL, NULL, t.found
    FROM dead t
) AS rows
ORDER BY position, place, name
