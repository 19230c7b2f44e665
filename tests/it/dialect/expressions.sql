-- Arithmetic
n + 1
n * 2 - m
n / m
n % m
7 / 2
-7 / 2
-7 % 3
1 + 1
r * 2
r / m
n + r
p * 2
p / 2
p / -3
p / 2 * 1.5
typeof(p / 7.0)
typeof(p)
p + n
-n
- r
+ s
~ n
n & 6 | 1
n << 2
n >> 1
1 << 40
b + 1
0x10 + 1_000
9223372036854775807
-9223372036854775808
9223372036854775808
1e400
-1e400
1.5e3
x'00FF'
-- Comparisons
n = 5
n == 5
n <> 5
n != NULL
n IS NULL
n IS NOT 5
n IS 5
n ISNULL
n NOTNULL
n IS NOT DISTINCT FROM m
n > r
n >= 0.5
n = '5'
n < 'abc'
n = 'abc'
r = 1.5
r < '2'
p = 2.5
p = '3'
p > 1
s = 'apple'
s < 'b'
s > 'Z'
s = 10
s = n
s COLLATE NOCASE = 'APPLE'
e = 'ANNA'
e < 'B'
e IN ('ANNA', 'x')
e = s
s = e
e COLLATE BINARY = 'Anna'
z = 'x'
z <> 'x'
z < 'y'
g = 5
g = n
n = g
m <> g
g IN (5, '12')
n IN (1, '5', NULL)
n IN ()
NULL IN ()
n NOT IN (5, 0)
n IN (1, 5) OR s IN ('10')
s || 'x' = 5
length(s) = '5'
k = x'41'
k > 'zzz'
k = 'A'
n BETWEEN 0 AND 5
n NOT BETWEEN 0 AND 5
e BETWEEN 'ANNA' AND 'b'
(n, m) = (5, 1)
-- Truth
b
NOT b
b = 1
b = 0
b <> 1
b IS 1
b IS NOT 0
b IS TRUE
b = true
n IS TRUE
n IS NOT FALSE
b AND n
b OR r
NOT n
NOT (n > 3 AND b)
b + b
b = (n > 0)
b > 0
b < 5
sum(1) OVER ()
n > 0 = b
CASE WHEN b THEN 'yes' ELSE 'no' END
CASE n WHEN 5 THEN 'five' WHEN 0 THEN 'zero' END
CASE WHEN n > 0 THEN n > 1 ELSE 5 END
CASE e WHEN 'ANNA' THEN 1 ELSE 0 END
CASE WHEN m > 2 THEN n ELSE r END
iif(n > 0, 'pos', 'neg')
iif(b, 1, 0)
-- Texts
s || '-' || n
n || m
b || ''
d || 'T' || ts
'a' || 'b'
lower(s)
upper(s)
lower(n)
length(s)
length(n)
length(k)
length(ts)
substr(s, 2)
substr(s, 2, 2)
substr(s, 0)
substr(s, 0, 2)
substr(s, -2)
substr(s, -2, 1)
substr(s, -9, 6)
substr(s, 3, -2)
substr(s, -1, -2)
substr(s, m, 1)
substr(s, n)
substr(s, m - 3, m - 2)
substr(f, 1, instr(f, '@') - 1)
substr(f, instr(f, '@') + 1)
trim(z)
ltrim(z)
rtrim(z)
trim(s, 'ale')
replace(s, 'p', 'PP')
replace(s, '', 'x')
replace('é', f, NULL)
replace(s, f, g)
replace(s, '', NULL)
instr(s, 'p')
instr(s, '')
hex(k)
hex(s)
hex(n)
unicode(s)
char(65, 233, 8364)
ifnull(s, 'none')
coalesce(n, m)
coalesce(NULL, s, e)
coalesce(n, r, 0)
nullif(n, 5)
nullif(s, 'apple')
min(n, m)
max(n, m, 3)
min(s, 'b')
max(r, n)
min(m, 2)
abs(n)
abs(r)
sign(n)
round(r)
round(n)
round(r, 1)
round(r, 2)
round(p, 1)
typeof(n)
typeof(s)
typeof(r)
typeof(b)
typeof(k)
typeof(ts)
typeof(m)
printf('%d-%s-%%', n, s)
printf('%03d', n)
printf('%05d', m)
format('%s', s)
'it''s \ here'
"not a column"
-- LIKE and GLOB
s LIKE 'APP%'
s LIKE '_pple'
s LIKE 'É%'
s LIKE 'é%'
s NOT LIKE '%l%'
s LIKE '%10\%%' ESCAPE '\'
f LIKE 'a%b_c\d'
f LIKE '%\%'
f LIKE 'a!%b!_c%' ESCAPE '!'
n LIKE '1%'
s LIKE s
f LIKE f
s LIKE e
s LIKE '%'
s LIKE ''
s LIKE NULL
s LIKE 'a_b'
s GLOB 'a*'
s GLOB '[Aa]pple'
s GLOB '[^a]*'
s GLOB '?????'
s GLOB '*[0-9]*'
s GLOB 'a?b'
f GLOB '*@*'
f GLOB '[[]x]*'
f GLOB '[[]x][*][?]^-'
f GLOB '*[]]*'
f GLOB '*[%_\]*'
f GLOB 'a.b'
f GLOB '[a-'
like('app%', s)
-- CAST
CAST(n AS TEXT)
CAST(r AS INTEGER)
CAST(p AS INTEGER)
CAST(g AS INTEGER)
CAST(s AS INTEGER)
CAST(g AS REAL)
CAST(s AS REAL)
CAST(b AS INTEGER)
CAST(b AS TEXT)
CAST(n AS REAL)
CAST(ts AS TEXT)
CAST(n AS VARCHAR(3)) = '5'
CAST(n AS TEXT) < 'a'
CAST('12abc' AS INTEGER)
CAST('99999999999999999999' AS INTEGER)
CAST(strftime('%Y', d) AS INTEGER) + 1
-- Times
d = '2024-01-31'
d > '2023'
d >= '2024-01-01' AND d < '2024-02-01'
ts = '2024-01-31 23:59:59'
ts > '2024-01-01'
ts <= '2024-01-01'
ts >= '2024-01-01 00:00:00'
ts < d
d <= date('2024-01-31')
ts > datetime('2024-01-01 00:00:00')
ts > datetime('now', '-1 day')
strftime('%Y', d)
strftime('%Y-%m-%d %H:%M:%S', ts)
strftime('%j %w %d', d)
strftime('%s', ts)
strftime('%s', ts) + 0
strftime('%Y', d) = 2024
strftime('%Y', d) = '2024'
strftime('%H:%M', ts)
strftime('%F %T', ts)
strftime('%f', ts)
strftime('%%Y', ts)
date(ts)
time(ts)
datetime(d)
datetime(ts, '+1 day')
datetime(ts, '-90 minutes')
date(d, '+1 month')
date(d, '-1 month')
date(d, '+1 year')
date(d, '-4 years')
date(d, 'start of month', '+1 month', '-1 day')
date(d, 'start of year')
date(d, 'weekday 0')
date(d, 'weekday 3')
datetime(ts, 'start of day')
julianday(d)
julianday(ts)
julianday(ts) - julianday(d)
unixepoch(ts)
datetime(n, 'unixepoch')
date(m * 86400, 'unixepoch')
d || ''
d IS NULL
ifnull(d, '')
max(d, '2000-01-01')
typeof(datetime('now'))
length(CURRENT_TIMESTAMP)
length(date('now'))
typeof(random())
length(hex(randomblob(16)))
-- Subqueries
(SELECT max(n) FROM t)
(SELECT o.n FROM t AS o WHERE o.id = t.id + 1)
EXISTS (SELECT 1 FROM t o WHERE o.n > t.n)
NOT EXISTS (SELECT 1 FROM t o WHERE o.n = t.m)
n IN (SELECT m FROM t)
m NOT IN (SELECT n FROM t WHERE n IS NOT NULL)
s IN (SELECT e FROM t)
e IN (SELECT lower(e) FROM t)
rowid
oid + 1
-- Found by odd expressions
n / '1e2'
abs('5') / 2
nullif(s, '5')
nullif(g, '5')
nullif('5', '5')
char(-1)
substr(f, n)
substr(f, n, 1)
substr(f, 1, n)
substr(s, NULL)
(m | 7) < likely(f)
likely(z) >= length('')
likely(e) = 'ANNA'
e = unlikely('ANNA')
d > strftime('%Y-%m-%d', ts)
d < date(ts, '+1 day')
-- Seconds with a fraction, and times among integers
datetime(r, 'unixepoch')
datetime(r * 1000 + 1700000000.25, 'unixepoch')
strftime('%s', p + 0.9996, 'unixepoch')
date(p * 86400000, 'unixepoch', '+1 month')
datetime(1e11 + r, 'unixepoch')
datetime(1e200 * r, 'unixepoch')
CASE WHEN n > 0 THEN datetime(n, 'unixepoch') ELSE n END
CASE WHEN n > 0 THEN d ELSE m END
ifnull(d, 7) = '2024-01-31'
coalesce(n, ts)
-- Decimals of few digits as texts
p || ' EUR'
CAST(p AS TEXT)
length(p)
replace(p, '.', ',')
p || n || b
(SELECT max(id) FROM t) || p
-- Integers that PostgreSQL would compute in 32 bits
length(s) * 3000000000
(length(f) + 1) * 1000000000
unicode(f) * 100000000
CASE WHEN b THEN 2000000000 ELSE 1 END + 2000000000
iif(n > 1, 2000000000, 2) * (b + 5)
(n > 1) * 2147483647 + 2147483647
2000000000 - instr(f, 'b') - -2000000000
coalesce(NULL, 2000000000) + 2000000000
max(2000000000, 1) * 3
-- A REAL farther away than any integer
CAST(r * 1e290 AS INTEGER)
CAST(-r * 1e290 AS INTEGER)
CAST(r * 1e18 AS INTEGER)
CAST(9.3e18 AS INTEGER)
CAST(p * 1e30 AS INTEGER)
