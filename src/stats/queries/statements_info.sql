-- Since when pg_stat_statements counts, and how often it has thrown statements out. From version 1.9 of the extension. No parameters.
SELECT to_char(stats_reset, 'YYYY-MM-DD"T"HH24:MI:SS"Z"') AS since, dealloc AS evictions FROM pg_stat_statements_info
