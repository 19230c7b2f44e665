-- Does anybody wait for a lock on the outbox? Every role may see that.
SELECT EXISTS (
    SELECT FROM pg_locks l
    WHERE l.locktype = 'relation' AND l.relation = 'candlefish.cache_outbox'::regclass AND NOT l.granted
        AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())
)
