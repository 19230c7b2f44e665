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
    let events: Vec<Json> =
        output.stderr.lines().filter(|line| line.starts_with('{')).map(|line| serde_json::from_str(line).unwrap()).collect();
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
    }
    let seconds: Vec<f64> = events.iter().map(|event| event["seconds"].as_f64().unwrap()).collect();
    assert!(seconds.is_sorted(), "{output}");
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
