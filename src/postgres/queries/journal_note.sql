-- Adds to what is known of a run.
-- $1 text: the run; $2 text: an object (JSON)
UPDATE candlefish.run SET settings = (settings::jsonb || $2::text::jsonb)::text WHERE run_id = $1
