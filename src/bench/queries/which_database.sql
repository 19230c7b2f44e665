-- Which database of which server answers here: name, oid, when the server was started.
SELECT d.datname::text AS name, d.oid, extract(epoch FROM pg_postmaster_start_time())::text AS server
FROM pg_database d
WHERE d.datname = current_database()
