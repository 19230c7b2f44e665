//! Numbers and times at their edges: what is rounded, compared, and read as a time in SQLite, is so in PostgreSQL.

use candlefish::dialect::translate::{self, Catalog, Type};
use candlefish::model::QualifiedName;

use super::{column, differences, relation, source};
use crate::support::Session;

/// Texts that are times in SQLite's eyes, and texts that are not.
#[test]
fn texts_are_read_as_times() {
    let texts = [
        "2024-01-31",
        "2024-02-29 23:59:59",
        "2024-01-02T03:04:05+05:30",
        "2024-01-02 03:04:05.123456Z",
        "2024-01-02 03:04  -01:00 ",
        "2024-01-02T",
        "2023-12-31 23:59:59.9999",
        "12:30",
        "01:02:03.5",
        "2460311.628",
        " 2451545 ",
        "20240102",
        "1e99",
        "-5",
        "",
        "2024-1-2",
        "2024-13-01",
        "2024-01-32",
        "2024-01-02Z",
        " 2024-01-02",
        "2024-01-02 25:00",
        "2024-01-02 10:60",
        "2024-01-02 10:00:60",
        "not a time",
        "2024-01-02 x",
        "2024-01-02  T 03:04",
        "2024-01-0203:04",
        "0001-01-01",
        "9999-12-31 23:59:59",
        "0000-00-00",
        "2024-01-02 03:04+15:00",
        "NULL",
    ];
    let rows: Vec<String> = texts.iter().enumerate().map(|(index, text)| format!("({index}, '{text}')")).collect();
    let insert = format!("INSERT INTO h VALUES {}, (99, NULL)", rows.join(", "));
    let (source, target) = (source(&format!("CREATE TABLE h(id INTEGER PRIMARY KEY, x TEXT); {insert}")), Session::fresh());
    target.execute(&format!("CREATE TABLE h(id bigint PRIMARY KEY, x text); {insert}"));
    let catalog = Catalog { relations: vec![relation("h", vec![column("id", Type::Integer), column("x", Type::Text)])] };
    for select in [
        "SELECT id, datetime(x), date(x), time(x), strftime('%Y|%m|%j|%w|%s', x) FROM h ORDER BY id",
        "SELECT id, date(x, '+1 month', 'start of month'), CAST(strftime('%Y', x) AS INTEGER), unixepoch(x) FROM h ORDER BY id",
        "SELECT strftime('%Y', x) AS y, count(*) FROM h GROUP BY y ORDER BY y",
        "SELECT x FROM h WHERE date(x) >= '2024-01-01' AND x <> date('now') ORDER BY id",
    ] {
        assert_eq!(differences(&source, &target, &catalog, select), None);
    }
}

/// Ties in decimal are no ties in binary: all halves of a hundredth up to 20, and some larger ones.
#[test]
fn rounding_agrees() {
    let fill = |double: &str, series: &str| format!("CREATE TABLE h(id {series}, r {double}); ");
    let rows: Vec<String> = (1..=4000).map(|k| format!("({k}, {:?})", f64::from(k) * 0.005 + f64::from(k % 7) * 1000.0)).collect();
    let insert = format!("INSERT INTO h VALUES {}", rows.join(", "));
    let (source, target) = (source(&(fill("REAL", "INTEGER PRIMARY KEY") + &insert)), Session::fresh());
    target.execute(&(fill("double precision", "bigint PRIMARY KEY") + &insert));
    let catalog = Catalog { relations: vec![relation("h", vec![column("id", Type::Integer), column("r", Type::Float)])] };
    for select in ["SELECT id, round(r, 2) FROM h ORDER BY id", "SELECT id, round(-r, 1), round(r / 3, 4), round(r) FROM h ORDER BY id"] {
        assert_eq!(differences(&source, &target, &catalog, select), None);
    }
}

/// Where integers are no longer reals, each for itself: around 2^53 and 2^63, and what is beyond.
const NUMBERS: &str = "CREATE TABLE a(id INTEGER PRIMARY KEY, i INTEGER);
    INSERT INTO a(i) VALUES (NULL), (0), (5), (9007199254740991), (9007199254740992), (9007199254740993), (-9007199254740993), (4611686018427387905),
        (9223372036854775806), (9223372036854775807), (-9223372036854775807), (-9223372036854775808);
    CREATE TABLE b(id INTEGER PRIMARY KEY, r REAL);
    INSERT INTO b(r) VALUES (NULL), (0.5), (5), (9007199254740991.0), (9007199254740992.0), (9007199254740994.0), (-9007199254740992.0), (4611686018427387904.0),
        (9223372036854774784.0), (9223372036854775808.0), (-9223372036854775808.0), (1e300), (9e999), (-9e999);";
