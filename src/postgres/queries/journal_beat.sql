-- Where a run is, and that the process which carries it out lives; another process than before begins anew.
-- $1 text: the run; $2 text: the process; $3 text: the phase
INSERT INTO candlefish.heartbeat AS h (run_id, process, phase) VALUES ($1, $2, $3)
ON CONFLICT (run_id) DO UPDATE SET
    since = CASE WHEN h.process = excluded.process THEN h.since ELSE clock_timestamp() END,
    process = excluded.process, phase = excluded.phase, beat_at = clock_timestamp()
