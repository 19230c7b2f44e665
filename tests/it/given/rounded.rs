//! Values that a mapping lets be rounded: they arrive as the type keeps them, are counted, and are compared as what they have become.

use serde_json::{Value as Json, json};

use super::{aside, foretold};
use crate::support::{Case, Database};

/// A type, values of which it keeps less, and values that are no less of it but something else.
type Rounded = (&'static str, &'static [&'static str], &'static [&'static str]);

const ROUNDED: &[Rounded] = &[
    ("real", &["1.1", "16777217", "'0.123456789'", "-0.1"], &["1e300", "1e-50", "'007'", "'x'"]),
    ("double precision", &["'0.12345678901234567891'", "9007199254740993"], &["'1e400'", "'1e-400'", "'nan'"]),
    ("numeric(5,2)", &["1.255", "-1.245", "-0.001", "'9.999'", "0.0049"], &["999.995", "'+1'"]),
    ("cents", &["1.255"], &["1000"]),
    (
        "timestamp(0)",
        &["'2024-01-02 03:04:05.5'", "'1999-12-31 23:59:58.5'", "'2024-12-31 23:59:59.6'"],
        &["'now'", "'2024-01-02 03:04:05.1234567'"],
    ),
    ("timestamptz(3)", &["'2024-01-02 03:04:05.0005Z'"], &[]),
    ("time(0)", &["'23:59:59.9'", "'10:00:00.4'"], &["'allballs'"]),
    ("timetz(0)", &["'10:00:00.5+02'"], &[]),
    ("interval(0)", &["'00:00:01.5'", "'1500 ms'"], &["'1.5 months'"]),
    ("money", &["1.255"], &["'1,000'"]),
    ("point", &["'(0.12345678901234567891,2)'"], &[]),
    ("real[]", &["'{0.123456789,NULL}'"], &["'{007}'"]),
    ("numeric(5,2)[]", &["'{1.255}'", "'{{1.245},{2}}'"], &["'{1000}'"]),
    ("timestamp(0)[]", &["'{\"2024-01-02 03:04:05.6\"}'"], &["'{now}'"]),
    ("singles", &["'[0.123456789,)'"], &[]),
    ("entry", &["'(0.123456789,\"2024-01-02 03:04:05.6\")'"], &[]),
    ("entry[]", &["'{\"(0.123456789,)\"}'"], &[]),
];

const TYPES: &str =
    "CREATE DOMAIN cents AS numeric(5,2); CREATE TYPE singles AS RANGE (subtype = real); CREATE TYPE entry AS (n real, at timestamp(0));";

fn rounded_source(case: Case) -> Case {
    let mut source = String::new();
    for (number, (_, rounded, refused)) in ROUNDED.iter().enumerate() {
        source.push_str(&format!("CREATE TABLE t{number}(id INTEGER PRIMARY KEY, v);"));
        for (id, value) in rounded.iter().chain(*refused).enumerate() {
            source.push_str(&format!("INSERT INTO t{number} VALUES ({id}, {value});"));
        }
    }
    case.source_sql(&source)
}

fn notes(report: &Json) -> Vec<String> {
    let all = report["warnings"].as_array().unwrap().iter().filter(|warning| warning["code"] == "values_rounded");
    all.map(|warning| format!("{}: {}", warning["object"].as_str().unwrap(), warning["message"].as_str().unwrap())).collect()
}

fn arrives_rounded(case: &Case, database: &Database) {
    let (plan, report) = foretold(case, database, "--mapping {dir}/m.toml");
    assert_eq!(notes(&plan), notes(&report));
    let verified = case.run("verify {source} {url} --json").exit(0).json();
    assert_eq!(verified["outcome"], "identical", "{verified:#}");
    for (number, (sql, rounded, refused)) in ROUNDED.iter().enumerate() {
        let name = format!("t{number}");
        for (id, value) in rounded.iter().enumerate() {
            let value = value.trim_matches('\'');
            let question = format!(
                "SELECT v::text || CASE WHEN v::text = ('{value}'::{sql})::text THEN '' ELSE ' is not right' END FROM {name} WHERE id = {id}"
            );
            let there = database.rows(&question);
            assert!(there.len() == 1 && !there[0].ends_with("not right"), "{sql} of {value}: {there:?}");
        }
        let wanted: Vec<String> = (rounded.len()..rounded.len() + refused.len()).map(|id| format!("{{\"id\":{id}}} v -")).collect();
        let is_any = report["tables"].as_array().unwrap().iter().any(|table| table["source"] == name && table["rows_rejected"] != 0);
        assert_eq!(if is_any { aside(case, &report, &name) } else { Vec::new() }, wanted, "{sql}");
        let (values, rows) = (rounded.len(), (0..rounded.len()).map(|id| id.to_string()).collect::<Vec<_>>().join(", "));
        let counted = if values == 1 { "1 value is".to_string() } else { format!("{values} values are") };
        let note = notes(&report).into_iter().find(|note| note.starts_with(&format!("{name}.v: ")));
        let note = note.unwrap_or_else(|| panic!("{sql}: nothing is said"));
        assert!(note.contains(&format!(": {counted} rounded to what ")) && note.ends_with(&format!("(rows {rows})")), "{sql}: {note}");
        let verdict = verified["tables"].as_array().unwrap().iter().find(|table| table["source"] == name).unwrap();
        assert_eq!(verdict["rounded"], json!([{"column": "v", "values": values}]), "{sql}: {verdict:#}");
        assert_eq!(verdict["rows_set_aside"], refused.len(), "{sql}: {verdict:#}");
    }
}

#[test]
fn given_types_round_where_a_mapping_lets_them() {
    let database = Database::fresh();
    database.execute(TYPES);
    for (number, (sql, _, _)) in ROUNDED.iter().enumerate() {
        database.execute(&format!("CREATE TABLE t{number}(id int PRIMARY KEY, v {sql})"));
    }
    let case = rounded_source(Case::new("rounded")).database(&database);
    let columns = |number| format!("[tables.t{number}.columns.v]\ninexact = \"round\"\n");
    std::fs::write(case.dir().join("m.toml"), (0..ROUNDED.len()).map(columns).collect::<String>()).unwrap();
    arrives_rounded(&case, &database);
    // What is there and is not what the type makes of it, is a difference.
    database.execute("UPDATE t0 SET v = 1.2 WHERE id = 0; UPDATE t2 SET v = 1.25 WHERE id = 0; UPDATE t4 SET v = v + '1 s' WHERE id = 0");
    let verified = case.run("verify {source} {url} --json").exit(1).json();
    assert_eq!(verified["differences_total"], 3, "{verified:#}");
    // A refresh rounds too, and finds nothing else to do.
    rusqlite::Connection::open(case.source_path())
        .unwrap()
        .execute_batch("UPDATE t0 SET v = 1.3 WHERE id = 1; INSERT INTO t0 VALUES (99, 1.7)")
        .unwrap();
    let report = case.run("migrate {source} {url} --refresh --yes --json").exit(1).json();
    let of =
        |name: &str| report["tables"].as_array().unwrap().iter().find(|table| table["source"] == name).unwrap()["rows_written"].clone();
    assert_eq!((of("t0"), of("t1"), of("t2"), of("t4")), (json!(3), json!(0), json!(1), json!(1)), "{report:#}");
    assert_eq!(database.rows("SELECT v FROM t0 ORDER BY id"), ["1.1", "1.3", "0.12345679", "-0.1", "1.7"]);
    case.run("verify {source} {url}").exit(0).stdout_has("5 values rounded");
}

#[test]
fn so_do_the_types_that_the_mapping_names_itself() {
    let database = Database::fresh();
    database.execute(TYPES);
    let case = rounded_source(Case::new("rounded by name")).database(&database);
    let column = |(number, (sql, _, _)): (usize, &Rounded)| format!("[tables.t{number}.columns.v]\ntype = {sql:?}\ninexact = \"round\"\n");
    std::fs::write(case.dir().join("m.toml"), ROUNDED.iter().enumerate().map(column).collect::<String>()).unwrap();
    arrives_rounded(&case, &database);
}

#[test]
fn what_is_to_be_rounded_is_kept_in_the_mapping_and_for_a_retry_and_refused_where_nothing_is() {
    let database = Database::fresh();
    let case = Case::new("rounding told")
        .source_sql("CREATE TABLE t(id INTEGER PRIMARY KEY, v REAL, s TEXT); INSERT INTO t VALUES (1, 1.1, 'a'), (2, 0.5, 'b')")
        .database(&database);
    let write = |text: &str| std::fs::write(case.dir().join("m.toml"), text).unwrap();
    write("[tables.t.columns.s]\ninexact = \"round\"\n");
    let error = case.run("migrate {source} {url} --mapping {dir}/m.toml --json").exit(2).json()["error"].clone();
    let idle = "the mapping lets the values of t.s be rounded, and the column is text, which rounds none";
    assert!(error["message"].as_str().unwrap().ends_with(idle), "{error}");
    write("[tables.t.columns.v]\ninexact = \"floor\"\n");
    case.run("migrate {source} {url} --mapping {dir}/m.toml").exit(2).stderr_has("unknown variant `floor`");
    write("[tables.t.columns.v]\ntype = \"real\"\n");
    let report = case.run("migrate {source} {url} --mapping {dir}/m.toml --json").exit(1).json();
    let rejects = report["rejects_dir"].as_str().unwrap();
    write("[tables.t.columns.v]\ntype = \"real\"\ninexact = \"round\"\n");
    case.run(&format!("migrate {{source}} {{url}} --mapping {{dir}}/m.toml --retry-rejects {rejects}")).exit(0);
    assert_eq!(database.rows("SELECT id, v FROM t ORDER BY id"), ["1|1.1", "2|0.5"]);
    case.run("verify {source} {url}").exit(0).stdout_has("identical, 1 value rounded");
    case.run("migrate {source} {url} --mapping {dir}/m.toml --dry-run --write-mapping {dir}/w.toml --existing truncate").exit(0);
    let written = std::fs::read_to_string(case.dir().join("w.toml")).unwrap();
    assert!(written.contains("inexact = \"round\"") && written.matches("inexact").count() == 1, "{written}");
}
