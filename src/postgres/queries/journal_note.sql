-- Adds to what is known of a run. What a refresh lost comes to what the run before it had lost.
-- $1 text: the run; $2 text: an object (JSON)
UPDATE candlefish.run
SET settings = (
    settings::jsonb || $2::text::jsonb
    || CASE WHEN settings::jsonb ? 'refresh' AND jsonb_typeof(settings::jsonb -> 'losses') = 'array' AND $2::text::jsonb ? 'losses'
            THEN jsonb_build_object('losses', (settings::jsonb -> 'losses') || ($2::text::jsonb -> 'losses'))
            ELSE '{}'::jsonb END
)::text
WHERE run_id = $1
