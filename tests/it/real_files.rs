//! Whole files as applications write them: those of `CANDLEFISH_FILES`, a folder (`cargo xtask matrix --files DIR`), beside the fixtures and the forty
//! modes. Of each every row arrives or is set aside, every object is there or named, and a dry run knows it.

use std::collections::BTreeSet;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use serde_json::Value as Json;

use crate::support::{Case, Database, fixture};

/// Every file of SQLite's below the folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if is_of_sqlite(&path) {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn is_of_sqlite(path: &Path) -> bool {
    let mut head = Vec::new();
    fs::File::open(path).unwrap().take(16).read_to_end(&mut head).unwrap();
    head == b"SQLite format 3\0"
}

/// `severity code object` of what is lost or weaker.
fn losses(report: &Json) -> BTreeSet<String> {
    let all = report["warnings"].as_array().unwrap().iter().filter(|warning| warning["severity"] != "note");
    all.map(|warning| format!("{} {} {}", warning["severity"], warning["code"], warning["object"])).collect()
}

fn moves(case: Case) {
    let database = Database::fresh();
    let case = case.database(&database);
    let planned = case.run("migrate {source} --to {url} --mapping derive --dry-run --json");
    let run = case.run("migrate {source} --to {url} --mapping derive --json");
    assert!(run.code == planned.code && matches!(run.code, Some(0 | 1)), "{planned}\n{run}");
    let (plan, report) = (planned.json(), run.json());
    // Over large tables, what reading a view comes to is not foretold.
    let is_foretold = !plan["warnings"].as_array().unwrap().iter().any(|warning| warning["code"] == "views_not_foretold");
    let foretold = |report: &Json| {
        let is_told = |said: &String| is_foretold || !said.contains("view_unreadable");
        losses(report).into_iter().filter(is_told).collect::<BTreeSet<_>>()
    };
    assert_eq!(foretold(&plan), foretold(&report), "{planned}\n{run}");
    let source = rusqlite::Connection::open(case.source_path()).unwrap();
    for table in report["tables"].as_array().unwrap() {
        let name = table["source"].as_str().unwrap().replace('"', "\"\"");
        let rows: i64 = source.query_row(&format!("SELECT count(*) FROM \"{name}\""), [], |row| row.get(0)).unwrap();
        let (written, rejected) = (table["rows_written"].as_i64().unwrap(), table["rows_rejected"].as_i64().unwrap());
        let there = database.value(&format!("SELECT count(*) FROM {}", table["target"].as_str().unwrap()));
        assert_eq!((rows, there), (written + rejected, written.to_string()), "{table:#}");
        assert_ne!(table["verified"], false, "{table:#}");
    }
    drop(source);
    case.run("verify {source} --to {url} --schema-objects --json").exit(0);
}

#[test]
fn files_go_over_whole() {
    let modes = include_str!("failure-modes.sql");
    moves(Case::new("the forty modes").source_sql(&format!("PRAGMA foreign_keys = OFF; {modes}")));
    for name in ["registry-v1", "registry-v2"] {
        let sql = fs::read_to_string(fixture(name).join("source.sql")).unwrap();
        moves(Case::new(name).source_sql(&format!("PRAGMA foreign_keys = OFF; {sql}")));
    }
    let Some(folder) = std::env::var_os("CANDLEFISH_FILES") else { return };
    let files = files(Path::new(&folder));
    assert!(!files.is_empty(), "no file of SQLite's is below {}", folder.display());
    for file in files {
        let case = Case::new(&file.display().to_string());
        // The file itself is not opened: SQLite may write beside it.
        let copy = case.dir().join("source.db");
        fs::copy(&file, &copy).unwrap();
        moves(case.source_file(copy));
    }
}
