-- What the monitor loop looks after.
SELECT id, name, port, health_check_url, health_check_timeout, health_expected_status FROM services WHERE status = 'running' ORDER BY name
