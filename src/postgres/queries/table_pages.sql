-- How many pages each table has, as far as it can be read by pages: nothing before PostgreSQL 14, or for what has no pages of its own.
-- $1 text[]: the tables, qualified and quoted
SELECT CASE WHEN current_setting('server_version_num')::int < 140000 THEN 0
            ELSE coalesce(pg_relation_size(name::regclass) / current_setting('block_size')::bigint, 0) END
FROM unnest($1::text[]) WITH ORDINALITY AS t (name, place)
ORDER BY place
