-- The outbox, if there is one: whether its remark says who made it, whether triggers write to it, and to whom its owner has granted anything on it or
-- on its schema. $1: the remark
SELECT
    coalesce(obj_description(c.oid, 'pg_class') = $1, false) AS is_made_by,
    EXISTS (SELECT FROM pg_trigger t WHERE t.tgfoid = to_regproc('candlefish.cache_changed')) AS has_triggers,
    (
        SELECT string_agg(DISTINCT CASE a.grantee WHEN 0 THEN 'everybody' ELSE a.grantee::regrole::text END, ', ')
        FROM (
            SELECT c.relacl AS rights, c.relowner AS owner
            UNION ALL SELECT n.nspacl, n.nspowner FROM pg_namespace n WHERE n.oid = c.relnamespace
            UNION ALL SELECT k.attacl, c.relowner FROM pg_attribute k WHERE k.attrelid = c.oid
        ) granted
        CROSS JOIN LATERAL aclexplode(granted.rights) a
        WHERE a.grantee <> granted.owner
    ) AS granted_to
FROM pg_class c
WHERE c.oid = to_regclass('candlefish.cache_outbox')
