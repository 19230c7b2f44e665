-- Which of these names stand for something.
-- $1 text[]: names as SQL has them
SELECT name FROM unnest($1::text[]) AS t (name) WHERE to_regclass(name) IS NOT NULL
