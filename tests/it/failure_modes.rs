//! The forty ways in which SQLite's data surprises PostgreSQL, each a test of its own: what is kept, what is set aside, and that it is said.

mod objects;
mod operation;
mod values;

pub use operation::EVERYTHING;

use std::fs;

use serde_json::Value as Json;

use crate::support::{Case, Database};

/// A file that went into a database of its own, and the report of it.
struct Migrated {
    database: Database,
    case: Case,
    report: Json,
}

/// Migrates a file made by these statements with the defaults; the test fails unless it ends with this code.
#[track_caller]
fn migrated(mode: &str, exit: i32, sql: &str) -> Migrated {
    into_prepared(mode, exit, "", sql)
}

/// The same, into a database in which these statements have run.
#[track_caller]
fn into_prepared(mode: &str, exit: i32, target: &str, sql: &str) -> Migrated {
    let database = Database::fresh();
    if !target.is_empty() {
        database.execute(target);
    }
    // This SQLite enforces foreign keys unless told otherwise; applications mostly have not.
    let case = Case::new(mode).source_sql(&format!("PRAGMA foreign_keys = OFF; {sql}")).database(&database);
    let report = case.run("migrate {source} --to {url} --json").exit(exit).json();
    Migrated { database, case, report }
}

/// What a dry run says of a column: its type, why, the rows that show it, and a hint.
#[track_caller]
fn planned(migrated: &Migrated, table: &str, column: &str) -> (String, String, Vec<i64>, String) {
    let database = Database::fresh();
    let url = database.url();
    let source = migrated.case.source_path().display().to_string();
    let planned = migrated.case.run_args(["migrate", &source, "--to", &url, "--dry-run", "--json"]).json();
    let tables = planned["tables"].as_array().unwrap();
    let table = tables.iter().find(|planned| planned["source"] == table).unwrap();
    let column = table["columns"].as_array().unwrap().iter().find(|planned| planned["source"] == column).unwrap();
    let text = |value: &Json| value.as_str().unwrap_or_default().to_string();
    let rows = column["evidence"]["rows"].as_array().unwrap().iter().filter_map(Json::as_i64).collect();
    (text(&column["type"]), text(&column["reason"]), rows, text(&column["evidence"]["hint"]))
}

impl Migrated {
    /// The types of a table's columns, in their order.
    fn types(&self, table: &str) -> Vec<String> {
        let table = table.replace('"', "\"\"");
        self.database.rows(&format!(
            "SELECT format_type(atttypid, atttypmod) FROM pg_attribute
             WHERE attrelid = '\"{table}\"'::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum"
        ))
    }

    fn rows(&self, sql: &str) -> Vec<String> {
        self.database.rows(sql)
    }

    /// What PostgreSQL says that the constraints of a table are, by name.
    fn constraints(&self, table: &str) -> Vec<String> {
        // PostgreSQL 18 lists NOT NULLs as well.
        let of_table = format!("conrelid = '{table}'::regclass AND contype <> 'n'");
        self.rows(&format!("SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE {of_table} ORDER BY conname"))
    }

    /// The definitions of a table's indexes, by name.
    fn indexes(&self, table: &str) -> Vec<String> {
        self.rows(&format!("SELECT indexdef FROM pg_indexes WHERE tablename = '{table}' ORDER BY indexname"))
    }

    /// `severity code object` of each warning, and its message.
    fn warnings(&self) -> Vec<(String, String)> {
        let text = |warning: &Json, key: &str| warning[key].as_str().unwrap().to_string();
        let all = self.report["warnings"].as_array().unwrap().iter();
        all.map(|w| (format!("{} {} {}", text(w, "severity"), text(w, "code"), text(w, "object")), text(w, "message"))).collect()
    }

    /// The message of the one warning with this head.
    #[track_caller]
    fn warning(&self, head: &str) -> String {
        let warnings = self.warnings();
        let found: Vec<_> = warnings.iter().filter(|(this, _)| this == head).collect();
        assert_eq!(found.len(), 1, "one warning {head:?} in {warnings:#?}");
        found[0].1.clone()
    }

