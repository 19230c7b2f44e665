-- Remembers which tables a run has made, by what no other table of the same name has; in the transaction that makes them.
-- $1 text: the run; $2 text[]: their source tables
UPDATE candlefish.run_table SET made_oid = to_regclass(format('%I.%I', target_schema, target))::oid
WHERE run_id = $1 AND source = ANY ($2)
