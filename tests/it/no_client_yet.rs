//! A PgBouncer to which no client has come has no pool, and is judged by how it is set up: whoever looks before the first deployment hears what comes.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::doctor::check;
use crate::server::{Server, machine};
use crate::store::outage::Bouncer;
use crate::support::{Case, query};

/// Verdict and value of a check.
fn said(document: &Value, name: &str) -> (String, String) {
    let found = check(document, name);
    let text = |key: &str| found[key].as_str().unwrap_or_default().to_string();
    (text("verdict"), text("value"))
}

fn of(verdict: &str, value: &str) -> (String, String) {
    (verdict.to_string(), value.to_string())
}

#[test]
fn a_pooler_without_pools_is_judged_by_its_settings() {
    // 27 connections are left to those who are no superusers.
    let server = Server::start(&machine(), &[]);
    let case = Case::new("no client yet");
    let doctor = |bouncer: &Bouncer| case.run_args(["doctor", "--json", "--pooler", &bouncer.url(), "-d", &server.url()]).json();
    let notes = |bouncer: &Bouncer| {
        let document = case.run_args(["stats", "pools", "--json", "--pooler", &bouncer.url(), "-d", &server.url()]).exit(0).json();
        assert_eq!(document["rows"], Value::Array(Vec::new()), "{document:#}");
        document["notes"].to_string()
    };
    // Every database is of the entry `*`.
    for (settings, sums, mode, note) in [
        (
            "pool_mode = session\ndefault_pool_size = 500",
            of("error", "pools up to 500 of 27 connections"),
            of("warning", "pool_mode: session"),
            "any database (by session, up to 500 servers)",
        ),
        (
            "pool_mode = statement\ndefault_pool_size = 20\nreserve_pool_size = 6",
            of("warning", "pools up to 26 of 27 connections"),
            of("warning", "pool_mode: statement"),
            "any database (by statement, up to 20 servers)",
        ),
        (
            "default_pool_size = 500\nmax_db_connections = 20",
            // The entry may say more, or less, for itself.
            of("unknown", ""),
            of("unknown", ""),
            "any database (by transaction, up to 500 servers)",
        ),
    ] {
        let bouncer = Bouncer::start("pgbouncer", &server.url(), settings);
        let document = doctor(&bouncer);
        assert_eq!((said(&document, "pool-sums"), said(&document, "pgbouncer-mode")), (sums, mode), "{settings}");
        // Each mode has its own price.
        let why = check(&document, "pgbouncer-mode")["why"].as_str().unwrap_or_default();
        let (by_session, by_statement) = (settings.contains("session"), settings.contains("= statement"));
        assert_eq!(
            (why.contains("holds a server"), why.contains("more than one statement is refused")),
            (by_session, by_statement),
            "{why}"
        );
        assert!(notes(&bouncer).contains(note), "{}", notes(&bouncer));
    }
    // What its databases say for themselves goes before what is said for all.
    let port = server.url().trim_start_matches("postgresql://candlefish@127.0.0.1:").trim_end_matches("/postgres").to_string();
    let to = format!("host=127.0.0.1 port={port} user=candlefish");
    let named = format!(
        "pool_mode = session\ndefault_pool_size = 500\n[databases]\npostgres = {to} pool_mode=transaction pool_size=10\n\
         jobs = {to} dbname=postgres pool_mode=transaction pool_size=40 max_db_connections=12\n"
    );
    let bouncer = Bouncer::start("pgbouncer", &server.url(), &named);
    let before = doctor(&bouncer);
    assert_eq!(said(&before, "pool-sums"), of("ok", "pools up to 22 of 27 connections"));
    assert_eq!(said(&before, "pgbouncer-mode"), of("ok", "transaction"));
    assert!(check(&before, "pool-sums")["why"].as_str().unwrap().starts_with("every pool can be full"), "{before:#}");
    let note = notes(&bouncer);
    assert!(note.contains("jobs (by transaction, up to 12 servers)") && note.contains("postgres (by transaction, up to 10"), "{note}");
    // A client changes nothing of that.
    query(&bouncer.url(), "SELECT 1").unwrap();
    let after = doctor(&bouncer);
    for name in ["pool-sums", "pgbouncer-mode"] {
        assert_eq!(said(&after, name), said(&before, name));
    }
    // Nor does a pool that leads to another server take room here.
    let bouncer = Bouncer::start("pgbouncer", &server.url(), &format!("{named}archive = host=127.0.0.1 port=1 pool_size=300\n"));
    let document = doctor(&bouncer);
    assert_eq!(said(&document, "pool-sums"), of("ok", "pools up to 22 of 27 connections"));
    assert!(check(&document, "pool-sums")["why"].as_str().unwrap().ends_with("not counted, for another server: archive"), "{document:#}");
    let named = format!("{named}web = {to} dbname=postgres pool_size=15\nreports = {to} dbname=postgres pool_size=1 pool_mode=statement\n");
    let bouncer = Bouncer::start("pgbouncer", &server.url(), &named);
    query(&bouncer.url(), "SELECT 1").unwrap();
    let document = doctor(&bouncer);
    assert_eq!(said(&document, "pool-sums"), of("error", "pools up to 38 of 27 connections"));
    let (verdict, value) = said(&document, "pgbouncer-mode");
    assert!(verdict == "warning" && value.contains("web: session") && value.contains("reports: statement"), "{value}");
    let why = check(&document, "pgbouncer-mode")["why"].as_str().unwrap();
    assert!(why.contains("holds a server") && why.contains("more than one statement is refused"), "{why}");
}

