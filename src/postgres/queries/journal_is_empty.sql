-- Has the journal no run any more?
SELECT count(*) = 0 FROM candlefish.run
