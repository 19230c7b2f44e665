-- Removes what every instance has long replayed.
DELETE FROM candlefish.cache_outbox WHERE at < now() - interval '1 hour'
