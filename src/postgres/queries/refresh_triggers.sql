-- The user triggers of some tables that would fire.
-- $1 text[]: the tables, qualified and quoted
SELECT name, t.tgname, t.tgenabled = 'A'
FROM unnest($1::text[]) AS name
JOIN pg_trigger t ON t.tgrelid = name::regclass
WHERE NOT t.tgisinternal AND t.tgenabled IN ('O', 'A')
ORDER BY t.oid
