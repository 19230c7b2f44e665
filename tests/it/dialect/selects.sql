SELECT * FROM c ORDER BY id

SELECT c.*, n FROM c JOIN t ON t.id = c.tid ORDER BY c.id

SELECT c.name, t.s FROM c LEFT JOIN t ON t.id = c.tid ORDER BY 1

SELECT a.name, b.name FROM c a, c b WHERE b.parent = a.id ORDER BY b.id

SELECT a.id, b.id FROM c a LEFT OUTER JOIN c AS b USING (id) ORDER BY 1

SELECT * FROM c NATURAL JOIN (SELECT id, n FROM t) x ORDER BY id

SELECT id, name FROM c CROSS JOIN (SELECT 1 AS one) ORDER BY name DESC

SELECT name FROM c ORDER BY name

SELECT name FROM c ORDER BY name COLLATE NOCASE

SELECT parent FROM c ORDER BY parent DESC, id

SELECT name AS Nm, length(name) len FROM c WHERE len > 4 ORDER BY len, Nm

SELECT DISTINCT parent FROM c ORDER BY parent

SELECT id FROM c ORDER BY id LIMIT 2 OFFSET 1

SELECT id FROM c ORDER BY id LIMIT 1, 2

SELECT id FROM c ORDER BY id LIMIT -1

SELECT count(*), count(n), sum(n), total(m), avg(m), min(s), max(s), min(r), max(b), sum(b) FROM t

SELECT count(DISTINCT e), count(DISTINCT z), sum(DISTINCT m), avg(r), sum(r) FROM t

SELECT sum(n), total(n), avg(n), min(n), group_concat(s), count(*) FROM t WHERE id > 99

SELECT parent, count(*) AS many, group_concat(name, '/') FROM (SELECT * FROM c ORDER BY id) GROUP BY parent ORDER BY parent

SELECT parent, max(id), name FROM c GROUP BY parent ORDER BY parent

SELECT parent, min(name), id FROM c GROUP BY 1 ORDER BY 1

SELECT id, name, count(*) FROM c GROUP BY id HAVING count(*) = 1 ORDER BY id

SELECT length(name) AS len, count(*) FROM c GROUP BY len HAVING len > 4 ORDER BY len DESC

SELECT length(name) + 1, count(*) + 1 FROM c GROUP BY length(name) ORDER BY 1

SELECT count(*) FROM t GROUP BY e ORDER BY 1

SELECT lower(min(e)), upper(max(e)) FROM t

SELECT max(d), min(ts), max(ts) FROM t

SELECT count(*) FILTER (WHERE n > 0), sum(m) FILTER (WHERE b) FROM t

SELECT id, name FROM c WHERE id = 1 UNION SELECT id, s FROM t WHERE id > 5 ORDER BY id

SELECT parent FROM c UNION ALL SELECT n FROM t ORDER BY 1

SELECT id FROM c EXCEPT SELECT tid FROM c ORDER BY id

SELECT id FROM c INTERSECT SELECT tid FROM c UNION SELECT 99 ORDER BY 1

SELECT 1 AS x UNION SELECT 2 INTERSECT SELECT 2 ORDER BY x

WITH RECURSIVE tree(id, name, depth) AS (SELECT id, name, 0 FROM c WHERE parent IS NULL UNION ALL SELECT c.id, c.name, depth + 1 FROM c JOIN tree ON c.parent = tree.id) SELECT * FROM tree ORDER BY id

WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 5) SELECT i, i * i AS sq FROM n ORDER BY i

WITH a AS (SELECT id, name FROM c), b(x) AS (SELECT max(id) FROM a) SELECT a.name, x FROM a, b ORDER BY a.id

SELECT id, row_number() OVER (ORDER BY name) rn, rank() OVER (PARTITION BY parent ORDER BY id DESC) rk, lag(name) OVER (ORDER BY id) prev, sum(id) OVER (ORDER BY id ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) s FROM c ORDER BY id

