//! What `verify` compares: all that the source has, but for what the run was told to leave out, and beside the rows that the target had.

use serde_json::{Value as Json, json};

use crate::support::{Case, Database};

const SHOP: &str = "CREATE TABLE users(id INTEGER PRIMARY KEY, name TEXT, secret TEXT);
    CREATE TABLE orders(id INTEGER PRIMARY KEY, total REAL); CREATE TABLE logs(id INTEGER PRIMARY KEY, line TEXT);
    CREATE TABLE audit(id INTEGER PRIMARY KEY, what TEXT);
    INSERT INTO users VALUES (1, 'ann', 's'), (2, 'bob', 't'); INSERT INTO orders VALUES (1, 7.5);
    INSERT INTO logs VALUES (1, 'x'); INSERT INTO audit VALUES (1, 'y');";

fn change(case: &Case, sql: &str) {
    rusqlite::Connection::open(case.source_path()).unwrap().execute_batch(sql).unwrap();
}

#[test]
fn a_table_or_column_that_no_run_has_copied_is_a_difference() {
    let database = Database::fresh();
    let case = Case::new("gained").source_sql(SHOP).database(&database);
    case.run("migrate {source} {url}").exit(0);
    database.execute("ALTER TABLE users ADD COLUMN ours int DEFAULT 5; CREATE TABLE ours (a int)");
    let same = case.run("verify {source} {url} --schema-objects --json").exit(0).json();
    assert_eq!((&same["outcome"], &same["left_out"]), (&json!("identical"), &json!([])), "what the target has besides is its own");
    change(
        &case,
        "ALTER TABLE users ADD COLUMN email TEXT; CREATE TABLE invoices(id INTEGER PRIMARY KEY); INSERT INTO invoices VALUES (1)",
    );
    for flags in ["", "--schema-objects", "-q", "--sample 50%"] {
        let found = case.run(&format!("verify {{source}} {{url}} --json {flags}")).exit(1).json();
        assert_eq!((&found["outcome"], &found["differences_total"]), (&json!("different"), &json!(2)), "{flags}");
        let problems: Vec<_> = found["tables"].as_array().unwrap().iter().filter(|table| table["identical"] == false).collect();
        assert_eq!(problems[0]["problems"], json!(["column \"email\" is in the source alone: no run has copied it"]));
        assert_eq!(problems[1]["problems"], json!(["table \"invoices\" is in the source alone: no run has copied it"]));
        assert_eq!((&problems[1]["source"], &problems[1]["target"]), (&json!("invoices"), &json!(null)));
    }
    let shown = case.run("verify {source} {url} -q").exit(1);
    shown.stdout_has("column \"email\" is in the source alone").stdout_has("invoices\n  table \"invoices\" is in the source alone");
    case.run("verify {source} {url} --exclude users --exclude invoices").exit(0);
}

#[test]
fn what_was_left_out_on_purpose_is_shown_and_is_no_difference() {
    let database = Database::fresh();
    let case = Case::new("left out").source_sql(SHOP).database(&database);
    std::fs::write(case.dir().join("m.toml"), "[tables.users.columns.secret]\nskip = true\n").unwrap();
    case.run("migrate {source} {url} --mapping {dir}/m.toml --exclude audit --exclude-data logs").exit(0);
    let found = case.run("verify {source} {url} --json").exit(0).json();
    assert_eq!(found["outcome"], "identical");
    assert_eq!(
        found["left_out"],
        json!([
            {"table": "users", "column": "secret", "what": "column"},
            {"table": "logs", "column": null, "what": "rows"},
            {"table": "audit", "column": null, "what": "table"},
        ])
    );
    assert_eq!(found["tables"].as_array().unwrap().len(), 2);
    let shown = case.run("verify {source} {url} --schema-objects").exit(0);
    shown.stdout_has("left out, as the last run was told: column users.secret, the rows of logs, table audit");
    // One part after the other: what the first run brought is compared, though the last one leaves it out.
    case.run("migrate {source} {url} --include audit").exit(0);
    let both = case.run("verify {source} {url} --json").exit(0).json();
    assert_eq!(both["tables"].as_array().unwrap().len(), 3);
    database.execute("UPDATE users SET name = 'Bob' WHERE id = 2");
    case.run("verify {source} {url}").exit(1).stdout_has("'bob'");
    // A refresh brings rows alone, and none of what is left out.
    case.run("migrate {source} {url} --refresh --yes --exclude audit --mapping {dir}/m.toml").exit(0);
    let refreshed = case.run("verify {source} {url} --json").exit(0).json();
    assert_eq!(refreshed["left_out"].as_array().unwrap().len(), 2);
    assert_eq!(database.value("SELECT count(*) FROM logs"), "0");
}

