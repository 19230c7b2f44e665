//! Integers that leave 64 bits: SQLite goes on with a REAL, PostgreSQL ends with an error. What can be the same is the same; the rest is said.

use serde_json::{Value as Json, json};

use crate::support::{Case, Database};

const FAR: &str = "CREATE TABLE far(id INTEGER PRIMARY KEY, a INTEGER, b INTEGER, CHECK (a + b > 0), CHECK (10 >= a - b OR a * b <> 7),
        CHECK (a + b NOT BETWEEN -100 AND -5), CHECK (-7 IS NOT a * b), CONSTRAINT nested CHECK (a + b + id <> 0), CONSTRAINT called CHECK (abs(a + b) >= 0));
    INSERT INTO far VALUES (1, 9223372036854775807, 1), (2, 5, 3);
    CREATE TABLE near(id INTEGER PRIMARY KEY, a INTEGER, b INTEGER, sum AS (a + b), CHECK (a + b > 0), CHECK (a * b * id + length(b) > -1));
    INSERT INTO near VALUES (1, 1000000, 1000000), (2, 5, 3);
    CREATE TABLE made(id INTEGER PRIMARY KEY, a INTEGER, b INTEGER, product AS (a * b), sum INTEGER AS (a + b) STORED); CREATE INDEX by_difference ON made(a - b);
    INSERT INTO made VALUES (1, 4000000000, 4000000000), (2, 5, 3);";

fn said<'r>(report: &'r Json, code: &str) -> Vec<&'r str> {
    let all = report["warnings"].as_array().unwrap().iter().filter(|warning| warning["code"] == code);
    all.filter(|warning| warning["message"].as_str().unwrap().contains("64 bits"))
        .map(|warning| warning["object"].as_str().unwrap())
        .collect()
}

#[test]
fn a_check_holds_for_integers_of_any_size() {
    let database = Database::fresh();
    let case = Case::new("far checks").source_sql(FAR).database(&database);
    let report = case.run("migrate {source} --to {url} --exclude made --json").exit(0).json();
    assert_eq!(said(&report, "check_differs"), ["far.nested", "far.called"], "{report:#}");
    let not_valid = "SELECT conname FROM pg_constraint WHERE contype = 'c' AND NOT convalidated ORDER BY 1";
    assert_eq!(database.rows(not_valid), ["called", "nested"]);
    case.run("verify {source} --to {url} --exclude made --schema-objects").exit(0);
    // What SQLite takes and refuses.
    database.execute("ALTER TABLE far DROP CONSTRAINT nested, DROP CONSTRAINT called");
    let source = rusqlite::Connection::open(case.source_path()).unwrap();
    let far = i64::MAX;
    let rows = [(far, far), (far, 1), (-far, -far), (-far, -2), (far, -far), (3, 4), (-1, -1), (-far, 3), (1, 7), (-1, 7), (-2, -4)];
    for (id, (a, b)) in (3..).zip(rows) {
        let row = format!("INSERT INTO far VALUES ({id}, {a}, {b})");
        let there = source.execute(&row, []).map_err(|error| error.to_string());
        let here = database.try_execute(&row);
        assert_eq!(there.is_ok(), here.is_ok(), "{row}: {there:?}, {here:?}");
    }
    drop(source);
    let verified = case.run("verify {source} --to {url} --exclude made --schema-objects").exit(1);
    verified.stdout_has("check far.nested").stdout_has("2 missing").stdout_has("the rows are identical, the schema is not");
}

#[test]
fn a_generated_column_that_has_become_real_keeps_its_values() {
    let database = Database::fresh();
    let case = Case::new("far generated").source_sql(FAR).database(&database);
    let planned = case.run("migrate {source} --to {url} --include made --dry-run --json").exit(1).json();
    let report = case.run("migrate {source} --to {url} --include made --json").exit(1).json();
    for report in [&planned, &report] {
        assert_eq!(said(report, "generated_column_missing"), ["made.product"], "{report:#}");
        assert_eq!(said(report, "generated_differs"), [""; 0], "{report:#}");
        assert_eq!(report["rows_rejected"], json!(0), "{report:#}");
    }
    assert_eq!(database.rows("SELECT product, sum FROM made ORDER BY id"), ["1.6e+19|8000000000", "15|8"]);
    case.run("verify {source} --to {url} --include made").exit(0);
}

