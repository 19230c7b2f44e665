-- The secret of a role as PostgreSQL keeps it; only a superuser may read it. $1: the role
SELECT rolpassword AS secret FROM pg_catalog.pg_authid WHERE rolname = $1
