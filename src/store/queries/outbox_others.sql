-- How many rows of the outbox are of others than a load test, whose rows end with its mark. $1: the mark
SELECT count(*) FROM candlefish.cache_outbox WHERE tags[cardinality(tags)] IS DISTINCT FROM $1
