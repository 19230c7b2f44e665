-- All services.
SELECT * FROM candlefish_bench.services ORDER BY group_name, name
