-- candlefish: no-transaction
-- The monitor loop: every instance asks for the running services every five seconds. Built without blocking writers; a file
-- like this runs one statement at a time and must be safe to run again, hence IF NOT EXISTS.
CREATE INDEX CONCURRENTLY IF NOT EXISTS services_running_idx ON services (name) WHERE status = 'running';
