-- Was the schema candlefish made with the outbox, by whose remark this is, and is nothing in it any more? $1: the remark
SELECT coalesce(obj_description(n.oid, 'pg_namespace') = $1, false)
    AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.refclassid = 'pg_namespace'::regclass AND d.refobjid = n.oid)
FROM pg_namespace n
WHERE n.nspname = 'candlefish'
