-- pgbench's tables, as `pgbench -i` fills them. Needs the schema candlefish_bench and the setting candlefish_bench.scale.
CREATE TABLE candlefish_bench.pgbench_branches (bid int NOT NULL PRIMARY KEY, bbalance int, filler char(88));
CREATE TABLE candlefish_bench.pgbench_tellers (tid int NOT NULL PRIMARY KEY, bid int, tbalance int, filler char(84));
CREATE TABLE candlefish_bench.pgbench_accounts (aid int NOT NULL, bid int, abalance int, filler char(84));
CREATE TABLE candlefish_bench.pgbench_history (tid int, bid int, aid int, delta int, mtime timestamp, filler char(22));

INSERT INTO candlefish_bench.pgbench_branches (bid, bbalance)
SELECT bid, 0 FROM generate_series(1, current_setting('candlefish_bench.scale')::int) AS bid;
INSERT INTO candlefish_bench.pgbench_tellers (tid, bid, tbalance)
SELECT tid, (tid - 1) / 10 + 1, 0 FROM generate_series(1, current_setting('candlefish_bench.scale')::int * 10) AS tid;
INSERT INTO candlefish_bench.pgbench_accounts (aid, bid, abalance, filler)
SELECT aid, (aid - 1) / 100000 + 1, 0, '' FROM generate_series(1, current_setting('candlefish_bench.scale')::int * 100000) AS aid;
ALTER TABLE candlefish_bench.pgbench_accounts ADD PRIMARY KEY (aid);
