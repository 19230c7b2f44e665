-- Settings as they were written somewhere, in the units of pg_settings; what was written nowhere is what the server was built with.
-- $1 text: a JSON object of the settings' names, with what was written or null.
SELECT p.name,
    CASE
        WHEN f.setting IS NULL THEN p.boot_val
        WHEN p.vartype = 'bool' THEN CASE WHEN lower(f.setting) ~ '^(of|off|f|fa|fal|fals|false|n|no|0)$' THEN 'off' ELSE 'on' END
        WHEN p.unit IS NULL OR f.setting ~ '^ *[-+.0-9]+ *$' THEN f.setting
        WHEN p.unit IN ('kB', '8kB', 'MB') THEN (pg_size_bytes(f.setting) / pg_size_bytes(CASE p.unit WHEN '8kB' THEN '8kB' ELSE '1' || p.unit END))::text
        ELSE (extract(epoch FROM f.setting::interval) / extract(epoch FROM ('1' || p.unit)::interval))::text
    END AS value
FROM pg_settings p
JOIN json_each_text($1::json) AS f (name, setting) ON f.name = p.name
