-- Roles whose passwords are kept as MD5. Only who may read pg_authid can ask. No parameters.
SELECT rolname::text FROM pg_authid WHERE rolcanlogin AND rolpassword LIKE 'md5%' ORDER BY 1