/// The sum is of what can come, and says of what it is: limits of users, users that a database forces on all, and databases that let nobody in.
#[test]
fn the_sum_of_pools_knows_users_limits_and_who_is_let_in() {
    let server = Server::start(&machine(), &[]);
    let case = Case::new("sums");
    let doctor = |bouncer: &Bouncer| case.run_args(["doctor", "--json", "--pooler", &bouncer.url(), "-d", &server.url()]).json();
    let sums = |bouncer: &Bouncer| {
        let document = doctor(bouncer);
        let why = check(&document, "pool-sums")["why"].as_str().unwrap_or_default().to_string();
        (said(&document, "pool-sums"), why)
    };
    let port = server.url().trim_start_matches("postgresql://candlefish@127.0.0.1:").trim_end_matches("/postgres").to_string();
    let to = format!("host=127.0.0.1 port={port} dbname=postgres");
    // A database's own limit goes before what is set for all, and so does its own reserve.
    let databases = format!(
        "[databases]\npostgres = {to} user=candlefish pool_size=10\nweb = {to} user=candlefish pool_size=30 max_db_connections=18\n\
         jobs = {to} user=candlefish pool_size=4 reserve_pool=2\n"
    );
    let bouncer = Bouncer::start("pgbouncer", &server.url(), &format!("max_db_connections = 15\n{databases}"));
    let (found, why) = sums(&bouncer);
    assert_eq!(found, of("error", "pools up to 34 of 27 connections"));
    assert!(
        why.ends_with("; counted: jobs/candlefish 6, postgres/candlefish 10, web/candlefish 30; database web at most 18"),
        "all are one user's, by force_user: {why}"
    );
    // A disabled database makes no pool; one with a client works on.
    query(&bouncer.url_of("pgbouncer"), "DISABLE web").unwrap();
    let (found, why) = sums(&bouncer);
    assert_eq!(found, of("ok", "pools up to 16 of 27 connections"));
    assert!(
        why.starts_with("every pool can be full, and the server has room; counted: jobs/candlefish 6, postgres/candlefish 10")
            && why.ends_with("; not counted, for it is disabled and has no client: web"),
        "{why}"
    );
    let pools = || case.run_args(["stats", "pools", "--json", "--pooler", &bouncer.url(), "-d", &server.url()]).exit(0).json();
    assert!(!pools()["notes"].to_string().contains("web ("), "no client is to come: {}", pools());
    // All pools of a user share that user's limit.
    let bouncer = Bouncer::start("pgbouncer", &server.url(), &format!("max_user_connections = 20\n{databases}"));
    let (found, why) = sums(&bouncer);
    assert_eq!(found, of("ok", "pools up to 20 of 27 connections"));
    assert!(why.starts_with("every pool can be full") && why.contains("; user candlefish at most 20"), "{why}");
    // Where a database forces none, each user has a pool.
    let bouncer =
        Bouncer::start("pgbouncer", &server.url(), &format!("max_user_connections = 7\n[databases]\npostgres = {to} pool_size=10\n"));
    let (found, why) = sums(&bouncer);
    assert_eq!(found, of("ok", "pools up to 7 of 27 connections"));
    assert!(
        why.starts_with("a pool of each database can be full; each other user makes another") && why.contains("any user at most 7"),
        "{why}"
    );
    let notes =
        case.run_args(["stats", "pools", "--json", "--pooler", &bouncer.url(), "-d", &server.url()]).exit(0).json()["notes"].to_string();
    assert!(notes.contains("postgres (by transaction, up to 7 servers)"), "{notes}");
}

