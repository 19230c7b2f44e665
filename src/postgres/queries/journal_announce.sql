-- Writes a run that has not begun, unless it is there.
-- $1 text: its id; $2 text: the source as it was named; $3 text: the schema; $4 text: status; $5 text: settings (JSON); $6 text: version
INSERT INTO candlefish.run (run_id, source, target_schema, status, settings, version) VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (run_id) DO NOTHING
