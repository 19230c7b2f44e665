//! What `migrate` tells while it works, where nobody looks at a terminal.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use crate::support::{Case, Database, Output};

const SOURCE: &str = "CREATE TABLE customer (id INTEGER PRIMARY KEY, name TEXT UNIQUE);
    INSERT INTO customer VALUES (1, 'Ada'), (2, 'Grace'), (3, 'Zoë');
    CREATE TABLE purchase (id INTEGER PRIMARY KEY, customer_id INTEGER REFERENCES customer(id), total DECIMAL(10,2));
    CREATE INDEX purchase_total ON purchase(total);
    WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 40000)
        INSERT INTO purchase SELECT i, i % 3 + 1, i / 100.0 FROM n;";

fn migrate(flags: &str) -> Output {
    let database = Database::fresh();
    let case = Case::new("progress").source_sql(SOURCE).database(&database);
    case.run(&format!("migrate {{source}} --to {{url}} {flags}")).exit(0)
}

#[test]
fn events_are_lines_of_json_that_add_up() {
    let output = migrate("--progress json");
    // Every line, also those that say where the target is and what comes next.
    let events: Vec<Json> = output.stderr.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |name: &'static str| events.iter().filter(move |event| event["event"] == name);
    let mut rows: BTreeMap<(&str, &str), u64> = BTreeMap::new();
    for event in of("table_advanced") {
        *rows.entry((event["phase"].as_str().unwrap(), event["table"].as_str().unwrap())).or_default() += event["rows"].as_u64().unwrap();
    }
    assert_eq!(rows[&("copy", "purchase")], 40_000, "{output}");
    assert_eq!(rows[&("copy", "customer")], 3, "{output}");
    // What was sent is read back; of SQLite's side the digests are there.
    assert_eq!(rows[&("verify", "purchase")], 40_000, "{output}");
    let total = of("total").find(|event| event["phase"] == "copy").unwrap();
    assert_eq!((total["tables"].as_u64(), total["rows"].as_u64()), (Some(2), Some(40_003)));
    for object in ["primary key purchase.id", "index purchase.purchase_total", "unique customer.name"] {
        for event in ["object_started", "object_ended"] {
            assert_eq!(of(event).filter(|event| event["object"] == *object).count(), 1, "{event} {object}: {output}");
        }
    }
    for phase in ["inspect", "schema", "copy", "indexes", "constraints", "analyze", "verify"] {
        assert!(of("phase_started").any(|event| event["phase"] == *phase), "{phase}: {output}");
        let ended = of("phase_ended").find(|event| event["phase"] == *phase);
        assert!(ended.is_some_and(|event| event["took_seconds"].as_f64().unwrap() >= 0.0), "{phase}: {output}");
    }
    assert!(of("note").any(|event| event["text"].as_str().unwrap().starts_with("target: ")), "{output}");
    let last = events.last().unwrap();
    assert_eq!((&last["event"], &last["outcome"]), (&"ended".into(), &"clean".into()), "{output}");
    let seconds: Vec<f64> = events.iter().map(|event| event["seconds"].as_f64().unwrap()).collect();
    assert!(seconds.is_sorted(), "{output}");
}

#[test]
fn a_failure_is_an_event_and_the_end_says_so() {
    let database = Database::fresh();
    let case = Case::new("progress").source_sql(SOURCE).database(&database);
    let output = case.run("migrate {source} --to {url} --schema nowhere --progress json").exit(2);
    let events: Vec<Json> = output.stderr.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let kinds: Vec<&str> = events.iter().rev().take(3).map(|event| event["event"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["ended", "hint", "error"], "{output}");
    assert_eq!(events.last().unwrap()["outcome"], "failed", "{output}");
}

#[test]
fn the_end_is_the_last_event_also_where_the_journal_was_to_go() {
    let database = Database::fresh();
    let case = Case::new("progress").source_sql("CREATE TABLE t (a); INSERT INTO t VALUES (CAST(x'00' AS TEXT))").database(&database);
    for resume in ["", " --resume"] {
        let output = case.run(&format!("migrate {{source}} --to {{url}} --drop-journal --progress json{resume}"));
        let events: Vec<Json> = output.stderr.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let is_kept = |event: &Json| event["text"].as_str().is_some_and(|text| text.starts_with("the journal keeps run"));
        assert!(events.iter().any(is_kept), "{output}");
        assert_eq!(events.iter().filter(|event| event["event"] == "ended").count(), 1, "{output}");
        assert_eq!(events.last().unwrap()["event"], "ended", "{output}");
    }
}

#[test]
fn without_a_terminal_nothing_is_drawn() {
    let output = migrate("--color always");
    assert!(!output.stderr.contains(['\x1b', '\r', '━']), "{output}");
}

#[test]
fn quiet_is_quiet_whatever_the_progress() {
    for progress in ["auto", "plain", "json", "none"] {
        let output = migrate(&format!("-q --progress {progress}"));
        assert_eq!(output.stderr, "", "{progress}");
    }
}
