//! A PgBouncer to which no client has come has no pool, and is judged by how it is set up: whoever looks before the first deployment hears what comes.

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
    assert!(check(&before, "pool-sums")["why"].as_str().unwrap().starts_with("a pool of each database can be full"), "{before:#}");
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
