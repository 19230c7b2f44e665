-- Takes the lock of a target schema for this session; false where another has it.
-- $1 text: the schema
SELECT pg_try_advisory_lock(hashtext('candlefish migrate'), hashtext($1))
