-- The process of every session: everybody may see that much. No parameters.
SELECT pid FROM pg_stat_activity WHERE datid IS NOT NULL
