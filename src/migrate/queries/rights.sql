-- Who asks, in which database, and what may be made there: schemas, tables in the target schema, tables in the journal's.
-- $1 text: the target schema
SELECT
    current_user::text,
    current_database()::text,
    has_database_privilege(current_database(), 'CREATE'),
    coalesce((SELECT has_schema_privilege(oid, 'CREATE') FROM pg_namespace WHERE nspname = $1), true),
    coalesce((SELECT has_schema_privilege(oid, 'CREATE') FROM pg_namespace WHERE nspname = 'candlefish'), false)