#[test]
fn integers_of_32_bits_are_computed_in_64() {
    let database = Database::fresh();
    database.execute("CREATE TABLE t(id int PRIMARY KEY, a int, b smallint)");
    let case = Case::new("narrow")
        .source_sql(
            "CREATE TABLE t(id INTEGER PRIMARY KEY, a INTEGER, b INTEGER); INSERT INTO t VALUES (1, 2000000000, 30000), (2, -2147483648, -32768);
             CREATE TABLE u(s TEXT, many AS (length(s) * 1000000000), CHECK (length(s) * 3000000 > 5)); INSERT INTO u VALUES ('abcdef');
             CREATE VIEW v AS SELECT a * b AS product, a + a AS twice, b + 30000 AS more FROM t;
             CREATE VIEW y AS SELECT - a AS other, abs(a) AS size, a / b AS part, a / -1 AS turned FROM t;
             CREATE VIEW w AS SELECT length(s) AS n FROM u; CREATE VIEW x AS SELECT n * 1000000000 AS n FROM w;",
        )
        .database(&database);
    case.run("migrate {source} --to {url}").exit(0);
    assert_eq!(database.rows("SELECT * FROM v ORDER BY 1"), ["60000000000000|4000000000|60000", "70368744177664|-4294967296|-2768"]);
    assert_eq!(
        database.rows("SELECT * FROM y ORDER BY 1"),
        ["-2000000000|2000000000|66666|-2000000000", "2147483648|2147483648|65536|2147483648"]
    );
    assert_eq!(database.rows("SELECT x.n, many FROM x, u"), ["6000000000|6000000000"]);
    case.run("verify {source} --to {url} --schema-objects").exit(0);
}

#[test]
fn nothing_is_said_of_integers_that_stay_within_their_bits() {
    let checks = [
        "n > 0",
        "n + 1 > 0",
        "-n < 0",
        "n % 2 = 0 OR n / 2 > 0",
        "length(s) + 1 > 0",
        "instr(s, 'a') * 2 >= 0",
        "unicode(s) + 1 > 0",
        "(n & 255) + 1 > 0",
        "(n | 8) + 1 > 0",
        "~n - 1 < 0",
        "sign(n) + 1 > 0",
        "strftime('%s', d) + 0 > 0",
        "CAST(strftime('%Y', d) AS INTEGER) - 5 > 0",
        "unixepoch(d) + 1 > 0",
        "abs(n) + 1 > 0",
        "coalesce(n, 0) + 1 > 0",
        "CASE WHEN n > 3 THEN n ELSE 3 END + 1 > 0",
        "CAST(CAST(n AS TEXT) AS INTEGER) + 1 > 0",
    ];
    // A text is no known integer, whatever is made of it.
    let unknown = ["CAST(s AS INTEGER) + 1 > -5", "CAST(r AS INTEGER) * 2 >= 0", "t + 1 > 0"];
    let named = |(number, check): (usize, &&str)| format!("CONSTRAINT c{number} CHECK ({check})");
    let all: Vec<String> = checks.iter().chain(&unknown).enumerate().map(named).collect();
    let database = Database::fresh();
    let case = Case::new("near checks")
        .source_sql(&format!(
            "CREATE TABLE t(id INTEGER PRIMARY KEY, n INTEGER, s TEXT, d DATETIME, r REAL, t TEXT, a AS (unicode(s) * 1000 + (n & 7)), b AS (~n * 2), {});
             INSERT INTO t(n, s, d, r, t) VALUES (4, 'abc', '2024-01-01 00:00:00', 2.5, '7'), (10, '12ab', '2024-01-01 00:00:01', 0.5, '9')",
            all.join(", ")
        ))
        .database(&database);
    std::fs::write(case.dir().join("map.toml"), "[tables.t.columns]\nt = { type = \"bigint\" }\n").unwrap();
    let report = case.run("migrate {source} --to {url} --mapping map.toml --json").exit(0).json();
    let numbers: Vec<usize> = (checks.len()..checks.len() + unknown.len()).collect();
    assert_eq!(said(&report, "check_differs"), numbers.iter().map(|number| format!("t.c{number}")).collect::<Vec<_>>(), "{report:#}");
    assert_eq!(said(&report, "generated_differs"), [""; 0], "{report:#}");
    // Of those it is not said that the rows that are there do it.
    assert!(!report.to_string().contains("as large as those that there are"), "{report:#}");
    let valid = "SELECT count(*) FROM pg_constraint WHERE contype = 'c' AND convalidated AND conrelid = 't'::regclass";
    assert_eq!(database.value(valid), all.len().to_string());
}
