-- Who carries out a run, and how many seconds ago that was last told.
-- $1 text: the run
SELECT process, extract(epoch FROM clock_timestamp() - beat_at)::float8 FROM candlefish.heartbeat WHERE run_id = $1
