-- pgbench's TPC-B (sort of), in candlefish's schema.
\set aid random(1, 100000 * :scale)
\set bid random(1, 1 * :scale)
\set tid random(1, 10 * :scale)
\set delta random(-5000, 5000)
BEGIN;
UPDATE candlefish_bench.pgbench_accounts SET abalance = abalance + :delta WHERE aid = :aid;
SELECT abalance FROM candlefish_bench.pgbench_accounts WHERE aid = :aid;
UPDATE candlefish_bench.pgbench_tellers SET tbalance = tbalance + :delta WHERE tid = :tid;
UPDATE candlefish_bench.pgbench_branches SET bbalance = bbalance + :delta WHERE bid = :bid;
INSERT INTO candlefish_bench.pgbench_history (tid, bid, aid, delta, mtime) VALUES (:tid, :bid, :aid, :delta, CURRENT_TIMESTAMP);
END;
