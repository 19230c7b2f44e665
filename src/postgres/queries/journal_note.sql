-- Adds to what is known of a run. What it lost comes to what was lost before it, once.
-- $1 text: the run; $2 text: an object (JSON)
UPDATE candlefish.run
SET settings = (
    settings::jsonb || $2::text::jsonb
    || CASE WHEN jsonb_typeof(settings::jsonb -> 'losses') = 'array' AND $2::text::jsonb ? 'losses'
            THEN jsonb_build_object('losses', (
                SELECT coalesce(jsonb_agg(loss ORDER BY place), '[]')
                FROM (SELECT loss, min(place) AS place
                      FROM jsonb_array_elements((settings::jsonb -> 'losses') || ($2::text::jsonb -> 'losses')) WITH ORDINALITY known(loss, place)
                      GROUP BY loss) each))
            ELSE '{}'::jsonb END
)::text
WHERE run_id = $1
