-- The services of one group. $1: its name.
SELECT * FROM candlefish_bench.services WHERE group_name = $1 ORDER BY group_name, name