/// A pool of the entry `*` outlives its last client, and its database is not shown any more: neither is that "no client has come", nor no pool at all.
#[test]
fn a_pool_whose_last_client_has_gone_is_a_pool() {
    let mut server = Some(Server::start(&machine(), &[]));
    let url = server.as_ref().unwrap().url();
    let case = Case::new("gone");
    let settings = "default_pool_size = 500\nserver_idle_timeout = 1\n";
    let bouncer = Bouncer::start("pgbouncer", &url, settings);
    query(&bouncer.url(), "SELECT 1").unwrap();
    let console = bouncer.url_of("pgbouncer");
    let until = Instant::now() + Duration::from_secs(20);
    while query(&console, "SHOW DATABASES").unwrap().len() > 1 {
        assert!(Instant::now() < until, "its database stays");
    }
    let doctor = case.run_args(["doctor", "--json", "--pooler", &bouncer.url(), "-d", &url]).json();
    assert_eq!(said(&doctor, "pool-sums"), of("error", "pools up to 500 of 27 connections"));
    let pools = || case.run_args(["stats", "pools", "--json", "--pooler", &bouncer.url(), "-d", &url]).json();
    let is_one_pool = |document: Value| {
        assert_eq!(document["rows"].as_array().map(Vec::len), Some(1), "{document:#}");
        assert!(!document["notes"].to_string().contains("no pool yet"), "{document:#}");
    };
    is_one_pool(pools());
    server.take();
    is_one_pool(pools());
}

/// Who waits because a database was stopped on the console is helped by no larger pool.
#[test]
fn a_database_that_is_paused_is_named_with_what_resumes_it() {
    let server = Server::start(&machine(), &[]);
    let case = Case::new("paused");
    let bouncer = Bouncer::start("pgbouncer", &server.url(), "");
    query(&bouncer.url(), "SELECT 1").unwrap();
    let console = bouncer.url_of("pgbouncer");
    let found = || {
        let document = case.run_args(["doctor", "--json", "--pooler", &bouncer.url(), "-d", &server.url()]).json();
        check(&document, "pgbouncer-waiting").clone()
    };
    assert_eq!(found()["verdict"], "ok");
    query(&console, "PAUSE postgres").unwrap();
    let paused = found();
    assert!(
        paused["verdict"] == "warning" && paused["why"].as_str().unwrap().starts_with("postgres is stopped on PgBouncer's console"),
        "{paused:#}"
    );
    let url = bouncer.url();
    let waiting = std::thread::spawn(move || query(&url, "SELECT 2"));
    let until = Instant::now() + Duration::from_secs(20);
    let mut waits = found();
    while waits["verdict"] != "error" {
        assert!(Instant::now() < until, "{waits:#}");
        waits = found();
    }
    assert!(waits["remedy"].as_str().unwrap().starts_with("RESUME \"postgres\" -- on PgBouncer's console"), "{waits:#}");
    let notes = case.run_args(["stats", "pools", "--json", "--pooler", &bouncer.url(), "-d", &server.url()]).json()["notes"].to_string();
    assert!(notes.contains("postgres is stopped on PgBouncer's console, and clients wait"), "{notes}");
    query(&console, "RESUME \"postgres\"").unwrap();
    assert_eq!(waiting.join().unwrap().unwrap(), ["2"]);
    assert_eq!(found()["verdict"], "ok");
}

/// One server has several spellings: none of them makes another server of it.
#[test]
fn a_server_under_another_spelling_of_its_host_is_the_same() {
    let server = Server::start(&machine(), &[]);
    let case = Case::new("spellings");
    let port = server.url().trim_start_matches("postgresql://candlefish@127.0.0.1:").trim_end_matches("/postgres").to_string();
    for (host, verdict, value) in [
        ("localhost", "error", "pools up to 40 of 27 connections"),
        ("127.0.0.2", "error", "pools up to 40 of 27 connections"),
        ("::1", "error", "pools up to 40 of 27 connections"),
        ("/tmp", "error", "pools up to 40 of 27 connections"),
        // It may be this machine.
        ("db.example", "unknown", ""),
        ("192.0.2.7", "unknown", ""),
    ] {
        let databases = format!(
            "[databases]\npostgres = host=127.0.0.1 port={port} pool_size=10\njobs = host={host} port={port} dbname=postgres pool_size=30\n"
        );
        let bouncer = Bouncer::start("pgbouncer", &server.url(), &databases);
        let document = case.run_args(["doctor", "--json", "--pooler", &bouncer.url(), "-d", &server.url()]).json();
        assert_eq!(said(&document, "pool-sums"), of(verdict, value), "{host}");
        let why = check(&document, "pool-sums")["why"].as_str().unwrap();
        assert!(!why.contains("another server"), "{host}: {why}");
        assert!(verdict == "error" || why.contains("their hosts do not tell: jobs; with them it is pools up to 40 of 27"), "{host}: {why}");
    }
}
