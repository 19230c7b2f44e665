-- The triggers of a schema that fire: when, without their own name and their function's, and what the function says; and their moment as bits.
-- The guard against a trigger that sets itself off is named for its schema, which is no difference.
-- $1 oid: the schema
SELECT t.relname, g.tgname,
       regexp_replace(substr(pg_get_triggerdef(g.oid, true),
                             length('CREATE ' || CASE WHEN g.tgconstraint <> 0 THEN 'CONSTRAINT ' ELSE '' END || 'TRIGGER ' || quote_ident(g.tgname)) + 1),
                      ' EXECUTE FUNCTION .*$', '')
       || E'\n' || regexp_replace(p.prosrc, 'candlefish\.trigger_[0-9a-f]+', 'candlefish.trigger', 'g') AS shape,
       g.tgtype
FROM pg_trigger g
JOIN pg_class t ON t.oid = g.tgrelid
JOIN pg_proc p ON p.oid = g.tgfoid
WHERE t.relnamespace = $1 AND NOT g.tgisinternal AND g.tgenabled IN ('O', 'A')
ORDER BY t.relname, g.tgname
