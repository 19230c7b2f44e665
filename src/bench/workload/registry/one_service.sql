-- One service. $1: its id.
SELECT * FROM candlefish_bench.services WHERE id = $1
