//! `candlefish stats`: the sins of indexes, trees of locks, tables that are locked, rates and resets, pools.

use std::io::{BufRead as _, BufReader};
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio_postgres::{Client, NoTls};

use crate::server::{Server, machine};
use crate::support::{Case, Database, Output, addresses, fixture};

/// A session of its own, which can hold a lock.
pub async fn session(database: &Database) -> Client {
    session_at(&database.url()).await
}

async fn session_at(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

/// Until `sql` answers true.
async fn until(client: &Client, sql: &str) {
    let started = Instant::now();
    while !client.query_one(sql, &[]).await.unwrap().get::<_, bool>(0) {
        assert!(started.elapsed() < Duration::from_secs(20), "never true: {sql}");
        tokio::task::yield_now().await;
    }
}

fn rows(document: &Value) -> &Vec<Value> {
    document["rows"].as_array().unwrap_or_else(|| panic!("no rows in {document:#}"))
}

#[test]
fn each_sin_of_indexes_is_found_and_no_other() {
    let database = Database::fresh();
    database.execute(&std::fs::read_to_string(fixture("index-sins/postgres.sql")).unwrap());
    let document = Case::new("sins").database(&database).run("stats indexes --json -d {url}").exit(0).json();
    let found: Vec<String> = rows(&document)
        .iter()
        .map(|row| {
            [&row["finding"], &row["table"], &row["index"], &row["ddl"]].map(|cell| cell.as_str().unwrap_or("-").to_string()).join(" | ")
        })
        .collect();
    assert_eq!(
        found,
        [
            "invalid | public.customers | public.sin_invalid | REINDEX INDEX CONCURRENTLY public.sin_invalid",
            "duplicate | public.customers | public.sin_duplicate | DROP INDEX CONCURRENTLY public.sin_duplicate",
            "redundant | public.orders | public.sin_redundant | DROP INDEX CONCURRENTLY public.sin_redundant",
            "unused | public.customers | public.sin_unused | DROP INDEX CONCURRENTLY public.sin_unused",
            "missing | public.orders | - | CREATE INDEX CONCURRENTLY ON public.orders (customer_id)",
        ]
    );
    // What is proposed works, and then there is nothing left to find.
    for row in rows(&document) {
        database.execute(row["ddl"].as_str().unwrap());
    }
    Case::new("mended").database(&database).run("stats indexes -d {url}").exit(0).stderr_has("indexes: nothing to show");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_of_locks_is_a_tree_with_its_root() {
    let database = Database::fresh();
    database.execute("CREATE TABLE t (id int PRIMARY KEY, v int); INSERT INTO t VALUES (1, 0), (2, 0), (3, 0)");
    let (root, middle, leaf, tuple, watcher) =
        (session(&database).await, session(&database).await, session(&database).await, session(&database).await, session(&database).await);
    root.batch_execute("SET application_name = 'root'; BEGIN; UPDATE t SET v = 1 WHERE id = 1").await.unwrap();
    middle.batch_execute("SET application_name = 'middle'; BEGIN; UPDATE t SET v = 2 WHERE id = 2").await.unwrap();
    let waiting = |count: u32| {
        format!("SELECT count(*) = {count} FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'")
    };
    let middle = tokio::spawn(async move { middle.batch_execute("UPDATE t SET v = 2 WHERE id = 1 /* 'private' */").await });
    until(&watcher, &waiting(1)).await;
    let leaf = tokio::spawn(async move { leaf.batch_execute("SET application_name = 'leaf'; UPDATE t SET v = 3 WHERE id = 2").await });
    until(&watcher, &waiting(2)).await;
    // Waits behind `middle` for the row itself, which shows as a tuple lock.
    let tuple = tokio::spawn(async move { tuple.batch_execute("SET application_name = 'tuple'; UPDATE t SET v = 4 WHERE id = 1").await });
    until(&watcher, &waiting(3)).await;

    let case = Case::new("chain").database(&database);
    let document = case.run("stats locks --json -d {url}").exit(0).json();
    let tree: Vec<(i64, &str, i64)> = rows(&document)
        .iter()
        .filter(|row| ["root", "middle", "leaf", "tuple"].contains(&row["application"].as_str().unwrap_or_default()))
        .map(|row| (row["depth"].as_i64().unwrap(), row["application"].as_str().unwrap(), row["blocks"].as_i64().unwrap()))
        .collect();
    assert_eq!(tree[0], (0, "root", 3), "{document:#}");
    assert!(tree.contains(&(1, "middle", 2)), "{tree:?}");
    assert!(tree.contains(&(2, "leaf", 0)) && tree.iter().any(|(depth, name, _)| *depth == 2 && *name == "tuple"), "{tree:?}");
    let of = |name: &str| rows(&document).iter().find(|row| row["application"] == name).unwrap();
    assert_eq!(of("root")["remedy"], format!("SELECT pg_terminate_backend({})", of("root")["pid"]));
    assert!(of("middle")["wait"].as_str().unwrap().contains("ShareLock on a row of transaction"), "{}", of("middle"));
    assert_eq!(of("tuple")["wait"], "ExclusiveLock on a row of public.t");
    assert!(!document.to_string().contains("private") && of("leaf")["query"].as_str().unwrap().contains("v = ? WHERE"));
    case.run("stats locks --show-literals -d {url}").exit(0).stdout_has("v = 3 WHERE id = 2");

    // What the remedy says to run ends it.
    watcher.execute(of("root")["remedy"].as_str().unwrap(), &[]).await.unwrap();
    drop(root);
    let _ = middle.await.unwrap();
    let _ = tokio::join!(leaf, tuple);
    case.run("stats activity -d {url}").exit(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_is_locked_is_skipped_and_said_within_a_second() {
    let database = Database::fresh();
    database.execute(
        "CREATE EXTENSION pg_stat_statements; CREATE TABLE held (id int PRIMARY KEY); CREATE TABLE wanted (id int PRIMARY KEY); CREATE TABLE free (id int PRIMARY KEY, v int); \
         CREATE INDEX ON free (v); INSERT INTO free SELECT i, i FROM generate_series(1, 1000) i; ANALYZE",
    );
    let (holder, reader, waiter, watcher) =
        (session(&database).await, session(&database).await, session(&database).await, session(&database).await);
    holder.batch_execute("BEGIN; LOCK TABLE held IN ACCESS EXCLUSIVE MODE").await.unwrap();
    // One that only waits for its lock keeps everybody who comes later waiting, too.
    reader.batch_execute("BEGIN; SELECT * FROM wanted").await.unwrap();
    let waiter = tokio::spawn(async move { waiter.batch_execute("BEGIN; LOCK TABLE wanted IN ACCESS EXCLUSIVE MODE").await });
    until(&watcher, "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND relation = 'wanted'::regclass)").await;

    let case = Case::new("locked").database(&database);
    for name in ["tables", "indexes", "all", ""] {
        let started = Instant::now();
        let output = case.run(&format!("stats {name} --json -d {{url}}")).exit(0);
        // All of them together have no limit but the sum of theirs.
        assert!(name == "all" || started.elapsed() < Duration::from_secs(1), "stats {name} took {:?}", started.elapsed());
        if name == "tables" {
            let document = output.json();
            let of = |name: &str| rows(&document).iter().find(|row| row["table"] == name).unwrap();
            assert!(of("public.held")["size_bytes"].is_null() && of("public.wanted")["size_bytes"].is_null());
            assert!(of("public.free")["size_bytes"].as_i64().unwrap() > 0);
            assert!(of("public.held")["locked_by"].is_number());
            let notes = document["notes"].to_string();
            assert!(notes.contains("skipped public.held") && notes.contains("skipped public.wanted"), "{notes}");
        }
    }
    drop((holder, reader));
    let _ = waiter.await.unwrap();
}

#[test]
fn watching_shows_rates_and_notices_a_reset() {
    let database = Database::fresh();
    database.execute("CREATE EXTENSION pg_stat_statements; CREATE TABLE t AS SELECT i FROM generate_series(1, 1000) i");
    let case = Case::new("watch").database(&database);
    let mut command = case.command();
    let words = ["stats", "slow-queries", "tables", "--watch", "300ms", "--count", "500", "--min-ms", "0", "--json", "-d"];
    let mut child = command.args(words).arg(database.url()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map(|line| serde_json::from_str::<Value>(&line.unwrap()).unwrap());
    let (mut scans_seen, mut reset_seen) = (false, false);
    for document in lines {
        assert_eq!((&document["schema_version"], document["at"].is_string()), (&Value::from(1), true));
        let slow = &document["stats"][0];
        for row in rows(slow) {
            assert!(row["calls_per_s"].as_f64().is_none_or(|rate| (0.0..1e6).contains(&rate)), "{row:#}");
            scans_seen |= row["query"].as_str().unwrap_or_default().contains("count(*) FROM t") && row["mean_ms"].as_f64().is_some();
        }
        if slow["notes"].to_string().contains("were reset") {
            reset_seen = true;
        }
        if scans_seen && reset_seen {
            break;
        }
        if scans_seen {
            database.execute(&format!(
                "SELECT pg_stat_statements_reset(0, (SELECT oid FROM pg_database WHERE datname = '{}'), 0); SELECT 1",
                database.name
            ));
        }
        database.rows("SELECT count(*) FROM t");
    }
    assert!(scans_seen && reset_seen);
    // SIGTERM is the normal end.
    terminate(child.id());
    assert_eq!(child.wait().unwrap().code(), Some(0));
    case.run("stats tables --watch 200ms --count 2 -d {url}").exit(0).stdout_has("seq scans/s");
    case.run("stats slow-queries --over 200ms --min-ms 0 -d {url}").exit(0);
    case.run("stats tables --watch --format csv -d {url}").exit(2).stderr_has("--watch has no csv");
}

fn terminate(pid: u32) {
    let pid = pid.to_string();
    assert!(std::process::Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn pools_are_pgbouncers_own_numbers_and_the_servers_sessions() {
    let database = Database::fresh();
    let (pooled, connection) = tokio_postgres::connect(&database.pooler_url(), NoTls).await.unwrap();
    tokio::spawn(connection);
    pooled.batch_execute("BEGIN; SELECT 1").await.unwrap();
    let case = Case::new("pools").database(&database).env("POOLER_URL", &addresses().pooler_url());
    let document = case.run("stats pools --json -d {url}").exit(0).json();
    let pool = rows(&document).iter().find(|row| row["pool"] == database.name.as_str()).unwrap_or_else(|| panic!("{document:#}"));
    assert_eq!((&pool["servers_in_use"], &pool["sessions_seen"], &pool["most"]), (&1.into(), &1.into(), &20.into()), "{pool:#}");
    assert_eq!((&pool["mode"], pool["used_ratio"].as_f64()), (&"transaction".into(), Some(0.05)));
    // Statistics themselves go through a pooler in transaction mode as well, and leave nothing on its servers.
    case.run("stats all --json -d {pooler}").exit(1);
    database.execute("CREATE EXTENSION pg_stat_statements");
    case.run("stats all --json -d {pooler}").exit(0);
    pooled.batch_execute("COMMIT; CREATE TABLE still_writable (a int)").await.unwrap();
    let timeout = pooled.simple_query("SHOW lock_timeout").await.unwrap();
    assert!(format!("{timeout:?}").contains("\"0\"") || !format!("{timeout:?}").contains("100ms"), "{timeout:?}");

    let case = Case::new("no pooler").database(&database);
    case.run("stats pools -d {url}").exit(0).stderr_has("no pooler is named");
    case.run("stats pools --pooler {url} -d {url}").exit(1).stderr_has("stats_users");
    case.run("stats pools --pooler postgresql://x@127.0.0.1:1/ -d {url}").exit(1).stderr_has("nothing listens there");
}

#[test]
fn statistics_are_tables_json_and_csv() {
    let database = Database::fresh();
    database.execute("CREATE TABLE \"Or der's\" (id int PRIMARY KEY)");
    let case = Case::new("formats").database(&database);
    case.run("stats -d {url}").exit(0).stdout_has("cache hit");
    case.run("stats list").exit(0).stdout_has("slow-queries  the statements that cost the most");
    let names = case.run("stats list --json").exit(0).json();
    assert_eq!(names["stats"].as_array().unwrap().len(), 12);
    case.run("stats tables --format csv -d {url}")
        .exit(0)
        .stdout_has("\"public.\"\"Or der's\"\"\",table,8192")
        .stdout_has("table,kind,size_bytes");
    // Nothing was read: unknown, and neither 0 nor 100 %.
    let document = case.run("stats cache-hit --json -d {url}").exit(0).json();
    assert!(rows(&document)[0]["hit_ratio"].is_null(), "{document:#}");
    case.run("stats nonsense -d {url}").exit(2).stderr_has("invalid value 'nonsense'");
    case.run("stats --to postgresql://x@127.0.0.1:1/x").exit(2).stderr_has("read the statistics: PostgreSQL cannot be reached");
    case.run("stats slow-queries -d {url}").exit(1).stderr_has("CREATE EXTENSION pg_stat_statements");
}

/// What candlefish adds to the queries: loosely here; measured, it is some milliseconds.
#[test]
fn all_statistics_of_an_idle_database_come_within_half_a_second() {
    let database = Database::fresh();
    database.execute("CREATE EXTENSION pg_stat_statements; CREATE TABLE t (id int PRIMARY KEY)");
    let case = Case::new("quick").database(&database).env("POOLER_URL", &database.pooler_url()).env("REDIS_URL", &addresses().redis_url());
    // The best of some: other tests want the machine too.
    let best = (0..8)
        .map(|_| {
            let began = Instant::now();
            case.run("stats all --json -d {url}").exit(0);
            began.elapsed()
        })
        .min()
        .unwrap();
    assert!(best < Duration::from_millis(500), "{best:?}");
}
