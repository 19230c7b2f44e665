//! `candlefish schema`: two histories, each migration once, and concurrent indexes that heal.

use std::fs;
use std::process::Child;

use crate::support::{Case, Database};

/// A case whose folder `{dir}/migrations` holds these files.
fn case(name: &str, database: &Database, files: &[(&str, &str)]) -> Case {
    let case = Case::new(name).database(database);
    add(&case, files);
    case
}

fn add(case: &Case, files: &[(&str, &str)]) {
    for (path, sql) in files {
        let path = case.dir().join("migrations").join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, sql).unwrap();
    }
}

const APPLY: &str = "schema apply --to {url} --migrations {dir}/migrations";
const STATUS: &str = "schema status --to {url} --migrations {dir}/migrations --format csv";
const TABLE: (&str, &str) = ("schema/V1__orders.sql", "CREATE TABLE orders (id bigint PRIMARY KEY, total numeric);");
const INDEX: (&str, &str) =
    ("indexes/V1__totals.sql", "-- candlefish: no-transaction\nCREATE INDEX CONCURRENTLY IF NOT EXISTS orders_total ON orders (total);");

#[test]
fn the_registry_is_applied_once_and_then_up_to_date() {
    let database = Database::fresh();
    let case = Case::new("registry").database(&database);
    case.run("schema status --to {url}").exit(2).stderr_has("no migrations are named");
    case.run("schema status --to {url} --mapping registry").exit(1).stdout_has("schema   V1__services                  pending");
    case.run("schema apply --to {url} --mapping registry --dry-run").exit(0).stdout_has("indexes  V4__running_services");
    assert_eq!(database.value("SELECT count(*) FROM pg_class WHERE relname = 'services'"), "0");

    case.run("schema apply --to {url} --mapping registry").exit(0).stdout_has("indexes  V4__running_services");
    // From here on the history says which migrations are meant.
    case.run("schema apply --to {url}").exit(0).stderr_has("up to date: nothing to apply");
    let status = case.run("schema status --to {url} --json").exit(0);
    let document: serde_json::Value = serde_json::from_str(&status.stdout).unwrap();
    assert_eq!(document["up_to_date"], true);
    assert_eq!(document["migrations"].as_array().unwrap().len(), 8);
    case.run("schema refresh --to {url} --format csv").exit(0).stdout_has("dashboard_service_health");
    assert_eq!(database.value("SELECT legacy_uuid('users', 1)"), "75736572-7300-8000-8000-000000000001");
}

#[test]
fn an_edit_moves_updated_at_and_a_probe_does_not() {
    let database = Database::fresh();
    Case::new("updated_at").database(&database).run("schema apply --to {url} --mapping registry").exit(0);
    database.execute("INSERT INTO services (name, port, updated_at) VALUES ('api', 3501, '2025-01-01')");
    let touched = || database.value("SELECT updated_at > '2025-01-02' FROM services");
    database.execute("UPDATE services SET last_health_check = now(), health_status = 'healthy'");
    assert_eq!(touched(), "f");
    database.execute("UPDATE services SET port = 3502");
    assert_eq!(touched(), "t");
    database.execute("UPDATE services SET port = 3503, updated_at = '2025-01-01'");
    assert_eq!(touched(), "f");
}

#[test]
fn schemas_of_one_database_have_histories_of_their_own() {
    let database = Database::fresh();
    let case = case("schemas", &database, &[TABLE, INDEX]);
    case.run(APPLY).exit(0);
    case.run(&format!("{APPLY} --schema app")).exit(2).stderr_has("schema \"app\" does not exist");
    case.run(&format!("{APPLY} --schema app --create-schema")).exit(0);
    assert_eq!(database.rows("SELECT schemaname FROM pg_indexes WHERE indexname = 'orders_total' ORDER BY 1"), ["app", "public"]);
}

#[test]
fn a_new_table_follows_a_shipped_index() {
    let database = Database::fresh();
    let case = case("new table", &database, &[TABLE, INDEX]);
    case.run(APPLY).exit(0);
    add(
        &case,
        &[
            ("schema/V2__customers.sql", "CREATE TABLE customers (id bigint PRIMARY KEY, name text);"),
            ("indexes/V2__names.sql", "CREATE INDEX customers_name ON customers (name);"),
        ],
    );
    case.run(STATUS).exit(1).stdout_has("schema,V2__customers,pending").stdout_has("indexes,V2__names,pending");
    case.run(&format!("{APPLY} --up-to 2")).exit(0).stdout_has("V2__customers");
    case.run(STATUS).exit(1).stdout_has("indexes,V2__names,pending");
    case.run(APPLY).exit(0).stdout_has("V2__names");
    case.run(STATUS).exit(0);
}

