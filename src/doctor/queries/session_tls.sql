-- Whether this session is encrypted: as far as the server is concerned. No parameters.
SELECT coalesce((SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()), false) AS encrypted
