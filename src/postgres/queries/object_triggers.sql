-- The triggers of a schema that fire: when, without their own name and their function's, and what the function says; and their moment as bits.
-- The guard against a trigger that sets itself off is named for its schema, which is no difference.
-- $1 oid: the schema
SELECT t.relname, g.tgname,
       pg_catalog.regexp_replace(pg_catalog.substr(pg_catalog.pg_get_triggerdef(g.oid, true),
                             pg_catalog.length('CREATE ' || CASE WHEN g.tgconstraint <> 0 THEN 'CONSTRAINT ' ELSE '' END || 'TRIGGER ' || pg_catalog.quote_ident(g.tgname)) + 1),
                      ' EXECUTE FUNCTION .*$', '')
       || E'\n' || pg_catalog.regexp_replace(p.prosrc, 'candlefish\.trigger_[0-9a-f]+', 'candlefish.trigger', 'g') AS shape,
       g.tgtype
FROM pg_catalog.pg_trigger g
JOIN pg_catalog.pg_class t ON t.oid = g.tgrelid
JOIN pg_catalog.pg_proc p ON p.oid = g.tgfoid
WHERE t.relnamespace = $1 AND NOT g.tgisinternal AND g.tgenabled IN ('O', 'A')
ORDER BY t.relname, g.tgname
