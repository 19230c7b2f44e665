-- The database that is nearest to the end of transaction ids, and how far it is: 1 is where the server stops to write. No parameters.
SELECT datname::text AS database, greatest(age(datfrozenxid), mxid_age(datminmxid)) / 2147483648.0::float8 AS used
FROM pg_database ORDER BY 2 DESC LIMIT 1
