-- Removes what every instance has long replayed. $1: a transaction, as text; all before it had ended some minutes ago. $2: how old, in seconds
DELETE FROM candlefish.cache_outbox WHERE at < now() - $2 * interval '1 second' AND xid < $1::xid8
