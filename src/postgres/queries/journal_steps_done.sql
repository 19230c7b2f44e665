-- Steps of a run that are done.
-- $1 text: the run; $2 text[]: their names; $3 text[]: what each said (JSON)
INSERT INTO candlefish.step (run_id, step, said) SELECT $1, * FROM unnest($2::text[], $3::text[])
