//! Foreign keys between columns of different types: what they cost, and what they never cost.

use crate::support::{Case, Database, Output};

fn migrated(sql: &str) -> (Database, Output) {
    let database = Database::fresh();
    let case = Case::new("foreign keys").source_sql(&format!("PRAGMA foreign_keys = OFF; {sql}")).database(&database);
    let output = case.run("migrate {source} {url} --json --rejects {dir}/rejects");
    (database, output)
}

fn type_of(database: &Database, table: &str, column: &str) -> String {
    database.value(&format!(
        "SELECT format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = '{table}'::regclass AND attname = '{column}'"
    ))
}

#[test]
fn a_column_with_two_keys_to_decimals_of_other_limits() {
    let (database, output) = migrated(
        "CREATE TABLE p1(code DECIMAL(5,2) PRIMARY KEY); CREATE TABLE p2(code DECIMAL(7,2) PRIMARY KEY);
         CREATE TABLE c(id INTEGER PRIMARY KEY, code DECIMAL(9,2) REFERENCES p1(code), FOREIGN KEY(code) REFERENCES p2(code));
         INSERT INTO p1 VALUES (1.5); INSERT INTO p2 VALUES (1.5); INSERT INTO c VALUES (1, 1.5);",
    );
    assert_eq!(output.exit(0).json()["outcome"], "clean");
    assert_eq!(type_of(&database, "c", "code"), "numeric(9,2)");
    assert_eq!(
        database.value("SELECT count(*) FROM pg_constraint WHERE contype = 'f' AND connamespace = 'public'::regnamespace AND convalidated"),
        "2"
    );
}

#[test]
fn a_key_narrows_no_decimal_of_its_child() {
    let (database, output) = migrated(
        "CREATE TABLE p(code DECIMAL(5,2) PRIMARY KEY); CREATE TABLE c(id INTEGER PRIMARY KEY, code DECIMAL(10,2) REFERENCES p(code));
         INSERT INTO p VALUES (1.5); INSERT INTO c VALUES (1, 1.5), (2, 12345.67);",
    );
    // The orphan leaves the key NOT VALID, and is there.
    assert_eq!(output.exit(0).json()["rows_rejected"], 0);
    assert_eq!(database.rows("SELECT code FROM c ORDER BY id"), ["1.50", "12345.67"]);
    assert_eq!(database.value("SELECT convalidated FROM pg_constraint WHERE contype = 'f' AND connamespace = 'public'::regnamespace"), "f");
}

#[test]
fn a_key_takes_no_ids_from_its_parent() {
    let (database, output) = migrated(
        "CREATE TABLE p(id INTEGER PRIMARY KEY, n); CREATE TABLE c(id INTEGER PRIMARY KEY, p DECIMAL(10,0) REFERENCES p(id));
         INSERT INTO p VALUES (1, 'a'), (12345678901, 'b'); INSERT INTO c VALUES (1, 1);",
    );
    assert_eq!(output.exit(0).json()["outcome"], "clean");
    assert_eq!((type_of(&database, "p", "id"), type_of(&database, "c", "p")), ("bigint".into(), "bigint".into()));
    assert_eq!(database.value("INSERT INTO p(n) VALUES ('c') RETURNING id"), "12345678902");
    assert_eq!(database.value("SELECT convalidated FROM pg_constraint WHERE contype = 'f' AND connamespace = 'public'::regnamespace"), "t");
}

#[test]
fn a_key_that_no_exact_type_serves_is_lost_and_no_row_with_it() {
    let (database, output) = migrated(
        "CREATE TABLE p(id INTEGER PRIMARY KEY, n); CREATE TABLE c(id INTEGER PRIMARY KEY, p INTEGER REFERENCES p(id));
         INSERT INTO p VALUES (1, 'a'), (9007199254740993, 'b'); INSERT INTO c VALUES (1, 1), (2, 1.5);",
    );
    let report = output.exit(1).json();
    assert_eq!(report["rows_rejected"], 0, "{report}");
    assert_eq!(database.rows("SELECT id FROM p ORDER BY 1"), ["1", "9007199254740993"]);
    assert_eq!(database.rows("SELECT p FROM c ORDER BY id"), ["1", "1.5"]);
    assert_eq!(database.value("SELECT attidentity FROM pg_attribute WHERE attrelid = 'p'::regclass AND attname = 'id'"), "d");
    let lost: Vec<&serde_json::Value> =
        report["warnings"].as_array().unwrap().iter().filter(|warning| warning["severity"] == "loss").collect();
    assert_eq!(lost.len(), 1, "{report}");
    assert_eq!((&lost[0]["code"], &lost[0]["object"]), (&"foreign_key_missing".into(), &"c.p → p".into()));
    assert!(lost[0]["message"].as_str().unwrap().contains("p is double precision and p.id is bigint"), "{report}");
}

#[test]
fn doubles_and_large_integers_meet_in_numeric_where_no_ids_are_given_out() {
    let (database, output) = migrated(
        "CREATE TABLE p(id INT PRIMARY KEY, n); CREATE TABLE c(id INTEGER PRIMARY KEY, p INTEGER REFERENCES p(id));
         INSERT INTO p VALUES (1, 'a'), (9007199254740993, 'b'); INSERT INTO c VALUES (1, 1), (2, 1.5);",
    );
    // The orphan 1.5 makes the key NOT VALID, which is weaker, not lost.
    assert_eq!(output.exit(0).json()["rows_rejected"], 0);
    assert_eq!((type_of(&database, "p", "id"), type_of(&database, "c", "p")), ("numeric".into(), "numeric".into()));
    assert_eq!(database.rows("SELECT id FROM p ORDER BY 1"), ["1", "9007199254740993"]);
}