#[test]
fn rows_that_the_target_had_are_told_from_rows_that_differ() {
    let database = Database::fresh();
    database.execute(
        "CREATE TABLE users (id int PRIMARY KEY, name text, secret text); INSERT INTO users VALUES (2, 'old', ''), (9, 'own', '')",
    );
    let case = Case::new("kept").source_sql(SHOP).database(&database);
    let run = case.run("migrate {source} {url} --include users --existing keep --json").exit(1).json();
    assert_eq!(run["tables"][0]["verified"], json!(true), "{run}");
    let found = case.run("verify {source} {url} --include users --json").exit(0).json();
    let table = &found["tables"][0];
    assert_eq!((&table["identical"], &table["rows_kept"], &table["rows_set_aside"]), (&json!(true), &json!(2), &json!(1)));
    case.run("verify {source} {url} --include users").exit(0).stdout_has("identical beside 2 rows that were kept");
    // A retry keeps what the run before it kept.
    let rejects = case.dir().join(run["rejects_dir"].as_str().unwrap());
    case.run(&format!("migrate {{source}} {{url}} --include users --retry-rejects {}", rejects.display())).exit(1);
    case.run("verify {source} {url} --include users").exit(0).stdout_has("identical beside 2 rows that were kept");
    // Those that came later are none that the run has kept.
    database.execute("INSERT INTO users VALUES (10, 'later', '')");
    let found = case.run("verify {source} {url} --include users").exit(1);
    found.stdout_has("3 rows are in PostgreSQL alone, where the run has kept 2");
    database.execute("DELETE FROM users WHERE id = 10");
    database.execute("UPDATE users SET name = 'Ann' WHERE id = 1");
    let found = case.run("verify {source} {url} --include users --json").exit(1).json();
    assert_eq!((&found["differences_total"], &found["tables"][0]["differences"][0]["kind"]), (&json!(1), &json!("changed")));
}

/// As many as were set aside may be others than those that were.
#[test]
fn rows_that_were_set_aside_are_known_by_what_they_are_whichever_run_did_it() {
    let database = Database::fresh();
    let case = Case::new("known aside")
        .source_sql(
            "CREATE TABLE a (id INTEGER PRIMARY KEY, s TEXT); INSERT INTO a VALUES (1, 'x'), (2, 'y' || char(0));
             CREATE TABLE keyless (s TEXT); INSERT INTO keyless VALUES ('x'), ('y' || char(0)), ('y' || char(0));",
        )
        .database(&database);
    for table in ["a", "keyless"] {
        case.run(&format!("migrate {{source}} {{url}} --include {table}")).exit(1);
    }
    let set_aside = |exit: i32| {
        let found = case.run("verify {source} {url} --json").exit(exit).json();
        let of = |table: &Json| (table["rows_set_aside"].as_u64().unwrap(), table["differences_total"].as_u64().unwrap());
        let mut tables: Vec<_> = found["tables"].as_array().unwrap().iter().map(|table| (table["source"].to_string(), of(table))).collect();
        tables.sort();
        (tables[0].1, tables[1].1, found)
    };
    let (a, keyless, found) = set_aside(0);
    assert_eq!((a, keyless), ((1, 0), (2, 0)), "{found}");
    change(&case, "UPDATE a SET id = 3 WHERE id = 2; UPDATE keyless SET s = 'z' || char(0) WHERE rowid = 2");
    let (a, keyless, found) = set_aside(1);
    assert_eq!((a, keyless), ((0, 1), (1, 1)), "{found}");
    assert!(found.to_string().contains(r#"{"column":"s","source":"z\u0000","target":null}"#), "{found}");
    // A refresh sets aside what it finds, and what comes after that is new again.
    case.run("migrate {source} {url} --refresh --yes").exit(1);
    let (a, keyless, found) = set_aside(0);
    assert_eq!((a, keyless), ((1, 0), (2, 0)), "{found}");
    change(&case, "UPDATE a SET id = 4 WHERE id = 3; INSERT INTO keyless VALUES ('new' || char(0))");
    let (a, keyless, found) = set_aside(1);
    assert_eq!((a, keyless), ((0, 1), (2, 1)), "{found}");
}

#[test]
fn what_cannot_be_read_is_not_called_identical() {
    let database = Database::fresh();
    let case = Case::new("unreadable")
        .source_sql(
            "CREATE TABLE t(id INTEGER PRIMARY KEY); CREATE VIRTUAL TABLE f USING fts4(content=\"\", a); INSERT INTO f(docid, a) VALUES (1, 'x');",
        )
        .database(&database);
    case.run("migrate {source} {url}").exit(1).stdout_has("LOSS    f cannot be read");
    let found = case.run("verify {source} {url} --json").exit(0).json();
    assert_eq!((&found["outcome"], &found["tables"][0]["identical"]), (&json!("no_difference_found"), &json!(true)));
    assert!(found["notes"][0].as_str().unwrap().starts_with("table \"f\" was not compared: it cannot be read"), "{found}");
}
