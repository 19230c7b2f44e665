//! Lists that are longer than what is shown of them: how many more there are is said.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::stats::session_at;
use crate::support::{Case, Database};

fn column<'a>(document: &'a Value, name: &str) -> BTreeSet<&'a str> {
    document["rows"].as_array().unwrap().iter().filter_map(|row| row[name].as_str()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_left_out_of_a_list_is_counted() {
    let database = Database::fresh();
    database.execute("CREATE EXTENSION pg_stat_statements");
    for table in 0..24 {
        // Dead rows, too few for autovacuum; and statements of their own.
        let columns: Vec<String> = (0..=table).map(|column| format!("c{column} int")).collect();
        database.execute(&format!(
            "CREATE TABLE t{table} ({}); INSERT INTO t{table} VALUES (1), (2); DELETE FROM t{table}; SELECT count(*) AS seen FROM t{table}",
            columns.join(", ")
        ));
    }
    let mut sessions = Vec::new();
    for number in 0..23 {
        sessions.push(session_at(&format!("{}?application_name=client_{number}", database.url())).await);
    }
    // Other tests of the server throw statements out that are seldom called.
    let statements = || {
        for table in 0..24 {
            database.execute(&format!("SELECT count(*) AS seen FROM t{table};").repeat(4));
        }
    };
    let case = Case::new("long lists").database(&database);
    let run = |line: &str| case.run(&format!("stats {line} -d {{url}}")).exit(0);
    let json = |line: &str| run(&format!("{line} --json")).json();

    // All of it, when that is asked for.
    let tables = json("tables --limit 10000");
    assert_eq!((column(&tables, "table").len(), &tables["rows_left_out"]), (24, &0.into()));
    assert_eq!(run("tables --format csv --limit 10000").stdout.lines().count(), 25);
    statements();
    assert!(json("slow-queries --min-ms 0 --limit 10000")["rows"].as_array().unwrap().len() > 24);
    let clients = json("connections --limit 10000");
    let named = |name: String| column(&clients, "name").iter().any(|there| there.contains(&format!(" {name} from")));
    assert!((0..23).all(|number| named(format!("client_{number}"))) && clients["rows_left_out"] == 0, "{clients:#}");
    assert_eq!(json("vacuum --limit 10000")["rows_left_out"], 0);

    // So many, and how many more there are.
    let few = json("tables --limit 3");
    assert_eq!((column(&few, "table").len(), &few["rows_left_out"]), (3, &21.into()));
    statements();
    let slow = json("slow-queries --min-ms 0 --limit 5");
    assert!(slow["rows"].as_array().unwrap().len() == 5 && slow["rows_left_out"].as_u64().unwrap() > 19, "{slow:#}");
    let clients = json("connections --limit 1");
    let of_clients = clients["rows"].as_array().unwrap().iter().filter(|row| row["scope"] == "client").count();
    assert!(of_clients == 1 && clients["rows_left_out"].as_u64().unwrap() >= 22, "{clients:#}");
    let vacuum = json("vacuum --limit 2");
    let of_tables = vacuum["rows"].as_array().unwrap().iter().filter(|row| row["what"] == "table").count();
    assert!(of_tables == 2 && vacuum["rows_left_out"].as_u64().unwrap() >= 20, "{vacuum:#}");
    run("tables --format csv --limit 23").stderr_has("… and 1 more table (--limit)");

    // Of findings, which kinds.
    database.execute(
        "CREATE INDEX a ON t0 (c0); CREATE INDEX b ON t0 (c0); CREATE INDEX c ON t0 (c0); CREATE INDEX d ON t0 (c0); \
         ALTER TABLE t1 ADD PRIMARY KEY (c0); ALTER TABLE t2 ADD FOREIGN KEY (c0) REFERENCES t1; ALTER TABLE t3 ADD FOREIGN KEY (c0) REFERENCES t1",
    );
    let indexes = json("indexes --limit 1");
    assert_eq!((indexes["rows"].as_array().unwrap().len(), &indexes["rows_left_out"]), (1, &4.into()), "{indexes:#}");
    run("indexes --limit 1").stdout_has("… and 4 more findings: 2 duplicate, 2 missing (--limit)");
    assert_eq!(json("indexes")["rows_left_out"], 0);
    // `doctor` counts all of them, however many that are.
    for at in 0..30 {
        database.execute(&format!("CREATE INDEX more_{at} ON t0 (c0)"));
    }
    case.run("doctor -d {url}").stdout_has("33 duplicate, 0 redundant, 2 missing");

    // 20 where nothing else is asked for, in every format.
    let tables = json("tables");
    assert_eq!((column(&tables, "table").len(), &tables["rows_left_out"]), (20, &4.into()));
    assert_eq!(run("tables --format csv").stderr_has("… and 4 more tables (--limit)").stdout.lines().count(), 21);
    run("tables").stdout_has("… and 4 more tables (--limit)");
    run("connections").stdout_has("more clients (--limit)");
    run("vacuum").stdout_has("more tables (--limit)");
    statements();
    run("slow-queries --min-ms 0").stdout_has("more statements (--limit)");
    assert!(!run("tables --limit 24").stdout.contains("more"));
    // Of rates, too.
    let rates = case.run("stats tables --over 100ms --limit 4 --json -d {url}").exit(0).json();
    assert_eq!((column(&rates, "table").len(), &rates["rows_left_out"]), (4, &20.into()));
    drop(sessions);
}
