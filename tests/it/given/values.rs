//! Values that go into types of the target's own: each arrives as SQLite has it, or its row is set aside, and a dry run knows it.

use serde_json::Value as Json;

use super::{aside, foretold};
use crate::server::{Server, machine};
use crate::support::{Case, Database};

#[test]
fn a_dry_run_knows_what_types_of_a_mapping_refuse() {
    let database = Database::fresh();
    database.execute("CREATE DOMAIN even AS bigint CHECK (VALUE % 2 = 0); CREATE TYPE mood AS ENUM ('ok', 'sad')");
    let case = Case::new("mapped types")
        .source_sql(
            "CREATE TABLE t(id INTEGER PRIMARY KEY, n INTEGER, m TEXT, ip TEXT);
             INSERT INTO t VALUES (1, 2, 'ok', '10.0.0.1'), (2, 3, 'ok', NULL), (3, 4, 'glad', NULL), (4, NULL, NULL, 'here'), (5, NULL, 'sad', '::')",
        )
        .database(&database);
    let types = "[tables.t.columns]\nn.type = \"even\"\nm.type = \"mood\"\nip.type = \"inet\"\n";
    std::fs::write(case.dir().join("m.toml"), types).unwrap();
    let (_, report) = foretold(&case, &database, "--mapping {dir}/m.toml");
    assert_eq!(aside(&case, &report, "t"), ["{\"id\":2} n 23514", "{\"id\":3} m -", "{\"id\":4} ip 22P02"]);
    assert_eq!(database.rows("SELECT * FROM t ORDER BY id"), ["1|2|ok|10.0.0.1", "5||sad|::"]);
}

#[test]
fn no_time_has_a_minus_zero() {
    let database = Database::fresh();
    let case = Case::new("epochs")
        .source_sql(
            "CREATE TABLE t(id INTEGER PRIMARY KEY, s, d); INSERT INTO t VALUES (1, 0, 0.0), (2, 0.0, 86400), (3, -0.0, 0), (4, 0, -0.0)",
        )
        .database(&database);
    let epochs = "[tables.t.columns]\ns = { type = 'timestamptz', transform = 'epoch:ms' }\nd = { type = 'date', transform = 'epoch:s' }\n";
    std::fs::write(case.dir().join("m.toml"), epochs).unwrap();
    let (_, report) = foretold(&case, &database, "--mapping {dir}/m.toml");
    assert_eq!(aside(&case, &report, "t"), ["{\"id\":3} s -", "{\"id\":4} d -"]);
    assert_eq!(
        database.rows("SELECT id, s AT TIME ZONE 'UTC', d FROM t ORDER BY id"),
        ["1|1970-01-01 00:00:00|1970-01-01", "2|1970-01-01 00:00:00|1970-01-02"]
    );
    case.run("verify {source} {url}").exit(0);
}

#[test]
fn texts_become_numbers_whole_or_are_set_aside() {
    let database = Database::fresh();
    let is_new = database.value("SELECT current_setting('server_version_num')::int >= 150000") == "t";
    let hundreds = if is_new { "numeric(5,-2)" } else { "numeric(5,0)" };
    database.execute(&format!("CREATE TABLE t(id bigint PRIMARY KEY, d double precision, i int, n {hundreds}, z numeric)"));
    let case = Case::new("numbers")
        .source_sql(
            "CREATE TABLE t(id INTEGER PRIMARY KEY, d TEXT, i TEXT, n INTEGER, z BLOB);
             INSERT INTO t VALUES (1, '0.1', '7', 12300, 0.5), (2, '0.12345678901234567891', '1', 0, NULL), (3, '1e400', '1', 0, NULL),
                (4, '1', '007', 0, NULL), (5, '1', '+5', 0, NULL), (6, '1', '1', 0, -0.0), (7, '-1.50', '-12', 500, '0.10'), (8, '01', '1', 0, NULL)",
        )
        .database(&database);
    let (_, report) = foretold(&case, &database, "");
    assert_eq!(
        aside(&case, &report, "t"),
        ["{\"id\":2} d -", "{\"id\":3} d -", "{\"id\":4} i -", "{\"id\":5} i -", "{\"id\":6} z -", "{\"id\":8} d -"]
    );
    assert_eq!(database.rows("TABLE t ORDER BY id"), ["1|0.1|7|12300|0.5", "7|-1.5|-12|500|0.10"]);
}

#[test]
fn characters_are_kept_with_their_blanks_or_set_aside() {
    let database = Database::fresh();
    database.execute("CREATE TABLE t(id int PRIMARY KEY, free bpchar, four character(4), one char)");
    let case = Case::new("blanks")
        .source_sql(
            "CREATE TABLE t(id INTEGER PRIMARY KEY, free TEXT, four TEXT, one TEXT);
             INSERT INTO t VALUES (1, 'hello', 'ab', 'x'), (2, 'hello  ', 'ab  ', 'x'), (3, '', 'abcd', 'xy'), (4, '  ', '', '');",
        )
        .database(&database);
    let (_, report) = foretold(&case, &database, "");
    assert_eq!(aside(&case, &report, "t"), ["{\"id\":2} four -", "{\"id\":3} one -"]);
    assert_eq!(database.rows("SELECT id, octet_length(free) FROM t ORDER BY id"), ["1|5", "4|2"]);
    assert_eq!(case.run("verify {source} {url} --json").exit(0).json()["outcome"], "identical");
}

