-- How often candlefish's other connections have looked at this database, by what each says in its name, which everybody may read.
-- $1 text: our own mark. A pooler may show one under several of its server connections. A look is said when it begins, and counted when it ends.
SELECT mark, max(looks) AS looks
FROM (
    SELECT said[2] AS mark, said[1]::bigint - CASE WHEN a.state IN ('active', 'idle in transaction') THEN 1 ELSE 0 END AS looks
    FROM pg_stat_activity a
    CROSS JOIN LATERAL regexp_match(a.application_name, '^candlefish [a-z ]+, (\d{1,15}) looks \(([0-9a-f]{8})\)$') AS said
    WHERE a.datname = current_database()
) AS others
WHERE mark <> $1
GROUP BY mark
