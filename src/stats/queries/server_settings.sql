-- What the server's files say, or else what it was built with, in the units of pg_settings: what holds for who has no setting of his own.
-- Only who may read pg_file_settings can ask. $1 text: the settings' names, with blanks between them.
SELECT p.name,
    CASE
        WHEN f.setting IS NULL THEN p.boot_val
        WHEN p.vartype = 'bool' THEN CASE WHEN lower(f.setting) ~ '^(of|off|f|fa|fal|fals|false|n|no|0)$' THEN 'off' ELSE 'on' END
        WHEN p.unit IS NULL OR f.setting ~ '^ *[-+.0-9]+ *$' THEN f.setting
        WHEN p.unit IN ('kB', '8kB', 'MB') THEN (pg_size_bytes(f.setting) / pg_size_bytes(CASE p.unit WHEN '8kB' THEN '8kB' ELSE '1' || p.unit END))::text
        ELSE (extract(epoch FROM f.setting::interval) / extract(epoch FROM ('1' || p.unit)::interval))::text
    END AS value
FROM pg_settings p
LEFT JOIN LATERAL (
    SELECT setting FROM pg_file_settings WHERE lower(name) = p.name AND applied ORDER BY seqno DESC LIMIT 1
) AS f ON true
WHERE p.name = ANY (string_to_array($1, ' '))
