-- The rows of fill_registry.sql in SQLite. Needs the table bench_scale with its one row. Types as the registry declares them there.
CREATE TABLE services (
    id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT UNIQUE NOT NULL, port INTEGER NOT NULL, group_name TEXT, status TEXT DEFAULT 'stopped', started_at DATETIME,
    health_check_url TEXT, container_id TEXT, description TEXT, created_at DATETIME, updated_at DATETIME, image TEXT, restart_policy TEXT, cpu_limit REAL,
    memory_limit INTEGER, network_mode TEXT, dns_servers TEXT, version TEXT, owner TEXT, health_check_enabled BOOLEAN, health_check_interval INTEGER,
    health_check_timeout INTEGER, health_check_retries INTEGER, health_check_start_period INTEGER, health_expected_status INTEGER,
    last_health_check DATETIME, health_status TEXT, health_response_time REAL
);
CREATE INDEX services_port ON services (port);
CREATE INDEX services_status ON services (status);
CREATE INDEX services_group_name ON services (group_name);
CREATE TABLE users (
    id INTEGER PRIMARY KEY AUTOINCREMENT, username TEXT UNIQUE NOT NULL, email TEXT UNIQUE NOT NULL, password_hash TEXT NOT NULL, role TEXT, api_key TEXT UNIQUE,
    is_active BOOLEAN, last_login DATETIME, created_at DATETIME, updated_at DATETIME
);
CREATE TABLE sessions (
    id TEXT PRIMARY KEY, user_id INTEGER NOT NULL, token_hash TEXT UNIQUE NOT NULL, ip_address TEXT, user_agent TEXT, is_active BOOLEAN, last_activity DATETIME,
    expires_at DATETIME, created_at DATETIME
);
CREATE TABLE dashboards (id INTEGER PRIMARY KEY, user_id INTEGER NOT NULL, name TEXT, layout TEXT, updated_at DATETIME);
CREATE TABLE health_metrics (
    id INTEGER PRIMARY KEY, service_id INTEGER NOT NULL, metric_type TEXT NOT NULL, cpu_usage REAL, memory_usage REAL, response_time_ms INTEGER, status_code INTEGER,
    healthy BOOLEAN, note TEXT, created_at DATETIME NOT NULL
);

WITH RECURSIVE n (id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM n, bench_scale WHERE id < scale * 35)
INSERT INTO services
SELECT id, 'service-' || id, 3000 + id % 60000,
    CASE id % 10 WHEN 0 THEN 'core' WHEN 1 THEN 'candlefish' WHEN 2 THEN 'monitoring' WHEN 3 THEN 'pkb' WHEN 4 THEN 'security' WHEN 5 THEN 'temporal'
        WHEN 6 THEN 'agents' WHEN 7 THEN 'workflow' WHEN 8 THEN 'ai' ELSE 'control' END,
    CASE WHEN id % 4 = 0 THEN 'stopped' ELSE 'running' END, datetime('now', -id || ' hours'), 'http://localhost:' || (3000 + id % 60000) || '/health',
    printf('%032x', id), 'The service number ' || id || ' of the platform', datetime('now', '-1 year'), datetime('now'), 'registry.local/service-' || id || ':1.4',
    'unless-stopped', 0.5 * (1 + id % 4), 268435456 * (1 + id % 8), 'bridge', '["10.0.0.2", "10.0.0.3"]', '1.4.' || id % 10, 'team-' || id % 7,
    1, 30, 10, 3, 30, 200, datetime('now'), 'healthy', 1.0 + id % 40
FROM n;

WITH RECURSIVE n (id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM n, bench_scale WHERE id < scale * 1000)
INSERT INTO users
SELECT id, 'user' || id, 'user' || id || '@example.com', printf('%064x', id), CASE WHEN id % 50 = 0 THEN 'admin' ELSE 'user' END, printf('%032x', id), 1,
    datetime('now', -(id % 1000) || ' minutes'), datetime('now', '-1 year'), datetime('now')
FROM n;

WITH RECURSIVE n (id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM n, bench_scale WHERE id < scale * 1000)
INSERT INTO sessions
SELECT 'session-' || id, id, replace(printf('%8s', ''), ' ', printf('%08x', id * 2654435761 % 4294967296)), '10.0.' || id % 250 || '.' || id % 199,
    'Mozilla/5.0 (X11; Linux x86_64) candlefish', 1, datetime('now'), datetime('now', '+1 year'), datetime('now', '-1 day')
FROM n;

WITH RECURSIVE n (id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM n, bench_scale WHERE id < scale * 1000)
INSERT INTO dashboards
SELECT id, id, 'main', '{"columns" : ' || (1 + id % 4) || ', "widgets" : ["services", "health", "latency", "logs"], "theme" : "dark"}', datetime('now') FROM n;

WITH RECURSIVE minutes (minute) AS (SELECT 2000 UNION ALL SELECT minute - 1 FROM minutes WHERE minute > 1)
INSERT INTO health_metrics (service_id, metric_type, cpu_usage, memory_usage, response_time_ms, status_code, healthy, created_at)
SELECT id, 'probe', (minute * 7 + id * 13) % 100, (minute * 3 + id * 29) % 1000, 1 + (minute * 11 + id * 17) % 300,
    CASE WHEN (minute + id) % 97 = 0 THEN 503 ELSE 200 END, (minute + id) % 97 <> 0, datetime('now', -minute || ' minutes')
FROM minutes CROSS JOIN services ORDER BY minute DESC;
CREATE INDEX health_metrics_service ON health_metrics (service_id, created_at);
