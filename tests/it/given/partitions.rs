//! The foreign key of a given table that is made of partitions, where the rows that come break it.

use serde_json::Value as Json;

use super::{foretold, losses};
use crate::server::{Server, versions};
use crate::support::{Case, Database};

const GIVEN: &str = "CREATE TABLE p (id bigint PRIMARY KEY);
    CREATE TABLE c (id bigint PRIMARY KEY, p_id bigint CONSTRAINT c_p REFERENCES p) PARTITION BY RANGE (id);
    CREATE TABLE c_1 PARTITION OF c FOR VALUES FROM (0) TO (100); CREATE SCHEMA other;
    CREATE TABLE other.c_2 PARTITION OF c FOR VALUES FROM (100) TO (200) PARTITION BY RANGE (id);
    CREATE TABLE c_3 PARTITION OF other.c_2 FOR VALUES FROM (100) TO (150);";

/// The same keys as the given tables have.
fn source(rows: &str) -> String {
    format!(
        "PRAGMA foreign_keys = off; CREATE TABLE p (id INTEGER NOT NULL PRIMARY KEY); CREATE TABLE c (id INTEGER NOT NULL PRIMARY KEY, p_id INTEGER REFERENCES p(id));
         INSERT INTO p VALUES (1); {rows}"
    )
}

const KEYS: &str = "SELECT conrelid::regclass, convalidated FROM pg_constraint WHERE conname = 'c_p' AND conparentid = 0 ORDER BY 1";

fn notes(report: &Json) -> Vec<&str> {
    let all = report["warnings"].as_array().unwrap().iter().filter(|warning| warning["severity"] == "note");
    all.map(|warning| warning["code"].as_str().unwrap()).filter(|code| code.starts_with("foreign_key")).collect()
}

/// What is lost, but for the ids that nothing counts in given tables.
fn lost(report: &Json) -> Vec<String> {
    losses(report).into_iter().filter(|loss| !loss.contains("no identity")).collect()
}

#[test]
fn a_key_that_stands_on_each_partition_is_not_missing() {
    let database = Database::fresh();
    database.execute(GIVEN);
    let case = Case::new("keys of partitions").source_sql(&source("INSERT INTO c VALUES (1, 1), (2, 7), (120, 8)")).database(&database);
    let (plan, report) = foretold(&case, &database, "");
    let said = "\"foreign_key_not_valid\" \"c.c_p\" \"is NOT VALID: 2 rows have no parent (id 2 → 7; id 120 → 8)\"";
    assert_eq!((lost(&plan), lost(&report)), (vec![said.to_string()], vec![said.to_string()]), "{report:#}");
    assert_eq!((notes(&plan), notes(&report)), (vec!["foreign_key_by_partition"], vec!["foreign_key_by_partition"]), "{plan:#}");
    assert_eq!(database.rows(KEYS), ["c_1|f", "c_3|f"]);
    case.run("verify {source} {url} --schema-objects").exit(0);
    // One that is not on all of them is.
    database.execute("ALTER TABLE c_3 DROP CONSTRAINT c_p");
    case.run("verify {source} {url} --schema-objects").exit(1).stdout_has("c.p_id → p");
}

