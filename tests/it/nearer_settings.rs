//! Settings that come from nearer than the server's files: what holds is what is judged, and what mends it is said where it was set.

use std::io::Write as _;

use serde_json::Value;

use crate::server::{Server, machine};
use crate::stats::{session_at, until};
use crate::support::Case;

#[tokio::test(flavor = "multi_thread")]
async fn a_setting_is_judged_and_mended_where_it_comes_from() {
    let server = Server::start(&machine(), &["fsync = on"]);
    let case = Case::new("nearer");
    let verdict = |check: &str| -> Value {
        let document = case.run(&format!("doctor --json -d {}", server.url())).json();
        document["checks"].as_array().unwrap().iter().find(|found| found["name"] == check).unwrap().clone()
    };
    let mend = |found: &Value| {
        found["remedy"].as_str().unwrap().lines().filter(|line| !line.starts_with("--")).for_each(|line| drop(server.rows(line)))
    };

    // Autovacuum is in no database, and goes by the server's own.
    server.rows("ALTER SYSTEM SET track_counts = off");
    server.rows("SELECT pg_reload_conf()");
    until(&session_at(&server.url()).await, "SELECT current_setting('track_counts') = 'off'").await;
    server.rows("ALTER DATABASE postgres SET track_counts = on");
    let found = verdict("autovacuum");
    assert!(found["verdict"] == "error" && found["why"].as_str().unwrap().contains("whatever this database says"), "{found:#}");
    mend(&found);
    assert_eq!(verdict("autovacuum")["verdict"], "ok", "{:#}", verdict("autovacuum"));
    server.rows("ALTER DATABASE postgres RESET ALL");

    // What was set for the database or for all roles is mended there.
    server.rows("ALTER DATABASE postgres SET synchronous_commit = off; ALTER ROLE ALL SET idle_in_transaction_session_timeout = 0");
    for (check, start) in [
        ("durability", "ALTER DATABASE \"postgres\" SET synchronous_commit = on;"),
        ("idle-in-transaction-timeout", "ALTER ROLE ALL SET idle_in_transaction_session_timeout = '5min';"),
    ] {
        let found = verdict(check);
        assert!(found["verdict"] == "warning" && found["remedy"].as_str().unwrap().starts_with(start), "{found:#}");
        mend(&found);
        assert_eq!(verdict(check)["verdict"], "ok", "{:#}", verdict(check));
    }
    server.rows("ALTER ROLE ALL RESET ALL; ALTER DATABASE postgres RESET ALL");

    // A role's own setting hides the server's, and its files tell it only as far as they are what the server goes by.
    server.rows("ALTER ROLE candlefish SET idle_in_transaction_session_timeout = '1min'");
    let timeout = || verdict("idle-in-transaction-timeout")["verdict"].clone();
    assert_eq!(timeout(), "warning");
    let said = |sql: &str| server.rows(sql).remove(0);
    let append = |file: &str, text: &str| {
        let before = std::fs::read(file).unwrap();
        std::fs::OpenOptions::new().append(true).open(file).unwrap().write_all(text.as_bytes()).unwrap();
        before
    };
    for (file, text) in [
        (said("SHOW config_file"), "nonsense\n"),
        (format!("{}/postmaster.opts", said("SHOW data_directory")), "\"-c\" \"idle_in_transaction_session_timeout=60000\"\n"),
    ] {
        let before = append(&file, text);
        assert_eq!(timeout(), "unknown", "{file}");
        std::fs::write(&file, before).unwrap();
        assert_eq!(timeout(), "warning", "{file}");
    }
}
