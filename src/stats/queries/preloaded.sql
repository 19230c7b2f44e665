-- What is preloaded; no row where this user may not see it. No parameters.
SELECT setting AS libraries FROM pg_settings WHERE name = 'shared_preload_libraries'
