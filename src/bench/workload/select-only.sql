-- pgbench's select-only, in candlefish's schema.
\set aid random(1, 100000 * :scale)
SELECT abalance FROM candlefish_bench.pgbench_accounts WHERE aid = :aid;
