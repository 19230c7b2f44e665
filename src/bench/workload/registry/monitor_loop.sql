-- The services that should be probed now.
SELECT id, name, port, health_check_url, health_check_interval, health_check_timeout FROM candlefish_bench.services WHERE status = 'running' ORDER BY name
