-- Writes tables of a run into the journal, in the order of its plan.
-- $1 text: the run; $2 text[]: source tables; $3 text[]: schemas; $4 text[]: tables; $5 boolean[]: made by the run; $6 text[]: copy maps;
-- $7 bigint: how many tables come before
INSERT INTO candlefish.run_table (run_id, position, source, target_schema, target, created, map)
SELECT $1, $7 + t.position - 1, t.source, t.target_schema, t.target, t.created, t.map
FROM unnest($2::text[], $3::text[], $4::text[], $5::boolean[], $6::text[])
    WITH ORDINALITY AS t (source, target_schema, target, created, map, position)
