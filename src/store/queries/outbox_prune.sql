-- Removes what every instance has long replayed. $1: a transaction, as text; all before it had ended some minutes ago
DELETE FROM candlefish.cache_outbox WHERE at < now() - interval '1 hour' AND xid < $1::xid8