#[test]
fn from_postgresql_18_on_the_whole_has_the_key_and_is_not_valid() {
    for (version, bin) in versions() {
        let server = Server::start(&bin, &[]);
        server.rows(GIVEN);
        let case = Case::new("keys of partitions").source_sql(&source("INSERT INTO c VALUES (1, 1), (2, 7), (120, 8)"));
        let url = server.url();
        let planned = case.run(&format!("migrate {{source}} {url} --dry-run --json"));
        let run = case.run(&format!("migrate {{source}} {url} --json"));
        assert_eq!(planned.code, run.code, "{version}: {planned}\n{run}");
        let (plan, report) = (planned.json(), run.json());
        assert_eq!((losses(&plan), notes(&plan)), (losses(&report), notes(&report)), "{version}: {plan:#}\n{report:#}");
        let is_whole = version.parse::<u32>().unwrap() >= 18;
        let keys = if is_whole { vec!["c|f"] } else { vec!["c_1|f", "c_3|f"] };
        assert_eq!(server.rows(KEYS), keys, "{version}: {report:#}");
        case.run(&format!("verify {{source}} {url} --schema-objects")).exit(0);
        // So it stays when the next orphan comes.
        rusqlite::Connection::open(case.source_path())
            .unwrap()
            .execute_batch("PRAGMA foreign_keys = off; INSERT INTO c VALUES (3, 9)")
            .unwrap();
        let planned = case.run(&format!("migrate {{source}} {url} --refresh --dry-run --json")).exit(0).json();
        let report = case.run(&format!("migrate {{source}} {url} --refresh --json")).exit(0).json();
        assert_eq!(losses(&planned), losses(&report), "{version}: {report:#}");
        assert_eq!(losses(&report).len(), keys.len(), "{version}: {report:#}");
        assert_eq!(server.rows(KEYS), keys, "{version}: {report:#}");
    }
}

#[test]
fn a_refresh_leaves_the_key_as_a_copy_does() {
    let database = Database::fresh();
    database.execute(&format!(
        "{GIVEN} CREATE TABLE own (id bigint PRIMARY KEY, p_id bigint CONSTRAINT own_p REFERENCES p) PARTITION BY RANGE (id);
         CREATE TABLE own_1 PARTITION OF own FOR VALUES FROM (0) TO (100)"
    ));
    let case = Case::new("refreshed partitions").source_sql(&source("INSERT INTO c VALUES (1, 1)")).database(&database);
    let change = |sql: &str| {
        let sql = format!("PRAGMA foreign_keys = off; {sql}");
        rusqlite::Connection::open(case.source_path()).unwrap().execute_batch(&sql).unwrap();
    };
    case.run("migrate {source} {url}").exit(0);
    change("INSERT INTO c VALUES (2, 7), (120, 8)");
    for flags in ["--strict", ""] {
        let planned = case.run(&format!("migrate {{source}} {{url}} --refresh --dry-run --json {flags}"));
        planned.exit(if flags.is_empty() { 0 } else { 1 });
    }
    let planned = case.run("migrate {source} {url} --refresh --dry-run --json").exit(0).json();
    let report = case.run("migrate {source} {url} --refresh --json").exit(0).json();
    let said = "\"foreign_key_not_valid\" \"c.c_p\" \"is NOT VALID: 2 rows have no parent (id 2 → 7; id 120 → 8)\"";
    assert_eq!((losses(&planned), losses(&report)), (vec![said.to_string()], vec![said.to_string()]), "{planned:#}\n{report:#}");
    assert_eq!((notes(&planned), notes(&report)), (vec!["foreign_key_by_partition"], vec!["foreign_key_by_partition"]), "{report:#}");
    assert_eq!(database.rows(KEYS), ["c_1|f", "c_3|f"]);
    // The next one names each that is left.
    let again = losses(&case.run("migrate {source} {url} --refresh --json").exit(0).json());
    assert_eq!(again.len(), 2, "{again:?}");
    assert!(again[0].contains("\"c_1.c_p\" \"is still NOT VALID") && again[1].contains("\"c_3.c_p\" \"is still NOT VALID"), "{again:?}");
    // That of a table that the source has nothing of stops everything.
    database.execute("INSERT INTO own VALUES (1, 1)");
    change("DELETE FROM p WHERE id = 1");
    for flags in ["--dry-run", "--yes"] {
        let error = case.run(&format!("migrate {{source}} {{url}} --refresh --json {flags}")).exit(2).json()["error"].clone();
        assert_eq!(error["code"], "foreign_key_broken", "{error}");
    }
    assert_eq!(database.rows("SELECT id FROM p"), ["1"]);
}
