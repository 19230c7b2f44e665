-- Is any of these relations there?
-- $1 text[]: their schemas; $2 text[]: their names
SELECT EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN unnest($1::text[], $2::text[]) AS wanted (schema, name)
               ON n.nspname = wanted.schema AND c.relname = wanted.name)
