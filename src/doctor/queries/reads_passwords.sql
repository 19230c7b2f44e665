-- Whether this user may look at how passwords are kept. No parameters.
SELECT has_table_privilege('pg_authid', 'SELECT') AND $1::text IS NOT NULL