#[test]
fn what_a_given_type_would_round_or_cut_is_set_aside() {
    let database = Database::fresh();
    database.execute(
        "CREATE DOMAIN moment AS timestamp(3);
         CREATE TABLE t(id int PRIMARY KEY, at timestamp(3), z timestamptz(0), c time(0), m money, n name, k \"char\", o oid, d moment, i interval(1))",
    );
    let case = Case::new("rounding types")
        .source_sql(
            "CREATE TABLE t(id INTEGER PRIMARY KEY, at TEXT, z TEXT, c TEXT, m REAL, n TEXT, k TEXT, o INTEGER, d TEXT, i TEXT);
             INSERT INTO t(id, at, z, c, m, n, k, o, d, i) VALUES (1, '2024-01-01 10:00:00.123', '2024-01-01T10:00:00Z', '10:00:00', 1.99, 'x', 'a', 7,
                '2024-01-01 10:00:00.5', '00:00:01.5');
             INSERT INTO t(id, at) VALUES (2, '2024-01-01 10:00:00.1234'); INSERT INTO t(id, z) VALUES (3, '2024-01-01T10:00:00.6Z');
             INSERT INTO t(id, c) VALUES (4, '10:00:00.6'); INSERT INTO t(id, m) VALUES (5, 1.999); INSERT INTO t(id, n) VALUES (6, printf('%.70c', 'x'));
             INSERT INTO t(id, k) VALUES (7, 'ab'); INSERT INTO t(id, o) VALUES (8, -1); INSERT INTO t(id, d) VALUES (9, '2024-01-01 10:00:00.0001');
             INSERT INTO t(id, i) VALUES (10, '00:00:01.55')",
        )
        .database(&database);
    let (_, report) = foretold(&case, &database, "");
    assert_eq!(report["rows_rejected"], 9, "{report}");
    assert_eq!(aside(&case, &report, "t").len(), 9);
    let there = "SELECT id, at, z AT TIME ZONE 'UTC', c, m::numeric, n, k, o, d, i FROM t";
    assert_eq!(
        database.rows(there),
        ["1|2024-01-01 10:00:00.123|2024-01-01 10:00:00|10:00:00|1.99|x|a|7|2024-01-01 10:00:00.5|00:00:01.5"]
    );
    assert_eq!(case.run("verify {source} {url} --json").exit(0).json()["outcome"], "identical");
}

#[test]
fn what_does_not_fit_is_widened_set_aside_or_stops_the_run_as_told() {
    let source = "CREATE TABLE t(id INTEGER PRIMARY KEY, i INTEGER, v VARCHAR(3), d DATE);
        INSERT INTO t VALUES (1, 1, 'abc', '2024-01-01'), (2, 'x', 'toolong', 'junk'), (3, 3, NULL, '2024-01-31');";
    let types = "SELECT string_agg(format_type(atttypid, atttypmod), ', ' ORDER BY attnum) FROM pg_attribute WHERE attrelid = 't'::regclass AND attnum > 1";
    let database = Database::fresh();
    let case = Case::new("widen").source_sql(source).database(&database);
    case.run("migrate {source} {url}").exit(0);
    assert_eq!(database.value(types), "text, text, text");
    let database = Database::fresh();
    let case = case.database(&database);
    let (plan, report) = foretold(&case, &database, "--on-misfit reject");
    assert_eq!(database.value(types), "bigint, character varying(3), date");
    assert_eq!(aside(&case, &report, "t"), ["{\"id\":2} i -"]);
    assert!(plan["warnings"].to_string().contains("which is not widened"), "{plan}");
    assert_eq!(case.run("verify {source} {url} --json").exit(0).json()["outcome"], "identical");
    let database = Database::fresh();
    let case = case.database(&database);
    assert_eq!(case.run("migrate {source} {url} --on-misfit fail --json").exit(2).json()["error"]["code"], "misfit");
}

#[test]
fn keys_that_sqlite_tells_apart_stay_apart() {
    let database = Database::fresh();
    let case = Case::new("keys")
        .source_sql(
            "CREATE TABLE t(ts DATETIME PRIMARY KEY, x INTEGER); INSERT INTO t VALUES ('2024-01-01T10:00:00', 1), ('2024-01-01 10:00:00', 2);
             CREATE TABLE u(ts DATETIME PRIMARY KEY); INSERT INTO u VALUES ('2024-01-01T10:00:00'), ('2024-01-01T10:00:01');
             CREATE TABLE j(d JSON UNIQUE); INSERT INTO j VALUES ('{\"a\":1}'), ('{\"a\": 1}');",
        )
        .database(&database);
    foretold(&case, &database, "");
    let types = "SELECT string_agg(attrelid::regclass || ' ' || format_type(atttypid, atttypmod), ', ' ORDER BY attrelid::regclass::text)
        FROM pg_attribute WHERE attname IN ('ts', 'd') AND attnum > 0 AND attrelid IN ('t'::regclass, 'u'::regclass, 'j'::regclass)";
    assert_eq!(database.value(types), "j text, t text, u timestamp without time zone");
    assert_eq!(
        database.value("SELECT count(*) FROM pg_constraint WHERE contype IN ('p', 'u') AND connamespace = 'public'::regnamespace"),
        "3"
    );
}

#[test]
fn every_column_that_does_not_fit_is_named() {
    let database = Database::fresh();
    database.execute("CREATE TABLE t (id int PRIMARY KEY, n int, d date, v varchar(3))");
    let case = Case::new("misfits")
        .source_sql("CREATE TABLE t(id INTEGER PRIMARY KEY, n, d, v); INSERT INTO t VALUES (1, 'lots', '2024-01-01', 'long'), (2, 5, 'soon', 'abc')")
        .database(&database);
    let plan = case.run("migrate {source} {url} --dry-run --json").exit(1).json();
    let counts: Vec<_> = plan["tables"][0]["columns"].as_array().unwrap().iter().map(|column| column["misfits"]["count"].clone()).collect();
    assert_eq!((counts, &plan["tables"][0]["rows_rejected"]), (vec![0.into(), 1.into(), 1.into(), 1.into()], &Json::from(2)));
    let report = case.run("migrate {source} {url} --json").exit(1).json();
    let folder = case.dir().join(report["rejects_dir"].as_str().unwrap());
    let text = std::fs::read_to_string(folder.join("t.jsonl")).unwrap();
    let rows: Vec<Json> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&rows[0]["column"], &rows[0]["also"][0]["column"]), (&Json::from("n"), &Json::from("v")), "{text}");
    assert!(rows[0]["also"][0]["reason"].as_str().unwrap().contains("3 characters"), "{text}");
    assert_eq!((&rows[1]["column"], rows[1].get("also")), (&Json::from("d"), None));
}

