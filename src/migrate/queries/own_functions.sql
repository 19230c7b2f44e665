-- Functions that candlefish made, which no trigger uses any more.
-- $1 text: the schema
SELECT p.oid::regprocedure::text
FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
WHERE n.nspname = $1 AND obj_description(p.oid, 'pg_proc') = 'made by candlefish'
    AND NOT EXISTS (SELECT 1 FROM pg_trigger t WHERE t.tgfoid = p.oid)
