-- What runs took away from a schema's tables and have not put back; of a trigger, which was silenced only, what is still there.
-- $1 text: the schema
SELECT DISTINCT ON (target, kind, name) target, kind, name, definition, valid,
       -- A journal that an older candlefish made has no such column.
       to_jsonb(k) ->> 'comment'
FROM candlefish.kept_definition k
WHERE target_schema = $1 AND rebuilt_at IS NULL
  AND (kind <> 'trigger'
       OR EXISTS (SELECT 1 FROM pg_trigger t WHERE t.tgname = k.name AND t.tgrelid = to_regclass(format('%I.%I', k.target_schema, k.target))))
ORDER BY target, kind, name, kept_at DESC
