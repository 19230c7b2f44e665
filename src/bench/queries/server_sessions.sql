-- The sessions of a run that have not ended. $1: the name under which they log in
SELECT count(*) AS sessions FROM pg_stat_activity a WHERE a.datname = current_database() AND a.application_name = $1
