//! The watch as it goes on: who is no traffic, who is only busy, and a server that goes away and comes back.

use std::process::Stdio;

use serde_json::Value;

use super::{Running, alert, get};
use crate::server::{Server, machine};
use crate::stats::{session, session_at, until};
use crate::support::{Case, Database, addresses};

/// The clients have given up; what the server does by itself succeeds, and so does everybody who looks.
#[tokio::test(flavor = "multi_thread")]
async fn autovacuum_and_other_watches_end_no_outage() {
    let server = Server::start(&machine(), &["autovacuum_naptime = 1"]);
    let case = Case::new("autovacuum");
    let rules = "interval: 200ms\nalerts:\n  errors: {condition: 'error_rate[3s] > 1%', min_samples: 4}\n";
    std::fs::write(case.dir().join("rules.yaml"), rules).unwrap();
    let client = session_at(&server.url()).await;
    let ask = |sql: &'static str| tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(client.batch_execute(sql)));
    let mut running = Running::start(&case, &["monitor", "--rules", "rules.yaml", "--json", "-d", &server.url()]);
    running.until("the outage", || drop(ask("SELECT 1/0 FROM pg_am").unwrap_err()), |sample| alert(sample, "errors")["state"] == "firing");
    // Nobody calls; our own looks are not counted, nor are others', whatever they may see, and autovacuum comes by every second.
    server.rows("CREATE ROLE nobody LOGIN");
    let (url, of_nobody) = (server.url(), server.url_as("nobody"));
    let looks =
        [&["monitor", "--interval", "100ms", "--ignore-for", "-d", &url][..], &["stats", "io", "--watch", "100ms", "-d", &of_nobody]];
    let mut looks = looks.map(|words| case.command().args(words).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    let nobody = |sample: &Value| alert(sample, "errors")["reason"].is_string() && alert(sample, "errors")["state"] == "firing";
    running.until("silence", || {}, nobody);
    for _ in 0..20 {
        let sample = running.next();
        assert!(alert(&sample, "errors")["state"] == "firing", "{sample:#}");
    }
    looks.iter_mut().for_each(|look| look.kill().and_then(|()| look.wait()).map(drop).unwrap());
    // What reads no table is counted late.
    let calls = || (0..20).for_each(|_| ask("SELECT FROM pg_am").unwrap());
    running.until("good times", calls, |sample| alert(sample, "errors")["state"] == "resolved");
    running.stop();
}

/// Catalogs are always found in shared buffers: they say nothing of whether an application's rows are.
#[test]
fn looking_neither_warms_a_cold_database_nor_calls_an_idle_one_warm() {
    let server = Server::start(&machine(), &["shared_buffers = '1MB'", "autovacuum = off"]);
    server.rows("CREATE TABLE cold AS SELECT i, repeat('x', 500) AS words FROM generate_series(1, 20000) AS i");
    server.rows("CREATE TABLE hot AS SELECT 1 AS i");
    let case = Case::new("cold");
    let rules = "interval: 200ms\nalerts:\n  cold: {condition: 'cache_hit_ratio[3s] < 90%'}\n";
    std::fs::write(case.dir().join("rules.yaml"), rules).unwrap();
    let mut running = Running::start(&case, &["monitor", "--rules", "rules.yaml", "--json", "-d", &server.url()]);
    let is = |state: &'static str| move |sample: &Value| alert(sample, "cold")["state"] == state;
    running.until("a cold cache", || drop(server.rows("SELECT count(*) FROM cold")), is("firing"));
    // Nobody is there but who looks, for longer than the window.
    let silent = |sample: &Value| alert(sample, "cold")["value"].is_null() || alert(sample, "cold")["state"] != "firing";
    running.until("silence", || {}, silent);
    for _ in 0..10 {
        let sample = running.next();
        let alert = alert(&sample, "cold");
        assert!(alert["state"] == "firing" && alert["reason"].as_str().unwrap().contains("nothing happened"), "{sample:#}");
    }
    let warm = "SELECT sum(n) FROM generate_series(1, 2000) AS g, LATERAL (SELECT count(*) AS n FROM hot WHERE i <> g) AS counted";
    running.until("a warm one", || drop(server.rows(warm)), is("resolved"));
    running.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_too_busy_to_tell_is_not_one_without_the_extension() {
    let database = Database::fresh();
    let case = Case::new("busy").database(&database);
    std::fs::write(case.dir().join("rules.yaml"), "alerts:\n  slow: {condition: avg_query_time > 100ms}\n").unwrap();
    let line = "monitor --once --rules rules.yaml --ignore-for --json -d {url}";
    // That nobody can judge the only rule is no good answer either.
    let without = case.run(line).exit(2).json();
    assert_eq!(alert(&without, "slow")["state"], "not_applicable", "{without:#}");
    case.run("monitor --nagios --rules rules.yaml --ignore-for -d {url}")
        .exit(3)
        .stdout_has("UNKNOWN - nothing that is there can judge any of 1 rules: slow");
    database.execute("CREATE EXTENSION pg_stat_statements");
    let holder = session(&database).await;
    holder.batch_execute("BEGIN; LOCK TABLE pg_stat_statements IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let busy = case.run(line).exit(1).json();
    assert_eq!(alert(&busy, "slow")["state"], "unknown", "{busy:#}");
    assert_eq!(alert(&busy, "source_unreadable")["state"], "firing", "{busy:#}");
    case.run("monitor --nagios --rules rules.yaml --ignore-for -d {url}").exit(2).stdout_has("lock timeout");
}

/// The session that hangs is still there when the next one looks, and is no stranger whose looks would be taken away once more.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_hung_takes_no_clients_commits_away() {
    let server = Server::start(&machine(), &["autovacuum = off"]);
    let case = Case::new("hung");
    let mut running = Running::start(&case, &["monitor", "--interval", "100ms", "--ignore-for", "--json", "-d", &server.url()]);
    let session = "SELECT pid FROM pg_stat_activity WHERE application_name ~ '^candlefish monitor, '";
    for _ in 0..30 {
        running.next();
    }
    let hung = server.rows(session).remove(0);
    let signal = |signal: &str| assert!(std::process::Command::new("kill").args([signal, &hung]).status().unwrap().success());
    signal("-STOP");
    let there = |sample: &Value| {
        sample["sources"].as_array().unwrap().iter().any(|source| source["name"] == "pg_stat_database" && source["state"] == "there")
    };
    running.until("the hang", || {}, |sample| !there(sample));
    running.until("another session", || {}, there);
    signal("-CONT");
    let watcher = session_at(&server.url()).await;
    until(&watcher, &format!("SELECT count(*) = 1 FROM ({session}) AS sessions")).await;
    // As many succeed as are rolled back.
    for _ in 0..25 {
        watcher.batch_execute("SELECT 1").await.unwrap();
        watcher.batch_execute("BEGIN; SELECT 1; ROLLBACK").await.unwrap();
    }
    drop(watcher);
    let seen = running.until("the load", || {}, |sample| sample["metrics"]["error_rate"]["value"].is_number());
    let mut rate = seen["metrics"]["error_rate"]["value"].as_f64().unwrap();
    for _ in 0..20 {
        rate = running.next()["metrics"]["error_rate"]["value"].as_f64().unwrap_or(rate);
    }
    assert!((0.4..0.55).contains(&rate), "{rate}");
    running.stop();
}

#[test]
fn the_watch_survives_the_database_and_stays_small() {
    let server = Server::start(&machine(), &["shared_preload_libraries = 'pg_stat_statements'"]);
    let redis = addresses().redis_url();
    let kept = format!("kept-by-nobody-{}", std::process::id());
    let case = Case::new("survives").env("REDIS_URL", &redis);
    let url = server.url();
    let words = ["monitor", "--serve", "127.0.0.1:0", "--interval", "200ms", "--namespace", &kept, "--json", "-d", &url];
    let mut running = Running::start(&case, &words);
    let page = running.page();
    let state = |sample: &Value, name: &str| {
        sample["sources"].as_array().unwrap().iter().find(|source| source["name"] == name).unwrap()["state"].as_str().unwrap().to_string()
    };
    running.until("the database", || {}, |sample| state(sample, "pg_stat_statements") == "absent");
    // What comes, and goes, while the connection lasts, is seen so.
    let goes_on = |sample: &Value, statements: &str| {
        assert_eq!(state(sample, "pg_stat_database"), "there", "{sample:#}");
        state(sample, "pg_stat_statements") == statements
    };
    for (sql, wanted) in [("CREATE", "there"), ("DROP", "failed"), ("CREATE", "there")] {
        server.rows(&format!("{sql} EXTENSION pg_stat_statements"));
        // Past every cache: it is so in the very first sample that was begun after it.
        let changed = jiff::Timestamp::now();
        let is_after = |sample: &Value| sample["at"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap() > changed;
        let sample = running.until("a sample after that", || {}, is_after);
        assert!(goes_on(&sample, wanted), "{sql}: {sample:#}");
    }
    let mut redis = redis::Client::open(redis).unwrap().get_connection().unwrap();
    let keys: Vec<String> = redis::cmd("KEYS").arg(format!("{kept}*")).query(&mut redis).unwrap();
    assert!(keys.is_empty(), "what only looks keeps nothing: {keys:?}");
    server.stop();
    let gone = running.until("its end", || {}, |sample| state(sample, "pg_stat_database") == "failed");
    assert_eq!(alert(&gone, "query_error_rate")["state"], "unknown", "{gone:#}");
    assert_eq!(get(&format!("{page}/"), &[]).0, 200);
    assert_eq!(get(&format!("{page}/healthz"), &[]).0, 200);
    assert!(get(&format!("{page}/metrics"), &[]).1.contains("candlefish_source_up{source=\"pg_stat_database\"} 0"));
    server.start_again();
    let back = running.until("its return", || {}, |sample| state(sample, "pg_stat_database") == "there");
    assert!(back["connections"]["used"].is_number());
    // A load is seen at the next sample.
    let busy = running.until(
        "the load",
        || drop(server.rows("SELECT count(*) FROM generate_series(1, 20000) AS a_load")),
        |sample| sample["slow_queries"].to_string().contains("a_load"),
    );
    assert!(busy["slow_queries"][0]["calls_per_s"].as_f64().unwrap() > 0.0);
    let kilobytes = super::peak_kilobytes(running.process());
    assert!(kilobytes < 50_000, "{kilobytes} kB");
    running.stop();
}
