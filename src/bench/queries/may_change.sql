-- May the answer of a view change though no script of the run has written? True where it, or a view below it, calls a volatile function by name, operator
-- or aggregate, or reads a catalog or a table of another server. $1: the view's name.
WITH RECURSIVE seen (relation, tree) AS (
    SELECT r.ev_class, r.ev_action::text FROM pg_catalog.pg_rewrite r WHERE r.ev_class = $1::text::regclass
    UNION
    SELECT c.oid, CASE WHEN c.relkind = 'v' THEN r.ev_action::text END
    FROM seen
    CROSS JOIN LATERAL pg_catalog.regexp_matches(seen.tree, ':relid ([0-9]+)', 'g') AS found (ids)
    JOIN pg_catalog.pg_class c ON c.oid = found.ids[1]::oid
    LEFT JOIN pg_catalog.pg_rewrite r ON r.ev_class = c.oid AND r.ev_type = '1'
),
called AS (
    SELECT found.ids[1]::oid AS function
    FROM seen CROSS JOIN LATERAL pg_catalog.regexp_matches(seen.tree, ':(?:funcid|opfuncid|aggfnoid|winfnoid) ([0-9]+)', 'g') AS found (ids)
    UNION
    SELECT o.oprcode
    FROM seen CROSS JOIN LATERAL pg_catalog.regexp_matches(seen.tree, ':opno ([0-9]+)', 'g') AS found (ids)
    JOIN pg_catalog.pg_operator o ON o.oid = found.ids[1]::oid
)
SELECT EXISTS (
    SELECT FROM called
    LEFT JOIN pg_catalog.pg_aggregate a ON a.aggfnoid = called.function
    JOIN pg_catalog.pg_proc p ON p.oid IN (called.function, a.aggtransfn, a.aggfinalfn)
    WHERE p.provolatile = 'v'
) OR EXISTS (
    SELECT FROM seen JOIN pg_catalog.pg_class c ON c.oid = seen.relation
    WHERE c.relkind = 'f' OR c.relnamespace IN ('pg_catalog'::regnamespace, 'information_schema'::regnamespace)
)
