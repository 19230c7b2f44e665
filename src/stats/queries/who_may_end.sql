-- Who may cancel or end these sessions, where this user may not. $1 int[]: their process ids. Those that are gone, or are this user's to end, are left out.
SELECT a.pid,
    CASE WHEN a.usesysid IS NULL OR r.rolsuper THEN 'as a superuser'
        -- A line's end in a name would end the comment that this is.
        ELSE format('as %s, as a superuser, or with pg_signal_backend', regexp_replace(quote_ident(a.usename), '[[:cntrl:]]', '?', 'g')) END AS who
FROM pg_stat_activity a
LEFT JOIN pg_roles r ON r.oid = a.usesysid
WHERE a.pid = ANY ($1) AND current_setting('is_superuser') <> 'on'
    AND (a.usesysid IS NULL OR r.rolsuper OR NOT (pg_has_role(a.usesysid, 'USAGE') OR pg_has_role('pg_signal_backend', 'USAGE')))
