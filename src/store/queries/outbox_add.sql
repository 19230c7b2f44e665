-- Leaves tags in the outbox. $1: text[]
INSERT INTO candlefish.cache_outbox (tags) VALUES ($1)
