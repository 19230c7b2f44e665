-- What runs took away from a schema's tables, or from partitions of them, and have not put back; of a trigger, which was silenced only, what is still there.
-- $1 text: the schema
SELECT DISTINCT ON (target_schema, target, kind, name) target, kind, name, definition, valid,
       -- A journal that an older candlefish made has no such columns.
       to_jsonb(k) ->> 'comment',
       target_schema,
       (SELECT array_agg(s.state) FROM jsonb_array_elements_text(nullif(to_jsonb(k) -> 'switched', 'null')) AS s(state))
FROM candlefish.kept_definition k
WHERE rebuilt_at IS NULL
  AND (target_schema = $1
       OR EXISTS (SELECT 1 FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                  WHERE n.nspname = $1 AND c.oid = pg_partition_root(to_regclass(format('%I.%I', k.target_schema, k.target)))))
  AND (kind <> 'trigger'
       OR EXISTS (SELECT 1 FROM pg_trigger t WHERE t.tgname = k.name AND t.tgrelid = to_regclass(format('%I.%I', k.target_schema, k.target))))
ORDER BY target_schema, target, kind, name, kept_at DESC