#[test]
fn what_changed_after_it_was_applied_stops_the_next_run() {
    let database = Database::fresh();
    let case = case("divergent", &database, &[TABLE, INDEX]);
    case.run(APPLY).exit(0);
    add(&case, &[("schema/V1__orders.sql", "CREATE TABLE orders (id bigint);"), ("schema/V2__next.sql", "CREATE TABLE next ();")]);
    case.run(STATUS).exit(1).stdout_has("schema,V1__orders,divergent");
    case.run(APPLY)
        .exit(2)
        .stderr_has("schema/V1__orders: the file was changed after it had been applied")
        .stderr_has("hint: Restore the file");
    assert_eq!(database.value("SELECT to_regclass('next')"), "");

    fs::remove_file(case.dir().join("migrations/schema/V1__orders.sql")).unwrap();
    case.run(STATUS).exit(1).stdout_has("schema,V1__orders,missing");
    case.run(APPLY).exit(2).stderr_has("it was applied, and its file is gone");

    add(&case, &[TABLE]);
    case.run(APPLY).exit(0);
    add(&case, &[("schema/V0__late.sql", "CREATE TABLE late ();")]);
    case.run(APPLY).exit(2).stderr_has("schema/V0__late: the file came after V2 had been applied");
}

#[test]
fn an_error_names_the_file_and_the_line() {
    let database = Database::fresh();
    let files = [TABLE, ("schema/V2__bad.sql", "CREATE TABLE good ();\n\nCREATE TABLE bad (\n  x nonsense\n);")];
    let case = case("error", &database, &files);
    let failed = case.run(&format!("{APPLY} --json")).exit(2).stderr_has("schema/V2__bad.sql, line 4: type \"nonsense\" does not exist");
    let document: serde_json::Value = serde_json::from_str(&failed.stdout).unwrap();
    assert_eq!(document["error"]["code"], "migration_failed");
    assert_eq!(document["error"]["sqlstate"], "42704");
    assert_eq!(document["error"]["target_changed"], true);
    // The file is one transaction: nothing of it stayed.
    assert_eq!(database.value("SELECT to_regclass('orders') IS NOT NULL AND to_regclass('good') IS NULL"), "t");

    add(&case, &[("schema/V2__bad.sql", "CREATE INDEX CONCURRENTLY i ON orders (total);")]);
    case.run(APPLY).exit(2).stderr_has("hint: Make `-- candlefish: no-transaction` the first line of the file.");
}

#[test]
fn two_runs_at_once_apply_each_migration_once() {
    let database = Database::fresh();
    let case = case("race", &database, &[TABLE, INDEX, ("schema/V2__slow.sql", "SELECT pg_sleep(0.5); CREATE TABLE slow ();")]);
    let runs: Vec<Child> = (0..3).map(|_| start(&case, &database)).collect();
    let outputs: Vec<_> = runs.into_iter().map(|run| run.wait_with_output().unwrap()).collect();
    for output in &outputs {
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    let applied: String = outputs.iter().map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).collect();
    for migration in ["V1__orders", "V2__slow", "V1__totals"] {
        assert_eq!(applied.matches(migration).count(), 1, "{applied}");
    }
    case.run(STATUS).exit(0);
}

#[test]
fn an_interrupted_concurrent_index_is_built_again() {
    let database = Database::fresh();
    let case = case("interrupted", &database, &[TABLE]);
    case.run(APPLY).exit(0);
    add(&case, &[INDEX]);

    // An old transaction, for which the build has to wait in its middle.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (reader, connection) = runtime.block_on(tokio_postgres::connect(&database.url(), tokio_postgres::NoTls)).unwrap();
    runtime.spawn(connection);
    runtime.block_on(reader.batch_execute("BEGIN; INSERT INTO orders VALUES (1, 1)")).unwrap();

    let run = start(&case, &database);
    database.until("SELECT count(*) > 0 FROM pg_index WHERE indexrelid = to_regclass('orders_total') AND NOT indisvalid");
    database.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'CREATE INDEX CONCURRENTLY%'");
    let output = run.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(database.value("SELECT indisvalid FROM pg_index WHERE indexrelid = 'orders_total'::regclass"), "f");
    case.run(STATUS).exit(1).stdout_has("indexes,V1__totals,pending");

    runtime.block_on(reader.batch_execute("COMMIT")).unwrap();
    case.run(APPLY).exit(0).stderr_has("an interrupted run left index \"public\".\"orders_total\" invalid");
    assert_eq!(database.value("SELECT indisvalid FROM pg_index WHERE indexrelid = 'orders_total'::regclass"), "t");
    case.run(STATUS).exit(0);
}

/// `schema apply` in the background.
fn start(case: &Case, database: &Database) -> Child {
    let migrations = case.dir().join("migrations");
    case.command().args(["schema", "apply", "--to", &database.url(), "--migrations"]).arg(migrations).spawn().unwrap()
}
