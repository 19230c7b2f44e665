-- Indexes that cost more than they give, or are missing; one finding an index, with its reason, the statement that mends it and, for programs, its cause.
-- $1 bigint: the least size, in bytes, of an index that is called unused; $2 boolean: scans are counted.
-- Primary keys, constraints, replica identities, what tables are clustered by and the parts of partitioned indexes are never called superfluous.
-- Tables that somebody locks, or waits to lock, exclusively come last, as "skipped": pg_get_expr() and sizes would wait for such a lock.
WITH locked AS MATERIALIZED (
    -- A prepared transaction has no process: it is 0, as in pg_blocking_pids().
    SELECT relation, coalesce(min(pid), 0) AS pid FROM pg_locks
    WHERE locktype = 'relation' AND mode = 'AccessExclusiveLock' AND pid IS DISTINCT FROM pg_backend_pid()
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
    GROUP BY relation
),
all_tables AS MATERIALIZED (
    SELECT c.oid, c.relkind,
        (
            SELECT min(l.pid) FROM locked l
            WHERE l.relation = c.oid OR l.relation IN (SELECT x.indexrelid FROM pg_index x WHERE x.indrelid = c.oid)
        ) AS locked_by
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'm', 'p') AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
),
-- Of what is not locked the planner would expect next to no tables: of an answer yes or no it expects half.
tables AS MATERIALIZED (
    SELECT oid, relkind FROM (SELECT *, locked_by IS NOT NULL AS is_locked FROM all_tables OFFSET 0) AS looked_at WHERE NOT is_locked
),
-- What is compared with a constant below is a boolean here: of an equality the planner would expect next to no rows, and compare each index with each.
indexes AS MATERIALIZED (
    SELECT
        x.indexrelid, x.indrelid, c.relkind = 'I' AS is_partitioned, x.indisunique, x.indisvalid, am.amname, am.amname = 'btree' AS is_btree,
        string_to_array(x.indkey::text, ' ') AS columns,
        -- A column by its number, an expression as it is written.
        CASE WHEN x.indexprs IS NULL THEN (string_to_array(x.indkey::text, ' '))[1:x.indnkeyatts]
            ELSE (
                SELECT array_agg(CASE WHEN k.attnum = '0' THEN pg_get_indexdef(x.indexrelid, k.position::int, false) ELSE k.attnum END ORDER BY k.position)
                FROM unnest((string_to_array(x.indkey::text, ' '))[1:x.indnkeyatts]) WITH ORDINALITY AS k (attnum, position)
            ) END AS keys,
        (string_to_array(x.indkey::text, ' '))[x.indnkeyatts + 1:] AS carried,
        x.indnkeyatts AS n,
        string_to_array(x.indclass::text, ' ') AS classes,
        string_to_array(x.indcollation::text, ' ') AS collations,
        string_to_array(x.indoption::text, ' ') AS options,
        coalesce(pg_get_expr(x.indexprs, x.indrelid), '') AS expressions,
        coalesce(pg_get_expr(x.indpred, x.indrelid), '') AS predicate,
        coalesce(to_jsonb(x) ->> 'indnullsnotdistinct', 'false') AS nulls_not_distinct,
        -- What makes another index of it: ranges of BRIN, lengths of signatures, lists. How full it is and how it is written does not.
        (
            SELECT coalesce(string_agg(o.option, ' ' ORDER BY o.option), '') FROM unnest(c.reloptions) AS o (option)
            WHERE split_part(o.option, '=', 1) NOT IN ('fillfactor', 'deduplicate_items', 'fastupdate', 'gin_pending_list_limit', 'buffering')
        ) || (
            SELECT coalesce(string_agg(format(' %s: %s', a.attnum, a.attoptions), '' ORDER BY a.attnum), '') FROM pg_attribute a
            WHERE a.attrelid = x.indexrelid AND a.attoptions IS NOT NULL
        ) AS build,
        x.indimmediate AS is_immediate,
        x.indnatts - x.indnkeyatts AS n_carried,
        x.indisprimary OR x.indisexclusion OR x.indisreplident OR x.indisclustered OR c.relispartition
            OR x.indexrelid IN (SELECT k.conindid FROM pg_constraint k) AS is_bound,
        x.indisprimary AS is_primary,
        CASE WHEN $2 AND c.relkind = 'i' THEN pg_stat_get_numscans(x.indexrelid) END AS scans
    FROM pg_index x
    JOIN tables t ON t.oid = x.indrelid
    JOIN pg_class c ON c.oid = x.indexrelid
    JOIN pg_am am ON am.oid = c.relam
),
invalid AS (
    SELECT i.*, 'invalid' AS finding,
        CASE WHEN i.is_partitioned THEN 'not every partition has it'
            ELSE 'a concurrent build failed: it is written, and never read' || CASE
                WHEN i.indisunique THEN '; it is UNIQUE: there may be duplicates, which have to go before it can be built' ELSE '' END
            END AS reason,
        CASE WHEN i.is_partitioned THEN 'partitions_lack_it' WHEN i.indisunique THEN 'unique_build_failed' ELSE 'build_failed' END AS cause,
        CASE WHEN i.is_partitioned THEN '-- CREATE INDEX CONCURRENTLY on each partition that lacks it, then ALTER INDEX … ATTACH PARTITION'
            WHEN i.indexrelid::regclass::text ~ '_cc(new|old)[0-9]*"?$' THEN format('DROP INDEX CONCURRENTLY %s', i.indexrelid::regclass)
            ELSE format('REINDEX INDEX CONCURRENTLY %s', i.indexrelid::regclass) END AS ddl
    FROM indexes i
    WHERE NOT i.indisvalid
        AND NOT EXISTS (
            SELECT FROM pg_stat_progress_create_index p
            WHERE p.index_relid = i.indexrelid
                -- Who may not see which index another's build is of sees the table that it has locked.
                OR (p.index_relid IS NULL AND EXISTS (
                    SELECT FROM pg_locks l
                    WHERE l.pid = p.pid AND l.relation = i.indrelid AND l.mode = 'ShareUpdateExclusiveLock' AND l.granted
                        AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()))))
),
-- Of equals the one that is bound stays, then the unique one, then the older one. Who stays is never called a duplicate itself.
duplicate AS MATERIALIZED (
    SELECT DISTINCT ON (i.indexrelid) i.*, k.indexrelid AS keeper, 'duplicate' AS finding,
        format('the same as %s', k.indexrelid::regclass) AS reason, 'same' AS cause,
        -- Of a partitioned table it cannot be done concurrently.
        format('DROP INDEX %s%s', CASE WHEN NOT i.is_partitioned THEN 'CONCURRENTLY ' END, i.indexrelid::regclass) AS ddl
    FROM indexes i
    JOIN indexes k ON k.indrelid = i.indrelid AND k.indexrelid <> i.indexrelid AND k.indisvalid AND k.is_partitioned = i.is_partitioned
        AND (k.amname, k.columns, k.n, k.classes, k.collations, k.options, k.expressions, k.predicate, k.build)
            = (i.amname, i.columns, i.n, i.classes, i.collations, i.options, i.expressions, i.predicate, i.build)
        -- One that may be checked late keeps a weaker promise, which no foreign key and no ON CONFLICT takes.
        AND (NOT i.indisunique
            OR (k.indisunique AND k.nulls_not_distinct = i.nulls_not_distinct AND (k.is_immediate OR NOT i.is_immediate)))
        AND (k.is_bound, k.indisunique, -k.indexrelid::bigint) > (i.is_bound, i.indisunique, -i.indexrelid::bigint)
    WHERE i.indisvalid AND NOT i.is_bound
    ORDER BY i.indexrelid, k.is_primary DESC, k.is_bound DESC, k.indisunique DESC, k.indexrelid
),
-- The widest takes over: a narrower one may be redundant itself. One of the same keys that carries more columns does all that the other does, and so does
-- one that has among its keys what the other carries.
redundant AS MATERIALIZED (
    SELECT DISTINCT ON (i.indexrelid) i.*, k.indexrelid AS keeper, 'redundant' AS finding,
        format('%s begins with the same columns%s', k.indexrelid::regclass, CASE WHEN i.n_carried > 0 THEN ', and has the others too' ELSE '' END) AS reason,
        'prefix' AS cause,
        format('DROP INDEX %s%s', CASE WHEN NOT i.is_partitioned THEN 'CONCURRENTLY ' END, i.indexrelid::regclass) AS ddl
    FROM indexes i
    JOIN indexes k ON k.indrelid = i.indrelid AND k.indexrelid <> i.indexrelid AND k.indisvalid AND k.is_btree
        AND (k.n, k.n_carried, k.is_bound, k.indisunique, -k.indexrelid::bigint) > (i.n, i.n_carried, i.is_bound, i.indisunique, -i.indexrelid::bigint)
        AND k.predicate = i.predicate
        AND (k.keys[1:i.n], k.classes[1:i.n], k.collations[1:i.n], k.options[1:i.n]) = (i.keys, i.classes, i.collations, i.options)
        AND i.carried <@ k.columns
    WHERE i.indisvalid AND NOT i.is_bound AND NOT i.indisunique AND i.is_btree
        AND i.indexrelid NOT IN (SELECT indexrelid FROM duplicate) AND k.indexrelid NOT IN (SELECT indexrelid FROM duplicate)
    ORDER BY i.indexrelid, k.n DESC, k.n_carried DESC, k.is_bound DESC, k.indisunique DESC, k.indexrelid
),
foreign_keys AS MATERIALIZED (
    SELECT k.oid, k.conname, k.conrelid, k.confrelid, t.relkind, k.conkey[1:p.n] AS conkey, k.conpfeqop[1:p.n] AS conpfeqop,
        -- By the collation of its own column PostgreSQL looks for a key's rows, and by the other one where that holds different texts for equal.
        ARRAY(
            SELECT CASE WHEN coalesce(l.collisdeterministic, true) THEN own.attcollation ELSE other.attcollation END
            FROM unnest(k.conkey[1:p.n], k.confkey[1:p.n]) WITH ORDINALITY AS u (own, other, position)
            JOIN pg_attribute own ON own.attrelid = k.conrelid AND own.attnum = u.own
            JOIN pg_attribute other ON other.attrelid = k.confrelid AND other.attnum = u.other
            LEFT JOIN pg_collation l ON l.oid = other.attcollation
            ORDER BY u.position
        ) AS collations
    FROM pg_constraint k
    JOIN tables t ON t.oid = k.conrelid
    -- Of a temporal key (PostgreSQL 18) the last is a period, which is not found by equality: the others find the rows.
    CROSS JOIN LATERAL (SELECT cardinality(k.conkey) - CASE WHEN to_jsonb(k) ->> 'conperiod' = 'true' THEN 1 ELSE 0 END AS n) AS p
    -- One that is NOT ENFORCED (PostgreSQL 18) looks for nothing.
    WHERE k.contype = 'f' AND k.conparentid = 0 AND coalesce(to_jsonb(k) ->> 'conenforced', 'true') = 'true'
),
-- The index that serves a foreign key; of several, one that stays anyhow.
served AS MATERIALIZED (
    SELECT DISTINCT ON (f.oid) f.oid, i.indexrelid AS keeper
    FROM foreign_keys f
    JOIN indexes i ON i.indrelid = f.conrelid
    -- One that not every partition has is to be completed, one whose build has failed is to be built again, and one that is being built will be there:
    -- another one beside it mends nothing. What REINDEX has left behind is to go.
    WHERE (i.indisvalid OR i.is_partitioned OR i.indexrelid::regclass::text !~ '_cc(new|old)[0-9]*"?$')
        -- It finds the rows of a key. BRIN and bloom read all of the index, and much of the table.
        AND i.amname NOT IN ('brin', 'bloom')
        -- By its first column alone it finds few rows, among which the others are looked for.
        AND EXISTS (
            SELECT FROM unnest(f.conkey, f.conpfeqop, f.collations) AS part (attnum, equality, collated)
            JOIN pg_opclass c ON c.oid = i.classes[1]::oid
            JOIN pg_amop o ON o.amopfamily = c.opcfamily AND o.amoppurpose = 's'
            JOIN pg_operator e ON e.oid = o.amopopr
            WHERE i.keys[1] = part.attnum::text AND part.equality IN (e.oid, e.oprcom) AND i.collations[1]::oid IN (0, part.collated))
        -- A key that is NULL refers to nothing: an index may leave it out.
        AND (i.predicate = '' OR NOT EXISTS (
            SELECT FROM regexp_split_to_table(i.predicate, ' AND ') AS part
            WHERE btrim(part, '()') NOT IN (
                SELECT format('%I IS NOT NULL', a.attname) FROM pg_attribute a WHERE a.attrelid = f.conrelid AND a.attnum = ANY (f.conkey))))
    ORDER BY f.oid, NOT i.indisvalid,
        NOT (i.keys[1:cardinality(f.conkey)] <@ f.conkey::text[] AND i.keys[1:cardinality(f.conkey)] @> f.conkey::text[]), i.indexrelid IN (SELECT indexrelid FROM duplicate UNION ALL SELECT indexrelid FROM redundant),
        i.is_bound DESC, i.indisunique DESC, coalesce(i.scans, 0) = 0, i.n, i.indexrelid
),
unused AS (
    SELECT i.*, 'unused' AS finding, 'never used since the statistics began' AS reason, 'no_scans' AS cause,
        format('DROP INDEX CONCURRENTLY %s', i.indexrelid::regclass) AS ddl
    FROM indexes i
    WHERE i.indisvalid AND NOT i.is_bound AND NOT i.indisunique AND NOT i.is_partitioned AND i.scans = 0
        -- What serves a foreign key is used by deletes that have not happened yet; what takes over from another is used once that is gone.
        AND i.indexrelid NOT IN (
            SELECT keeper FROM served
            UNION ALL SELECT keeper FROM duplicate WHERE scans > 0
            UNION ALL SELECT keeper FROM redundant WHERE scans > 0)
        AND i.indexrelid NOT IN (SELECT indexrelid FROM duplicate UNION ALL SELECT indexrelid FROM redundant)
        AND CASE WHEN i.scans = 0 THEN pg_relation_size(i.indexrelid) END >= $1
),
found AS (
    SELECT 1 AS position, finding, indrelid, indexrelid, reason, cause, scans, ddl FROM invalid
    UNION ALL
    SELECT 2, finding, indrelid, indexrelid, reason, cause, scans, ddl FROM duplicate
    UNION ALL
    SELECT 3, finding, indrelid, indexrelid, reason, cause, scans, ddl FROM redundant
    UNION ALL
    SELECT 4, finding, indrelid, indexrelid, reason, cause, scans, ddl FROM unused
    UNION ALL
    SELECT 5, 'missing', f.conrelid, NULL,
        format('foreign key %s: each delete in %s reads the whole table', quote_ident(f.conname), f.confrelid::regclass) || CASE
            WHEN f.relkind = 'p' THEN '; of a partitioned table the statement blocks writes until it is done; without that: ON ONLY it, '
                'CONCURRENTLY on each partition, then ALTER INDEX … ATTACH PARTITION' ELSE '' END,
        CASE WHEN f.relkind = 'p' THEN 'foreign_key_of_partitioned' ELSE 'foreign_key' END, NULL,
        format('CREATE INDEX%s ON %s (%s)', CASE WHEN f.relkind = 'p' THEN '' ELSE ' CONCURRENTLY' END, f.conrelid::regclass,
            (SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY u.position)
             FROM unnest(f.conkey) WITH ORDINALITY AS u (attnum, position)
             JOIN pg_attribute a ON a.attrelid = f.conrelid AND a.attnum = u.attnum))
    FROM foreign_keys f WHERE f.oid NOT IN (SELECT oid FROM served)
    UNION ALL
    SELECT 6, 'skipped', oid, NULL, locked_by::text, NULL, NULL, NULL FROM all_tables WHERE locked_by IS NOT NULL
)
SELECT finding, indrelid::regclass::text AS "table", indexrelid::regclass::text AS index, reason, pg_relation_size(indexrelid) + of_parts.bytes AS size_bytes,
    scans, ddl, cause
FROM found
-- A partitioned index has no file of its own: it is as large as its parts, which is not known while one of their tables is locked.
CROSS JOIN LATERAL (
    WITH RECURSIVE parts AS (
        SELECT h.inhrelid FROM pg_inherits h WHERE h.inhparent = found.indexrelid
        UNION ALL
        SELECT h.inhrelid FROM parts JOIN pg_inherits h ON h.inhparent = parts.inhrelid
    )
    SELECT CASE WHEN count(*) = count(t.oid) THEN coalesce(sum(CASE WHEN t.oid IS NOT NULL THEN pg_relation_size(parts.inhrelid) END), 0)::bigint END AS bytes
    FROM parts JOIN pg_index x ON x.indexrelid = parts.inhrelid LEFT JOIN tables t ON t.oid = x.indrelid
) AS of_parts
ORDER BY position, size_bytes DESC NULLS LAST, 2, 3, 7