/// A type of the target's own, values that it takes as they are, and values that it would change without a word.
type Given = (&'static str, &'static [&'static str], &'static [&'static str]);

const GIVEN: &[Given] = &[
    ("real", &["1.5", "0", "-0.0", "-0.25", "'1.1'", "16777216"], &["1.1", "0.1", "1e300", "16777217", "1e-50", "'0.123456789'"]),
    ("single", &["0.25"], &["1.1"]),
    ("real[]", &["'{0.5,1.1,NULL}'"], &["'{0.123456789}'"]),
    ("double precision[]", &["'{0.1}'", "'{NaN,-Infinity}'"], &["'{0.12345678901234567891}'"]),
    ("numeric(5,2)", &["1.25", "'12.50'"], &["1.255"]),
    ("numeric(5,2)[]", &["'{{1.25},{2}}'", "'{1.25,NULL}'"], &["'{1.255}'", "'{\"1.255\"}'"]),
    ("price[]", &["'{9.99}'"], &["'{9.999}'"]),
    ("prices", &["'{9.99}'"], &["'{9.999}'"]),
    ("varchar(3)", &["'abc'", "'ab '"], &["'abc '"]),
    ("varchar(3)[]", &["'{abc,\"a,b\"}'"], &["'{\"abc  \"}'"]),
    ("character(3)[]", &["'{abc}'"], &["'{\"ab \"}'"]),
    ("\"char\"", &["'a'"], &["'ab'", "'é'"]),
    ("name[]", &["'{a}'"], &["printf('{%.70c}', 'x')"]),
    ("mood[]", &["'{ok,sad}'"], &[]),
    ("text[]", &["'{a,\"b c\",\"d\\\"e\"}'", "'{}'"], &[]),
    ("int[]", &["'{1,2}'", "'[2:3]={1,2}'"], &[]),
    ("bytea[]", &["'{\"\\\\x00ff\"}'"], &["'{abc}'"]),
    ("timestamp(0)", &["'2024-01-02 03:04:05'"], &["'2024-01-02 03:04:05.6'", "'now'", "'01/02/2024'", "'2024-01-02 03:04:05.1+05:30'"]),
    ("timestamp", &["'2024-01-02 03:04:05.123456'"], &["'2024-01-02 03:04:05.1234567'", "'today'"]),
    (
        "timestamp[]",
        &["'{\"2024-01-02 03:04:05\"}'"],
        &["'{\"2024-01-02 03:04:05+05:30\"}'", "'{now}'", "'{\"2024-01-02 03:04:05.1234567\"}'"],
    ),
    ("timestamptz(3)", &["'2024-01-02 03:04:05.123Z'"], &["'2024-01-02 03:04:05.1234Z'", "'now'"]),
    ("time(0)", &["'10:00'"], &["'10:00:00.6'", "'allballs'", "'10:00+05'"]),
    ("timetz", &["'10:00:00.5+05:30'"], &["'now'", "'10:00:00.1234567+01'"]),
    ("timetz(0)", &["'10:00:00Z'"], &["'10:00:00.5Z'"]),
    ("date[]", &["'{2024-01-02}'"], &["'{today}'", "'{01/02/2024}'"]),
    (
        "interval",
        &["'1 day 02:03:04.5'", "'P1DT1.5S'", "'1.5 seconds'", "'1-2'"],
        &["'1.5 months'", "'0.1234567 seconds'", "1500", "'90'", "1.5", "-0.0", "'$12.50'", "'\\101'", "'#1 day'", "'- 5'", "'5 @'"],
    ),
    ("interval(0)", &["'00:00:01'"], &["'00:00:01.5'", "'10 ms'"]),
    ("interval day to hour", &["'1 day 02:00:00'"], &["'1 day 02:03:00'"]),
    ("interval year to month", &["'1 year 2 mons'", "'-3 months'"], &["'1 year 2 days'", "'7'"]),
    ("tstzrange", &["'[2024-01-01 00:00:00Z,infinity)'"], &["'[today,)'"]),
    ("money", &["1.25", "-3"], &["1.255", "1e300", "'1,000'", "-0.0", "'-0'"]),
    ("oid", &["4294967295"], &["-1"]),
    ("xid", &["4294967295"], &["-1", "4294967296"]),
    ("bit(3)", &["'101'"], &[]),
    ("point", &["'(0.1,2)'"], &["'(0.12345678901234567891,2)'"]),
    ("line", &["'{1,2,3}'"], &["'[(0,0),(1,1)]'"]),
    ("xml", &["'<a b=\"c\"/>'", "'<?xml-stylesheet href=\"a\"?><a/>'"], &["'<?xml version=\"1.0\" encoding=\"UTF-8\"?><a/>'"]),
    ("inet", &["'10.0.0.1/8'", "'::1'"], &["'10/8'", "'10.1/16'"]),
    ("cidr", &["'10.0.0.0/8'"], &["'10'", "'10.1'"]),
    ("macaddr8", &["'08:00:2b:01:02:03:04:05'"], &["'08:00:2b:01:02:03'"]),
    (
        "tsvector",
        &["'''a'':1 ''b'':2'", "'b:2 a:1'", "'cat'", "'a b'"],
        &["'b a'", "'x  y'", "'c b:1'", "'a b a'", "'a:16384 b:1'", "'a:1,1'", "'a:1A ''a'':1B'", "'a:1A,1B'", "'a:1 a:1'"],
    ),
    ("tsrange", &["'[2024-01-01 00:00:00,2024-01-02)'", "'empty'"], &["'[2024-01-01 00:00:00.1234567,)'", "'[yesterday,)'"]),
    ("daterange", &["'[2024-01-01,2024-02-01)'"], &["'[2024-01-01 10:00:00,)'"]),
    ("numrange", &["'[1.10,2)'"], &[]),
    ("json", &["'{\"a\": 1,  \"a\": 2}'"], &["'{'"]),
    ("jsonb", &["'{\"a\": 1}'"], &["-0.0", "'[-0.0]'", "'{\"a\": 1, \"a\": 2}'"]),
    ("jsonb[]", &["'{\"{\\\"a\\\": 1}\"}'"], &["'{\"{\\\"a\\\": 1, \\\"a\\\": 2}\"}'"]),
    ("uuid[]", &["'{00112233-4455-6677-8899-aabbccddeeff}'"], &[]),
    ("boolean[]", &["'{t,f}'"], &[]),
    ("boolean", &["'t'"], &["-0.0"]),
    ("bigint", &["5"], &["-0.0"]),
    ("numeric", &["5"], &["-0.0", "'-0'"]),
    ("numeric[]", &["'{1.5}'"], &["'{-0.0}'"]),
    ("numrange", &["'[1.5,2)'"], &["'[-0.0,1)'"]),
    ("amount", &["'(1.5)'"], &["'(-0.0)'"]),
    ("tsvector[]", &["'{\"''a'' ''b''\"}'"], &["'{\"b a\"}'"]),
    ("citext", &["'Abc '"], &[]),
    ("cents", &["1.25"], &["1.255"]),
    ("cents[]", &["'{9.99}'"], &["'{9.999}'"]),
    ("stamp", &["'2024-01-02 03:04:05'"], &["'2024-01-02 03:04:05.6'"]),
    ("single[]", &["'{0.5,1.1}'"], &["'{0.123456789}'"]),
    ("singles", &["'[0.5,1.1)'", "'empty'"], &["'[0.123456789,)'"]),
    (
        "entry",
        &["'(1.50,\"2024-01-02 03:04:05\",ab)'", "'(,,)'", "'(0.5,,\"a \")'"],
        &["'(0.123456789,,)'", "'(,\"2024-01-02 03:04:05.6\",)'", "'(,,\"ab   \")'", "'(,,ab   )'"],
    ),
    ("entry[]", &["'{\"(1.0,,x)\"}'", "'{}'"], &["'{\"(0.123456789,,)\"}'"]),
    ("entries", &["'{\"(1.0,,x)\"}'"], &["'{\"(0.123456789,,)\"}'"]),
    ("hstore", &["'bb=>1, a=>NULL'", "'\"a b\"=>\"x\"'", "''"], &["'a=>1, a=>2'", "'a=>1, a=>1'"]),
    ("seg", &["'1.5 .. 2'", "'<3'"], &["'0.123456789'", "'1(+-)0.5'"]),
    ("cube", &["'(1, 2)'", "'0.1'"], &["'(0.12345678901234567891)'"]),
    ("ltree", &["'a.b_c.d'"], &[]),
    ("xid8", &["'18446744073709551615'"], &["-1", "'-0'"]),
    ("oidvector", &["'1 2'", "''"], &["'-1 2'"]),
    ("int2vector", &["'1 2 3'"], &[]),
    ("tid", &["'(0,1)'"], &["'(-1,1)'"]),
    ("pg_lsn", &["'0/16b3748'"], &[]),
    ("varbit(3)", &["'101'", "''"], &[]),
    ("tsquery", &["'a & b'", "' (a)'", "''"], &["'  '", "char(9, 10)"]),
    ("tsquery[]", &["'{a,\"\"}'"], &["'{a,\"  \"}'"]),
    ("jsonpath", &["'$.a'"], &["'$.a /* b */'", "-0.0"]),
    ("int4multirange", &["'{[1,2], [5,)}'"], &[]),
    ("macaddr", &["'08-00-2b-01-02-03'"], &["'2024-01-02'", "'0x:1:2:3:4:5'"]),
    ("regtype", &["'int4'"], &["'varchar(5)'"]),
    ("regclass", &["'pg_class'"], &[]),
    ("int4range", &["'[5,6)'", "'[5,5]'", "'empty'", "'(7,9)'"], &["'[5,5)'", "'(7,8)'"]),
    ("numrange", &["'[1.0,1.00]'"], &["'[1.0,1.00)'"]),
    ("datemultirange", &["'{[2024-01-01,2024-01-02)}'"], &["'{[2024-01-01,2024-01-02),[2024-02-01,2024-02-01)}'"]),
    ("interval(0)", &["'PT1S'"], &["'PT14e-1S'", "'PT1e-7S'", "'P1e-1Y'"]),
    ("name[]", &["'{a;b}'"], &["printf('{%.40c;%.40c}', 'x', 'y')"]),
    ("point", &["'(1,2)'"], &["'(0x1.23456789abcdef12p0,1)'"]),
    ("hstore[]", &["'{\"bb=>1,a=>2\"}'", "'{a=>b}'"], &["'{\"a=>1,a=>2\"}'"]),
    ("box[]", &["'{(1,1),(0,0);(2,2),(1,1)}'"], &["'{(0.12345678901234567891,1),(0,0)}'"]),
    ("entry", &["'(,,\"=>\")'"], &[]),
];

/// Which of the values that are kept are written in another way there: the type, as they came, and as PostgreSQL shows them.
const SPELLED: &[(&str, &str, &str)] = &[
    ("real", "16777216", "1.6777216e+07"),
    ("numeric(5,2)[]", "{{1.25},{2}}", "{{1.25},{2.00}}"),
    ("timestamptz(3)", "2024-01-02 03:04:05.123Z", "2024-01-02 03:04:05.123+00"),
    ("time(0)", "10:00", "10:00:00"),
    ("timetz(0)", "10:00:00Z", "10:00:00+00"),
    ("interval", "P1DT1.5S", "1 day 00:00:01.5"),
    ("interval", "1.5 seconds", "00:00:01.5"),
    ("interval", "1-2", "1 year 2 mons"),
    ("interval year to month", "-3 months", "-3 mons"),
    ("tstzrange", "[2024-01-01 00:00:00Z,infinity)", "[\"2024-01-01 00:00:00+00\",infinity)"),
    ("money", "1.25", "$1.25"),
    ("money", "-3", "-$3.00"),
    ("inet", "::1", "::1/128"),
    ("tsvector", "b:2 a:1", "'a':1 'b':2"),
    ("tsvector", "cat", "'cat'"),
    ("tsvector", "a b", "'a' 'b'"),
    ("boolean", "t", "true"),
    ("real", "-0.0", "-0"),
    ("tsrange", "[2024-01-01 00:00:00,2024-01-02)", "[\"2024-01-01 00:00:00\",\"2024-01-02 00:00:00\")"),
    ("entry", "(1.50,\"2024-01-02 03:04:05\",ab)", "(1.5,\"2024-01-02 03:04:05\",ab)"),
    ("entry[]", "{\"(1.0,,x)\"}", "{\"(1,,x)\"}"),
    ("entries", "{\"(1.0,,x)\"}", "{\"(1,,x)\"}"),
    ("hstore", "bb=>1, a=>NULL", "\"a\"=>NULL, \"bb\"=>\"1\""),
    ("cube", "0.1", "(0.1)"),
    ("pg_lsn", "0/16b3748", "0/16B3748"),
    ("tsquery", "a & b", "'a' & 'b'"),
    ("tsquery", " (a)", "'a'"),
    ("tsquery[]", "{a,\"\"}", "{'a',\"\"}"),
    ("jsonpath", "$.a", "$.\"a\""),
    ("int4multirange", "{[1,2], [5,)}", "{[1,3),[5,)}"),
    ("macaddr", "08-00-2b-01-02-03", "08:00:2b:01:02:03"),
    ("regtype", "int4", "integer"),
    ("int4range", "[5,5]", "[5,6)"),
    ("int4range", "(7,9)", "[8,9)"),
    ("interval(0)", "PT1S", "00:00:01"),
    ("hstore[]", "{\"bb=>1,a=>2\"}", "{\"\\\"a\\\"=>\\\"2\\\", \\\"bb\\\"=>\\\"1\\\"\"}"),
    ("hstore[]", "{a=>b}", "{\"\\\"a\\\"=>\\\"b\\\"\"}"),
    ("entry", "(,,\"=>\")", "(,,=>)"),
];

/// What the types above need.
const TYPES: &str = "CREATE DOMAIN single AS real; CREATE DOMAIN price AS numeric(5,2); CREATE DOMAIN prices AS numeric(5,2)[];
    CREATE EXTENSION citext; CREATE EXTENSION hstore; CREATE EXTENSION seg; CREATE EXTENSION cube; CREATE EXTENSION ltree;
    CREATE TYPE amount AS (n numeric); CREATE TYPE mood AS ENUM ('ok', 'sad'); CREATE DOMAIN cent AS numeric(5,2); CREATE DOMAIN cents AS cent; CREATE DOMAIN stamp AS timestamp(0);
    CREATE TYPE singles AS RANGE (subtype = real); CREATE TYPE entry AS (n real, at timestamp(0), c varchar(2)); CREATE DOMAIN entries AS entry[]";

#[test]
fn each_value_arrives_as_it_is_or_is_named() {
    let database = Database::fresh();
    database.execute(TYPES);
    for (number, (sql, _, _)) in known(&database) {
        database.execute(&format!("CREATE TABLE t{number}(id int PRIMARY KEY, v {sql})"));
    }
    arrives_or_is_named(&given_source(Case::new("given types"), &database).database(&database), &database, "");
}

#[test]
fn so_it_does_in_a_type_that_a_mapping_names() {
    let database = Database::fresh();
    database.execute(TYPES);
    let case = given_source(Case::new("mapped types of all kinds"), &database).database(&database);
    let types = |(number, (sql, _, _)): (usize, &Given)| format!("[tables.t{number}.columns.v]\ntype = {sql:?}\n");
    std::fs::write(case.dir().join("m.toml"), known(&database).map(types).collect::<String>()).unwrap();
    arrives_or_is_named(&case, &database, "--mapping {dir}/m.toml");
}

/// Those that this PostgreSQL has: multiranges came with 14.
fn known(database: &Database) -> impl Iterator<Item = (usize, &'static Given)> {
    let has_multiranges = database.value("SELECT to_regtype('int4multirange') IS NOT NULL") == "t";
    GIVEN.iter().enumerate().filter(move |(_, (sql, _, _))| has_multiranges || !sql.ends_with("multirange"))
}

fn given_source(case: Case, database: &Database) -> Case {
    let mut source = String::new();
    for (number, (_, kept, changed)) in known(database) {
        source.push_str(&format!("CREATE TABLE t{number}(id INTEGER PRIMARY KEY, v);"));
        for (id, value) in kept.iter().chain(*changed).enumerate() {
            source.push_str(&format!("INSERT INTO t{number} VALUES ({id}, {value});"));
        }
    }
    case.source_sql(&source)
}

fn arrives_or_is_named(case: &Case, database: &Database, flags: &str) {
    let (_, report) = foretold(case, database, flags);
    let mut wrong = Vec::new();
    for (number, (sql, kept, changed)) in known(database) {
        let mut wanted: Vec<String> = (kept.len()..kept.len() + changed.len()).map(|id| format!("{{\"id\":{id}}} v -")).collect();
        wanted.sort();
        let is_any = report["tables"].as_array().unwrap().iter().any(|t| t["source"] == format!("t{number}") && t["rows_rejected"] != 0);
        let set_aside = if is_any { aside(case, &report, &format!("t{number}")) } else { Vec::new() };
        let there = database.value(&format!("SELECT count(*) FROM t{number}"));
        if set_aside != wanted || there != kept.len().to_string() {
            wrong.push(format!("{sql}: {set_aside:?} instead of {wanted:?}, {there} rows"));
        }
    }
    for (number, (sql, kept, _)) in known(database) {
        let came = |literal: &&str| match literal.strip_prefix('\'') {
            Some(text) => text[..text.len() - 1].replace("''", "'"),
            None => literal.to_string(),
        };
        let spelled = |text: String| match SPELLED.iter().find(|(known, given, _)| (known, *given) == (sql, text.as_str())) {
            Some((_, _, there)) => there.to_string(),
            None => text,
        };
        let expected: Vec<String> = kept.iter().map(|literal| spelled(came(literal))).collect();
        let there = database.rows(&format!("SELECT v::text FROM t{number} ORDER BY id"));
        if there != expected {
            wrong.push(format!("{sql}: {there:?} instead of {expected:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    // What reads both sides anew says the same of each.
    let verified = case.run("verify {source} {url} --json").exit(0).json();
    assert_eq!(verified["outcome"], "identical", "{verified:#}");
    let set_aside = |number: usize| {
        let of_it = |table: &&Json| table["source"] == format!("t{number}");
        verified["tables"].as_array().unwrap().iter().find(of_it).unwrap()["rows_set_aside"].clone()
    };
    for (number, (sql, _, changed)) in known(database) {
        assert_eq!(set_aside(number), changed.len(), "{sql}: {verified:#}");
    }
}

/// (severity, code, object) of each warning that has one of these codes.
fn said(report: &Json, codes: &[&str]) -> Vec<String> {
    let all = report["warnings"].as_array().unwrap().iter().filter(|warning| codes.contains(&warning["code"].as_str().unwrap()));
    all.map(|w| format!("{} {} {}", w["severity"].as_str().unwrap(), w["code"].as_str().unwrap(), w["object"].as_str().unwrap())).collect()
}

#[test]
fn what_a_given_type_holds_in_its_own_way_is_said() {
    let database = Database::fresh();
    database.execute(
        "CREATE TABLE t(id int PRIMARY KEY, utc timestamp, mixed timestamp(3), z timestamptz, plain timestamp, twice int GENERATED ALWAYS AS (id * 2) STORED)",
    );
    let case = Case::new("meanings")
        .source_sql(
            "CREATE TABLE t(id INTEGER PRIMARY KEY, utc TEXT, mixed DATETIME, z TEXT, plain TEXT, twice INTEGER);
             INSERT INTO t VALUES (1, '2024-01-02T03:04:05Z', '2024-01-02T03:04:05+05:30', '2024-01-02 03:04:05', '2024-01-02 03:04:05', 2),
                (2, '2024-01-02T03:04:05Z', '2024-01-02 03:04:05', '2024-01-02T03:04:05Z', NULL, 4)",
        )
        .database(&database);
    let (plan, report) = foretold(&case, &database, "");
    for report in [&plan, &report] {
        let told = said(report, &["offset_not_kept", "times_without_offset", "computed_by_target"]);
        let expected = [
            "note computed_by_target t.twice",
            "note offset_not_kept t.utc",
            "weaker offset_not_kept t.mixed",
            "note times_without_offset t.z",
        ];
        assert_eq!(told, expected, "{report:#}");
    }
    assert_eq!(
        database.rows("SELECT utc, mixed, z AT TIME ZONE 'UTC' FROM t ORDER BY id"),
        ["2024-01-02 03:04:05|2024-01-01 21:34:05|2024-01-02 03:04:05", "2024-01-02 03:04:05|2024-01-02 03:04:05|2024-01-02 03:04:05"]
    );
}

#[test]
fn times_in_arrays_and_ranges_are_of_the_sources_zone() {
    let database = Database::fresh();
    database.execute("CREATE TABLE t(id int PRIMARY KEY, a timestamptz[], r tstzrange, z timetz)");
    let case = Case::new("zones of parts")
        .source_sql(
            "CREATE TABLE t(id INTEGER PRIMARY KEY, a TEXT, r TEXT, z TEXT);
             INSERT INTO t VALUES (1, '{2024-07-01 12:00:00+02:00}', '[2024-07-01 12:00:00+02:00,infinity)', '12:00+02:00'),
                (2, '{2024-07-01 12:00:00}', NULL, NULL), (3, NULL, '[2024-07-01 12:00:00,)', NULL), (4, NULL, NULL, '12:00')",
        )
        .database(&database);
    let (_, report) = foretold(&case, &database, "--source-tz Europe/Berlin");
    assert_eq!(aside(&case, &report, "t"), ["{\"id\":2} a -", "{\"id\":3} r -", "{\"id\":4} z -"]);
    assert_eq!(database.value("SELECT lower(r) = '2024-07-01 10:00Z' AND a[1] = '2024-07-01 10:00Z' FROM t"), "t");
    assert_eq!(case.run("verify {source} {url} --json").exit(0).json()["outcome"], "identical");
}

#[test]
fn a_table_that_inherits_from_an_emptied_one_keeps_its_rows() {
    let database = Database::fresh();
    database.execute(
        "CREATE TABLE base(id int PRIMARY KEY); INSERT INTO base VALUES (1); CREATE TABLE heir(more text) INHERITS (base); INSERT INTO heir VALUES (7, 'own');
         CREATE TABLE parts(id int) PARTITION BY RANGE (id); CREATE TABLE part PARTITION OF parts DEFAULT; INSERT INTO parts VALUES (1)",
    );
    let case = Case::new("heirs")
        .source_sql("CREATE TABLE base(id INTEGER PRIMARY KEY); INSERT INTO base VALUES (2); CREATE TABLE parts(id INTEGER); INSERT INTO parts VALUES (2);")
        .database(&database);
    // The heir's rows are seen in the table too, and nobody has asked for them to go.
    case.run("migrate {source} {url} --existing truncate --json").exit(1);
    assert_eq!(database.rows("SELECT * FROM heir"), ["7|own"]);
    assert_eq!(database.rows("SELECT id FROM ONLY base UNION ALL SELECT id FROM parts"), ["2", "2"]);
}

/// Where `1.00` would be a hundred, and where it would be an error.
#[test]
fn money_is_what_it_was_where_a_comma_is_the_point() {
    let server = Server::start(&machine(), &[]);
    let url = server.url();
    for locale in ["de_DE", "fr_FR"] {
        server.add_locale(locale);
        server.rows(&format!("ALTER DATABASE postgres SET lc_monetary = '{locale}.UTF-8'"));
        server.rows(
            "DROP TABLE IF EXISTS price; DROP SCHEMA IF EXISTS candlefish CASCADE;
             CREATE TABLE price(id bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY, m money, t money)",
        );
        assert_eq!(server.rows("SELECT 1.5::numeric::money::text LIKE '%,50%'"), ["t"], "{locale}");
        let case = Case::new(locale).source_sql(
            "CREATE TABLE price(id INTEGER PRIMARY KEY, m REAL, t TEXT);
             INSERT INTO price VALUES (1, 1.0, '1.00'), (2, 1.5, '-2.25'), (3, 1000.0, '1000'), (4, 1.255, '1.2')",
        );
        let report = case.run(&format!("migrate {{source}} --to {url} --json")).exit(1).json();
        assert_eq!(report["outcome"], "rejected", "{report:#}");
        assert_eq!(server.rows("SELECT m::numeric, t::numeric FROM price ORDER BY id"), ["1.00|1.00", "1.50|-2.25", "1000.00|1000.00"]);
        assert_eq!(case.run(&format!("verify {{source}} --to {url} --json")).exit(0).json()["outcome"], "identical", "{locale}");
    }
}

#[test]
fn a_type_that_compares_in_its_own_way_is_none_that_views_are_said_in() {
    let source = "CREATE TABLE t(id INTEGER PRIMARY KEY, n TEXT); INSERT INTO t VALUES (1, 'abc'), (2, 'ABC'); CREATE VIEW v AS SELECT id FROM t WHERE n = 'abc'";
    for (name, types, mapped) in
        [("given", "citext", false), ("mapped", "citext", true), ("given domain", "loose", false), ("mapped domain", "loose", true)]
    {
        let database = Database::fresh();
        database.execute("CREATE EXTENSION citext; CREATE DOMAIN loose AS citext");
        if !mapped {
            database.execute(&format!("CREATE TABLE t(id bigint PRIMARY KEY, n {types})"));
        }
        let case = Case::new(name).source_sql(source).database(&database);
        std::fs::write(
            case.dir().join("m.toml"),
            if mapped { format!("[tables.t.columns.n]\ntype = \"{types}\"\n") } else { String::new() },
        )
        .unwrap();
        let (plan, report) = foretold(&case, &database, "--mapping {dir}/m.toml");
        for report in [&plan, &report] {
            assert!(said(report, &["view_missing"]).contains(&"loss view_missing v".to_string()), "{name}: {report:#}");
        }
        assert_eq!(database.rows("SELECT n FROM t ORDER BY id"), ["abc", "ABC"], "{name}");
        assert_eq!(database.value("SELECT count(*) FROM pg_views WHERE viewname = 'v'"), "0", "{name}");
    }
}

#[test]
fn keys_over_types_that_call_more_values_equal_are_tried() {
    for (types, values) in
        [("citext", ["abc", "ABC"]), ("inet", ["10.0.0.1", "10.0.0.1/32"]), ("moment", ["2024-01-02 03:04:05", "2024-01-02T03:04:05"])]
    {
        let database = Database::fresh();
        database.execute("CREATE EXTENSION citext; CREATE DOMAIN moment AS timestamp");
        let [first, second] = values;
        let source = format!(
            "CREATE TABLE t(id INTEGER PRIMARY KEY, n TEXT UNIQUE); INSERT INTO t VALUES (1, '{first}'), (2, '{second}');
             CREATE TABLE u(n TEXT PRIMARY KEY); INSERT INTO u VALUES ('{first}'), ('{second}')"
        );
        let case = Case::new(types).source_sql(&source).database(&database);
        let columns = format!("[tables.t.columns.n]\ntype = \"{types}\"\n[tables.u.columns.n]\ntype = \"{types}\"\n");
        std::fs::write(case.dir().join("m.toml"), columns).unwrap();
        let (plan, report) = foretold(&case, &database, "--mapping {dir}/m.toml");
        for report in [&plan, &report] {
            assert_eq!(said(report, &["unique_missing", "primary_key_missing"]).len(), 2, "{types}: {report:#}");
        }
    }
}
