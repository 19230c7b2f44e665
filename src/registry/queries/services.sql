-- Every service, in the order of the list.
SELECT id, name, port, group_name, status, started_at, health_check_url, description, version, owner, health_status, last_health_check
FROM services ORDER BY group_name, name
