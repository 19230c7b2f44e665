-- What `bench init` has filled here: scale. No row when it has not; the table's absence is the schema's.
SELECT scale FROM candlefish_bench.filled_by_candlefish