SELECT id, sum(id) OVER w, count(*) OVER w FROM c WINDOW w AS (PARTITION BY parent) ORDER BY id

SELECT id, id, name AS id FROM c ORDER BY name

SELECT c.name, t.id FROM c LEFT JOIN t ON t.id = c.code ORDER BY c.id

SELECT c.name, t.id FROM c JOIN t ON c.code = t.m ORDER BY c.id, t.id

SELECT (SELECT name FROM c AS inner_c WHERE inner_c.parent = c.id ORDER BY id DESC LIMIT 1) AS child, id FROM c ORDER BY id

SELECT name FROM c WHERE (id, parent) IN (SELECT id, parent FROM c WHERE parent = 1) ORDER BY id

SELECT name FROM c WHERE id IN (SELECT tid FROM c) ORDER BY id

VALUES (1, 'a'), (2, NULL)

SELECT 1, 'x', NULL, 2.5, x'00'

SELECT n > 3 AS big, count(*) FROM t GROUP BY big ORDER BY big

SELECT strftime('%Y', d) y, count(*) FROM t GROUP BY y ORDER BY y

SELECT b, count(*) FROM t GROUP BY b ORDER BY b

SELECT x.id, y.name FROM (c AS x JOIN c AS y ON y.id = x.parent) ORDER BY x.id

SELECT name FROM c WHERE parent ORDER BY id

SELECT total(p), round(avg(m), 1), max(p), min(p) FROM t

SELECT CASE WHEN count(*) > 3 THEN 'many' ELSE 'few' END, ifnull(max(n), 0) FROM t

SELECT t.n AS "my col", [name] FROM c JOIN t USING (id) WHERE "name" LIKE 'r%' ORDER BY c.id

SELECT *, -id AS name FROM c ORDER BY name

SELECT id, -id AS name FROM c ORDER BY name, length(name)

SELECT length(name) AS id, count(*) FROM c GROUP BY id ORDER BY id, c.id

SELECT a.name || ifnull('<' || b.name, '') AS path FROM c a LEFT JOIN c b ON b.id = a.parent WHERE path LIKE '%<ROOT' ORDER BY path DESC

SELECT max(name) FILTER (WHERE id > 1), group_concat(DISTINCT parent) IS NULL, count(DISTINCT parent) FROM c

SELECT name, CASE parent WHEN 1 THEN 'first' ELSE parent || '' END AS p FROM c WHERE NOT EXISTS (SELECT 1 FROM c AS x WHERE x.parent = c.id) ORDER BY p, name

SELECT y, sum(k) FROM (SELECT strftime('%Y', d) AS y, m AS k FROM t WHERE d IS NOT NULL) GROUP BY y HAVING sum(k) > 0 ORDER BY sum(k) DESC, y

SELECT -id AS name, * FROM c ORDER BY name

SELECT max(NULL) AS x FROM t

SELECT max(NULL, count(id)) AS x FROM t

SELECT count(id) < 'abc' AS x FROM t

SELECT id FROM t ORDER BY FALSE, id

SELECT id FROM t ORDER BY (d IS m), 1 <> '5', id DESC

SELECT count(*) AS x, -'5' AS y FROM t GROUP BY n, -'5' ORDER BY min(id)

SELECT lower(CAST(e AS TEXT)) AS x, count(*) AS y FROM t GROUP BY CAST(e AS TEXT) ORDER BY min(id)

SELECT date(ts) AS x, count(*) AS y FROM t GROUP BY 1 ORDER BY min(id)

SELECT time(ts) AS x, count(*) AS y FROM t GROUP BY time(ts) ORDER BY min(id)

SELECT id FROM t ORDER BY CASE WHEN n > 0 THEN s COLLATE NOCASE ELSE f END, id

SELECT id, (s COLLATE NOCASE || 'X') = 'applex' AS x FROM t ORDER BY coalesce(s COLLATE NOCASE, f) DESC, id
