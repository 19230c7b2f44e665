-- Is a table or view of a schema called as one of PostgreSQL's own?
-- $1 text: the schema
SELECT EXISTS (
    SELECT FROM pg_class own
    JOIN pg_namespace n ON n.oid = own.relnamespace
    JOIN pg_class known ON known.relname = own.relname AND known.relnamespace = 'pg_catalog'::regnamespace
    WHERE n.nspname = $1
)
