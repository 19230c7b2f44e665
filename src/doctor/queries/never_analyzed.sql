-- Tables with rows that the planner knows nothing of: never analyzed, by hand or by autovacuum, since the statistics began. No parameters.
SELECT format('%I.%I', s.schemaname, s.relname) AS "table"
FROM pg_stat_user_tables s
JOIN pg_class c ON c.oid = s.relid
WHERE s.n_live_tup >= 1000 AND s.last_analyze IS NULL AND s.last_autoanalyze IS NULL AND c.reltuples <= 0
ORDER BY s.n_live_tup DESC