    /// The rows of a table that were set aside.
    fn rejects(&self, table: &str) -> Vec<Json> {
        let folder = self.report["rejects_dir"].as_str().expect("rows were set aside");
        let text = fs::read_to_string(self.case.dir().join(folder).join(format!("{table}.jsonl"))).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// What is left to do by hand.
    fn todo(&self) -> String {
        let file = self.report["objects"]["todo_file"].as_str().expect("something is left to do");
        fs::read_to_string(self.case.dir().join(file)).unwrap()
    }

    /// True when PostgreSQL takes the statement; what it changed stays.
    fn accepts(&self, sql: &str) -> bool {
        self.database.try_execute(sql).is_ok()
    }
}

/// Every table of the script as one file: each row arrives or is set aside, each object is there or named in a warning.
#[test]
fn the_whole_script_as_one_file_loses_nothing_unreported() {
    let script = include_str!("failure-modes.sql");
    let migrated = migrated("all modes", 1, script);
    assert_eq!(migrated.report["outcome"], "incomplete");
    let source = rusqlite::Connection::open(migrated.case.source_path()).unwrap();
    let names = |sql: &str| -> Vec<String> {
        source.prepare(sql).unwrap().query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap()
    };

    let tables =
        names("SELECT name FROM pragma_table_list WHERE schema = 'main' AND type IN ('table', 'virtual') AND name NOT LIKE 'sqlite_%'");
    assert_eq!(tables.len(), 45);
    for table in &tables {
        let quoted = format!("\"{}\"", table.replace('"', "\"\""));
        let in_sqlite: i64 = source.query_row(&format!("SELECT count(*) FROM {quoted}"), [], |row| row.get(0)).unwrap();
        let in_postgres: i64 = migrated.database.value(&format!("SELECT count(*) FROM {quoted}")).parse().unwrap();
        let aside = if ["f16", "f18"].contains(&table.as_str()) { migrated.rejects(table).len() as i64 } else { 0 };
        assert_eq!(in_sqlite, in_postgres + aside, "rows of {table}");
        let reports = migrated.report["tables"].as_array().unwrap();
        let report = reports.iter().find(|report| report["source"] == table.as_str()).unwrap();
        assert_eq!(report["rows_read"], in_sqlite, "{table}");
        assert_eq!(report["rows_written"], in_postgres, "{table}");
        assert_eq!(report["rows_rejected"], aside, "{table}");
    }

    let warned = |object: &str| migrated.warnings().iter().any(|(head, _)| head.starts_with("loss ") && head.contains(object));
    let there = |sql: &str| migrated.database.value(&format!("SELECT count(*) FROM ({sql}) found")) != "0";
    for index in names("SELECT name FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL") {
        assert!(there(&format!("SELECT 1 FROM pg_indexes WHERE indexname = '{index}'")) || warned(&index), "index {index}");
    }
    for view in names("SELECT name FROM sqlite_schema WHERE type = 'view'") {
        assert!(there(&format!("SELECT 1 FROM pg_views WHERE viewname = '{view}'")) != warned(&view), "view {view}");
    }
    for trigger in names("SELECT name FROM sqlite_schema WHERE type = 'trigger'") {
        assert!(there(&format!("SELECT 1 FROM pg_trigger WHERE tgname = '{trigger}'")) != warned(&trigger), "trigger {trigger}");
    }
    let keys: usize = names(
        "SELECT count(DISTINCT f.id) || '' FROM pragma_table_list l, pragma_foreign_key_list(l.name) f WHERE l.type = 'table' GROUP BY l.name",
    )
    .iter()
    .map(|count| count.parse::<usize>().unwrap())
    .sum();
    let made: usize = migrated
        .database
        .value("SELECT count(*) FROM pg_constraint WHERE contype = 'f' AND connamespace = 'public'::regnamespace")
        .parse()
        .unwrap();
    let missing = migrated.warnings().iter().filter(|(head, _)| head.starts_with("loss foreign_key_missing")).count();
    assert_eq!(keys, made + missing);
    assert_eq!(missing, 1);

    let reasons: Vec<&str> =
        migrated.report["exit_reasons"].as_array().unwrap().iter().filter_map(|reason| reason["code"].as_str()).collect();
    assert!(reasons.contains(&"rows_rejected") && reasons.contains(&"foreign_key_missing"), "{reasons:?}");
    let losses = migrated.report["warnings"].as_array().unwrap().iter().filter(|warning| warning["severity"] == "loss").count();
    assert_eq!(migrated.todo().matches("\n-- foreign key ").count() + migrated.todo().matches("\n-- view ").count(), losses);
}
