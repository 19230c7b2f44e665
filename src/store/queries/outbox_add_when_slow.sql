-- Leaves tags in the outbox when this transaction has taken long. $1: text[]
INSERT INTO candlefish.cache_outbox (tags) SELECT $1 WHERE clock_timestamp() - transaction_timestamp() > interval '500 ms'
