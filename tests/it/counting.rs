//! Counters that are young, or turned off, or that a crash has taken away: what they do not know is unknown, and makes no verdict.

use serde_json::Value;
use tokio_postgres::Client;

use crate::server::{Server, machine};
use crate::stats::{session_at, until};
use crate::support::Case;

/// A server of the test's own, and what is asked of it.
struct Asked {
    server: Server,
    case: Case,
}

impl Asked {
    #[track_caller]
    fn stat(&self, line: &str, code: i32) -> Value {
        self.case.run(&format!("stats {line} --json -d {}", self.server.url())).exit(code).json()
    }

    #[track_caller]
    fn unused(&self, line: &str) -> (Vec<String>, String) {
        let found = self.stat(&format!("indexes {line}"), 0);
        let rows = found["rows"].as_array().unwrap();
        let unused = rows.iter().filter(|row| row["finding"] == "unused").map(|row| row["index"].as_str().unwrap().to_string());
        (unused.collect(), found["notes"].to_string())
    }

    fn verdict(&self, check: &str) -> Value {
        let document = self.case.run(&format!("doctor --json -d {}", self.server.url())).json();
        document["checks"].as_array().unwrap().iter().find(|found| found["name"] == check).unwrap().clone()
    }

    /// What a remedy says before its comment, done.
    fn mend(&self, remedy: &str) {
        for statement in remedy.split_once(" --").map_or(remedy, |(statements, _)| statements).split(';') {
            self.server.rows(statement);
        }
    }
}

fn row<'a>(stat: &'a Value, column: &str, value: &str) -> &'a Value {
    stat["rows"].as_array().unwrap().iter().find(|row| row[column] == value).unwrap_or_else(|| panic!("no {value} in {stat:#}"))
}

