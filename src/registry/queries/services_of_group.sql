-- The services of one group. $1: text
SELECT id, name, port, group_name, status, started_at, health_check_url, description, version, owner, health_status, last_health_check
FROM services WHERE group_name = $1 ORDER BY group_name, name