const TARGET_NUMBERS: &str = "CREATE TABLE a(id bigserial PRIMARY KEY, i bigint);
    INSERT INTO a(i) VALUES (NULL), (0), (5), (9007199254740991), (9007199254740992), (9007199254740993), (-9007199254740993), (4611686018427387905),
        (9223372036854775806), (9223372036854775807), (-9223372036854775807), (-9223372036854775808);
    CREATE TABLE b(id bigserial PRIMARY KEY, r double precision);
    INSERT INTO b(r) VALUES (NULL), (0.5), (5), (9007199254740991.0), (9007199254740992.0), (9007199254740994.0), (-9007199254740992.0), (4611686018427387904.0),
        (9223372036854774784.0), (9223372036854775808.0), (-9223372036854775808.0), (1e300), ('Infinity'), ('-Infinity')";

#[test]
fn integers_and_reals_are_compared_exactly() {
    let (source, target) = (source(NUMBERS), Session::fresh());
    target.execute(TARGET_NUMBERS);
    // Of tables that it does not know PostgreSQL expects millions of pairs, and compiles each question.
    target.execute("ANALYZE");
    let (a, b) =
        (vec![column("id", Type::Integer), column("i", Type::Integer)], vec![column("id", Type::Integer), column("r", Type::Float)]);
    let catalog = Catalog { relations: vec![relation("a", a), relation("b", b)] };
    let operators = ["=", "<>", "<", "<=", ">", ">=", "IS", "IS NOT"];
    let mut questions: Vec<String> = operators.iter().flat_map(|op| [format!("i {op} r"), format!("r {op} i")]).collect();
    for constant in [
        "9007199254740992.0",
        "9007199254740994.0",
        "-9007199254740992.0",
        "9223372036854775808.0",
        "-9223372036854775808.0",
        "9e999",
        "-9e999",
        "0.5",
    ] {
        questions.extend([format!("i = {constant}"), format!("i < {constant}"), format!("i >= {constant}"), format!("{constant} < i")]);
    }
    let more = [
        "r = 9007199254740993",
        "r < 9007199254740993",
        "r IN (9007199254740993, 5)",
        "i IN (r, 7)",
        "i NOT IN (r, 9007199254740992.0)",
        "i BETWEEN r AND 9e999",
        "nullif(i, r)",
        "nullif(r, i)",
        "nullif(i, 5.0)",
        "nullif(i, 0.5)",
        "nullif(r, 5)",
        "nullif(r, 9007199254740993)",
        "nullif(nullif(i, r), r + 1)",
        "nullif(i, nullif(r, i))",
        "nullif(r, nullif(i, r))",
        "CASE i WHEN r THEN 'same' ELSE 'other' END",
        "i IN (SELECT r FROM b)",
        "r IN (SELECT i FROM a)",
        "i NOT IN (SELECT r FROM b WHERE r > 1)",
    ];
    questions.extend(more.map(String::from));
    let all = questions.iter().map(|question| format!("SELECT a.id, b.id, {question} AS x FROM a CROSS JOIN b ORDER BY a.id, b.id"));
    let joined = [
        "SELECT a.id, b.id FROM a JOIN b ON i = r ORDER BY 1, 2",
        "SELECT a.id, b.id FROM a LEFT JOIN b ON i < r WHERE a.id > 3 ORDER BY 1, 2",
    ];
    let wrong: Vec<String> =
        all.chain(joined.map(String::from)).filter_map(|select| differences(&source, &target, &catalog, &select)).collect();
    assert!(wrong.is_empty(), "{} questions differ:\n{}", wrong.len(), wrong.join("\n"));

    // What is written several times is short, and asks the rows nothing: else integers beyond 2^53 are rounded, which is said.
    let translated =
        |select: &str| translate::view(&format!("CREATE VIEW v AS {select}"), &catalog, &QualifiedName::new("public", "v")).unwrap();
    let nested = |inner: fn(&str) -> String| (0..12).fold("i".to_string(), |deep, _| inner(&deep));
    let [left, right, compared] = [
        |deep: &str| format!("nullif({deep}, r)"),
        |deep: &str| format!("nullif(i, nullif(r, {deep}))"),
        |deep: &str| format!("CASE WHEN {deep} < r THEN i END"),
    ]
    .map(|inner| translated(&format!("SELECT {} AS x FROM a CROSS JOIN b", nested(inner))));
    for view in [&left, &right, &compared] {
        assert!(view.sql.len() < 50_000, "{} bytes", view.sql.len());
        target.execute(&view.sql);
        target.execute("DROP VIEW v");
    }
    assert!(left.notes.is_empty() && !right.notes.is_empty() && !compared.notes.is_empty());
    for (asked, is_said) in [("(SELECT max(i) FROM a) < r", true), ("(SELECT max(r) FROM b) < r", false)] {
        let view = translated(&format!("SELECT {asked} AS x FROM b"));
        assert_eq!((view.sql.matches("(SELECT max(").count(), view.notes.is_empty()), (1, !is_said), "{}", view.sql);
    }
}