const TABLE: &str = "CREATE TABLE t AS SELECT i, i AS v FROM generate_series(1, 60000) i; CREATE INDEX used ON t (i); CREATE INDEX idle ON t (v); ANALYZE; \
    SET enable_seqscan = off; SET enable_bitmapscan = off; SELECT v FROM t WHERE i = 7";

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_counted_is_unknown_and_calls_nothing_unused() {
    let server = Server::start(&machine(), &["shared_preload_libraries = 'pg_stat_statements'", "track_io_timing = off"]);
    server.rows("CREATE EXTENSION pg_stat_statements; CREATE ROLE batch");
    server.rows(TABLE);
    let asked = Asked { case: Case::new("counted"), server };
    let watcher = session_at(&asked.server.url()).await;
    until(&watcher, "SELECT idx_scan = 1 FROM pg_stat_user_indexes WHERE indexrelname = 'used'").await;

    // They are young.
    let (unused, notes) = asked.unused("");
    assert!(unused.is_empty() && notes.contains("1 index has no scans") && notes.contains("less than 1 day (--min-age 0"), "{notes}");
    assert_eq!(asked.unused("--min-age 0").0, ["public.idle"]);

    // They leave a role out.
    asked.server.rows("ALTER ROLE batch SET track_counts = no");
    let (unused, notes) = asked.unused("--min-age 0");
    assert!(unused.is_empty() && notes.contains("track_counts is off for batch"), "{notes}");
    let found = asked.verdict("autovacuum");
    assert!(found["verdict"] == "warning" && found["value"] == "track_counts is off for batch", "{found:#}");
    asked.mend(found["remedy"].as_str().unwrap());
    assert_eq!(asked.unused("--min-age 0").0, ["public.idle"]);

    // They leave everybody out but whoever looks, whose own setting hides the server's; who may not read the server's files does not know.
    asked.server.rows("CREATE ROLE watcher LOGIN IN ROLE pg_monitor; ALTER ROLE watcher SET track_counts = on; ALTER ROLE candlefish SET track_counts = on");
    asked
        .server
        .rows("ALTER ROLE candlefish SET idle_in_transaction_session_timeout = '1min'; ALTER ROLE candlefish SET track_io_timing = on");
    assert_eq!(asked.unused("--min-age 0").0, ["public.idle"]);
    assert_eq!(asked.verdict("autovacuum")["verdict"], "ok");
    let found = asked.verdict("idle-in-transaction-timeout");
    assert!(found["verdict"] == "warning" && found["value"] == "off", "{found:#}");
    assert_eq!(asked.verdict("io-timing")["value"], "off");
    // What this database says comes before the server's files, and what all databases say comes after this one's; each in whatever words.
    let timeout = || asked.verdict("idle-in-transaction-timeout");
    asked.server.rows("ALTER SYSTEM SET idle_in_transaction_session_timeout = '5min'");
    asked.server.rows("SELECT pg_reload_conf()");
    assert_eq!((&timeout()["verdict"], &timeout()["value"]), (&"ok".into(), &"300 s".into()));
    asked.server.rows("ALTER ROLE ALL SET idle_in_transaction_session_timeout = 0");
    assert_eq!((&timeout()["verdict"], &timeout()["value"]), (&"warning".into(), &"off".into()));
    asked.server.rows("ALTER DATABASE postgres SET idle_in_transaction_session_timeout = '2min'");
    assert_eq!(timeout()["value"], "120 s");
    asked.server.rows("ALTER DATABASE postgres SET track_io_timing = yes");
    assert_eq!(asked.verdict("io-timing")["value"], "on");
    asked.server.rows("ALTER DATABASE postgres RESET ALL; ALTER ROLE ALL RESET ALL");
    asked.server.rows("ALTER SYSTEM RESET idle_in_transaction_session_timeout");
    asked.server.rows("SELECT pg_reload_conf()");
    for (setting, mend) in [
        ("ALTER SYSTEM SET track_counts = off", "ALTER SYSTEM SET track_counts = on"),
        ("ALTER ROLE ALL SET track_counts = off", "ALTER ROLE ALL RESET"),
    ] {
        asked.server.rows(setting);
        asked.server.rows("SELECT pg_reload_conf()");
        let (unused, notes) = asked.unused("--min-age 0");
        assert!(unused.is_empty() && notes.contains("track_counts is off: what is read and written is not known"), "{notes}");
        assert!(row(&asked.stat("tables", 0), "table", "public.t")["seq_scans"].is_null());
        let found = asked.verdict("autovacuum");
        assert!(found["verdict"] == "error" && found["remedy"].as_str().unwrap().starts_with(mend), "{found:#}");
        // What this database says, everybody in it has.
        asked.server.rows("ALTER DATABASE postgres SET track_counts = on");
        assert_eq!(asked.unused("--min-age 0").0, ["public.idle"]);
        asked.server.rows("ALTER DATABASE postgres RESET track_counts");
        asked.mend(found["remedy"].as_str().unwrap());
    }
    let hidden = asked.case.run(&format!("stats indexes --min-age 0 --json -d {}", asked.server.url_as("watcher"))).exit(0).json();
    let notes = hidden["notes"].to_string();
    assert!(
        notes.contains("whether track_counts is off for others is hidden") && notes.contains("ALTER ROLE watcher RESET track_counts"),
        "{notes}"
    );
    assert!(hidden["rows"].as_array().unwrap().iter().all(|row| row["finding"] != "unused"), "{hidden:#}");
    let document = asked.case.run(&format!("doctor --json -d {}", asked.server.url_as("watcher"))).json();
    let autovacuum = document["checks"].as_array().unwrap().iter().find(|found| found["name"] == "autovacuum").unwrap();
    assert_eq!(autovacuum["verdict"], "unknown", "{autovacuum:#}");
    asked.server.rows("ALTER ROLE candlefish RESET ALL; DROP ROLE watcher");

    // They are off: in this database, then everywhere.
    for setting in ["ALTER DATABASE postgres SET track_counts = off", "ALTER SYSTEM SET track_counts = off"] {
        asked.server.rows(setting);
        asked.server.rows("SELECT pg_reload_conf()");
        until(&session_at(&asked.server.url()).await, "SELECT current_setting('track_counts') = 'off'").await;
        let (unused, notes) = asked.unused("--min-age 0");
        assert!(unused.is_empty() && notes.contains("track_counts is off: what is read and written is not known"), "{notes}");
        let tables = asked.stat("tables", 0);
        let of_table = row(&tables, "table", "public.t");
        for column in
            ["seq_scans", "seq_rows", "index_scans", "inserts", "updates", "deletes", "dead_est", "dead_ratio", "analyzed_seconds"]
        {
            assert!(of_table[column].is_null(), "{column}: {of_table:#}");
        }
        assert!(of_table["rows_est"] == 60_000 && of_table["size_bytes"].is_number(), "{of_table:#}");
        for stat in ["cache-hit", "io"] {
            let database = asked.stat(stat, 0);
            let of_database = database["rows"]
                .as_array()
                .unwrap()
                .iter()
                .find(|row| row["what"] == "database" || row["backend"] == "this database's backends");
            assert!(of_database.is_none_or(|row| row["hits"].is_null() && row["hit_ratio"].is_null()), "{database:#}");
        }
        let overview = asked.stat("", 0);
        let now = &overview["rows"][0];
        assert!(now["deadlocks"].is_null() && now["dead_ratio"].is_null() && now["cache_hit_ratio"].is_null(), "{now:#}");
        assert!(now["commits"].as_i64().unwrap() > 0, "{now:#}");
        assert!(asked.stat("vacuum", 0)["notes"].to_string().contains("track_counts is off"));
        let found = asked.verdict("autovacuum");
        assert!(found["verdict"] == "error" && found["value"] == "track_counts is off", "{found:#}");
        asked.mend(found["remedy"].as_str().unwrap());
        until(&session_at(&asked.server.url()).await, "SELECT current_setting('track_counts') = 'on'").await;
    }
    assert_eq!(asked.unused("--min-age 0").0, ["public.idle"]);

    statements(&asked).await;
    sessions(&asked, &watcher).await;

    // A crash has taken them, and the server does not say so of the database.
    let since = asked.stat("tables", 0)["since"].as_str().unwrap().to_string();
    let crashing = session_at(&asked.server.url()).await;
    let pid: i32 = crashing.query_one("SELECT pg_backend_pid()", &[]).await.unwrap().get(0);
    until(&watcher, &format!("SELECT clock_timestamp() > timestamptz '{since}' + interval '1 second'")).await;
    assert!(std::process::Command::new("kill").args(["-KILL", &pid.to_string()]).status().unwrap().success());
    // Every session has ended before it begins again.
    while !watcher.is_closed() {
        tokio::task::yield_now().await;
    }
    while tokio_postgres::connect(&asked.server.url(), tokio_postgres::NoTls).await.is_err() {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let tables = asked.stat("tables", 0);
    assert!(tables["since"].as_str().unwrap() > since.as_str(), "{since} {tables:#}");
}

/// Statements that nobody counts are not none, and reads that nobody timed took no 0 ms.
async fn statements(asked: &Asked) {
    asked.server.rows("SELECT pg_stat_statements_reset(); CREATE TABLE written AS SELECT i FROM generate_series(1, 50000) i");
    asked.server.rows("ALTER SYSTEM SET track_io_timing = on");
    asked.server.rows("SELECT pg_reload_conf()");
    until(&session_at(&asked.server.url()).await, "SELECT current_setting('track_io_timing') = 'on'").await;
    let slow = asked.stat("slow-queries --min-ms 0", 0);
    let written = slow["rows"].as_array().unwrap().iter().find(|row| row["query"].as_str().unwrap().contains("TABLE written")).unwrap();
    assert!(written["io_ms"].is_null(), "{written:#}");
    for (setting, said) in [
        ("compute_query_id = off", "compute_query_id is off: no statement is counted"),
        ("pg_stat_statements.track = none", "pg_stat_statements.track is none: no statement is counted"),
    ] {
        asked.server.rows(&format!("ALTER SYSTEM SET {setting}"));
        asked.server.rows("SELECT pg_reload_conf()");
        let name = setting.split(' ').next().unwrap();
        let value = setting.rsplit(' ').next().unwrap();
        until(&session_at(&asked.server.url()).await, &format!("SELECT current_setting('{name}') = '{value}'")).await;
        let slow = asked.stat("slow-queries --min-ms 0", 0);
        assert!(slow["notes"][0].as_str().unwrap().starts_with(&format!("{said} any more (ALTER SYSTEM SET {name} = ")), "{slow:#}");
        asked.server.rows("SELECT pg_stat_statements_reset()");
        let slow = asked.stat("slow-queries --min-ms 0", 1);
        assert!(slow["rows"].is_null() && slow["notes"][0] == said, "{slow:#}");
        let found = asked.verdict("pg-stat-statements");
        assert!(found["verdict"] == "warning" && found["why"] == said, "{found:#}");
        asked.mend(found["remedy"].as_str().unwrap());
        until(&session_at(&asked.server.url()).await, &format!("SELECT current_setting('{name}') <> '{value}'")).await;
    }
}

/// A session that does not say what it does is not idle.
async fn sessions(asked: &Asked, watcher: &Client) {
    let silent = session_at(&asked.server.url()).await;
    silent.batch_execute("SET track_activities = off; BEGIN; SELECT 1").await.unwrap();
    until(watcher, "SELECT count(*) = 1 FROM pg_stat_activity WHERE state = 'disabled'").await;
    let overview = asked.stat("", 0);
    let now = &overview["rows"][0];
    assert!(now["active"].is_null() && now["idle_in_transaction"].is_null() && now["longest_transaction_seconds"].is_null(), "{now:#}");
    for stat in ["", "activity", "connections", "locks"] {
        let notes = asked.stat(stat, 0)["notes"].to_string();
        assert!(notes.contains("what 1 session may do is not known, because track_activities is off"), "{stat}: {notes}");
    }
}
