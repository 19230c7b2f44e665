-- How many of these names still stand for the very tables that they stood for.
-- $1 text[]: names as SQL has them; $2 oid[]: the tables
SELECT count(*) FROM unnest($1::text[], $2::oid[]) AS t (name, oid) WHERE to_regclass(name)::oid = t.oid
