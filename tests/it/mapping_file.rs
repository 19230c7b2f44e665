//! `migrate --write-mapping`: every decision kept in a file, and none of them made anew by a run with it.

use std::fs;

use serde_json::{Value as Json, json};

use crate::support::{Case, Database};

fn failure_modes() -> String {
    format!("PRAGMA foreign_keys = OFF; {}", include_str!("failure-modes.sql"))
}

/// Of a dry run: each table's DDL, and its columns' names and types.
fn decisions(planned: &Json) -> Vec<Json> {
    let column = |column: &Json| json!([column["source"], column["target"], column["type"]]);
    let table = |table: &Json| {
        let columns: Vec<Json> = table["columns"].as_array().unwrap().iter().map(column).collect();
        json!([table["source"], table["target"], table["ddl"], columns])
    };
    planned["tables"].as_array().unwrap().iter().map(table).collect()
}

#[test]
fn a_run_with_the_file_plans_the_same_tables() {
    let database = Database::fresh();
    let case = Case::new("round trip").source_sql(&failure_modes()).database(&database);
    for flags in ["", "--names snake", "--exclude f1* --collation default"] {
        let file = format!("{}.toml", flags.len());
        let first = case.run(&format!("migrate {{source}} {{url}} --dry-run --json {flags} --write-mapping {file}"));
        let text = fs::read_to_string(case.dir().join(&file)).unwrap();
        let flags = flags.replace("--exclude f1*", "");
        let again = case.run(&format!("migrate {{source}} {{url}} --dry-run --json {flags} --mapping {file} --write-mapping again-{file}"));
        assert_eq!(first.code, again.code, "{again}");
        let (first, again) = (decisions(&first.json()), decisions(&again.json()));
        assert!(first.len() > 20, "{}", first.len());
        for (first, again) in first.iter().zip(&again) {
            assert_eq!(first, again);
        }
        assert_eq!(first.len(), again.len());
        // The decisions of a run that made none are the same file.
        assert_eq!(fs::read_to_string(case.dir().join(format!("again-{file}"))).unwrap(), text);
    }
}

#[test]
fn the_whole_copy_is_the_same_too() {
    let database = Database::fresh();
    let case = Case::new("both runs").source_sql(&failure_modes()).database(&database);
    case.run("migrate {source} {url} --schema one --create-schema --write-mapping m.toml").exit(1);
    case.run("migrate {source} {url} --schema two --create-schema --mapping m.toml").exit(1);
    let columns = |schema: &str| {
        database.rows(&format!(
            "SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity, a.attgenerated, a.attcollation,
                    replace(pg_get_expr(d.adbin, d.adrelid), '{schema}.', '')
             FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
             WHERE c.relnamespace = '{schema}'::regnamespace AND c.relkind IN ('r', 'v', 'i') AND a.attnum > 0
             ORDER BY c.relname, a.attnum"
        ))
    };
    assert_eq!(columns("one"), columns("two"));
    let constraints = |schema: &str| {
        database.rows(&format!(
            "SELECT conname, convalidated, replace(pg_get_constraintdef(oid), '{schema}.', '') FROM pg_constraint
             WHERE connamespace = '{schema}'::regnamespace ORDER BY conname"
        ))
    };
    assert_eq!(constraints("one"), constraints("two"));
}

#[test]
fn data_that_comes_later_does_not_change_what_was_decided() {
    let database = Database::fresh();
    let source = "CREATE TABLE t (id INTEGER PRIMARY KEY, day DATE, secret TEXT); INSERT INTO t VALUES (1, '2024-01-02', 'x');
        CREATE VIEW v AS SELECT * FROM t;";
    let case = Case::new("later data").source_sql(source).database(&database);
    fs::write(case.dir().join("first.toml"), "[tables.t.columns.secret]\nskip = true\n").unwrap();
    case.run("migrate {source} {url} --dry-run --mapping first.toml --write-mapping m.toml").exit(0).stderr_has("mapping: m.toml has");
    rusqlite::Connection::open(case.source_path()).unwrap().execute_batch("INSERT INTO t VALUES (2, 'soon', 'y')").unwrap();

    let report = case.run("migrate {source} {url} --mapping m.toml --json").exit(1).json();
    assert_eq!((&report["rows_written"], &report["rows_rejected"]), (&json!(1), &json!(1)));
    assert_eq!(database.rows("SELECT pg_typeof(day), * FROM t"), ["date|1|2024-01-02"]);
    let of_view = report["warnings"].as_array().unwrap().iter().find(|warning| warning["object"] == "v").map(ToString::to_string);
    assert!(of_view.unwrap_or_default().contains("every column but t.secret"), "{report}");
}

#[test]
fn a_file_that_says_something_else_is_overwritten_only_with_yes() {
    let database = Database::fresh();
    let case = Case::new("overwrite").source_sql("CREATE TABLE t (a INT)").database(&database);
    fs::write(case.dir().join("m.toml"), "# by hand\n").unwrap();
    case.run("migrate {source} {url} --write-mapping m.toml").exit(2).stderr_has("m.toml is there already");
    assert_eq!(database.value("SELECT to_regclass('public.t') IS NULL"), "t");
    case.run("migrate {source} {url} --write-mapping m.toml --yes --dry-run").exit(0);
    case.run("migrate {source} {url} --write-mapping m.toml --dry-run").exit(0);
    case.run("migrate {source} {url} --write-mapping nowhere/m.toml --dry-run").exit(2).stderr_has("write the mapping file nowhere/m.toml");
}
