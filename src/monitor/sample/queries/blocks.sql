-- What pg_stat_database counts of blocks, and what of it are catalogs, whose numbers are below 16384: nobody looks without reading those. What all
-- databases share is not in the first. The whole is read before its part: what is counted meanwhile is ahead of it. Unknown where nothing is counted.
SELECT CASE WHEN are_counted THEN d.blks_hit END AS hits, CASE WHEN are_counted THEN d.blks_read END AS reads, c.hits AS catalog_hits,
    c.fetched - c.hits AS catalog_reads
FROM (SELECT current_setting('track_counts')::boolean AS are_counted, * FROM pg_stat_database WHERE datname = current_database()) AS d,
    LATERAL (
        SELECT sum(pg_stat_get_blocks_hit(oid))::bigint AS hits, sum(pg_stat_get_blocks_fetched(oid))::bigint AS fetched
        FROM pg_class
        WHERE oid < 16384 AND NOT relisshared AND relkind IN ('r', 'i', 't') AND d.datid > 0
    ) AS c
