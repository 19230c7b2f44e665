-- One index for each way the application finds a row; keys and unique columns have theirs already.

-- List of services: ORDER BY group_name, name, sometimes of one group.
CREATE INDEX services_group_name_name_idx ON services (group_name, name);
CREATE INDEX services_status_idx ON services (status);
CREATE INDEX services_port_idx ON services (port);

-- Sign-in does not care about case. Not unique: some old addresses differ by case alone.
CREATE INDEX users_lower_email_idx ON users (lower(email));

-- A session is checked by token_hash, which is unique; by user when all of a user's sessions end.
CREATE INDEX sessions_user_id_idx ON sessions (user_id);
CREATE INDEX dashboards_user_id_idx ON dashboards (user_id);

-- One service over a time range, newest first.
CREATE INDEX health_metrics_service_id_created_at_idx ON health_metrics (service_id, created_at DESC);
CREATE INDEX logs_service_id_created_at_idx ON logs (service_id, created_at DESC);
