//! Who keeps old rows from being cleaned up is named, whoever it is; and a standby that has stopped is not shown as one that goes on.

use serde_json::Value;

use crate::server::{Server, machine};
use crate::stats::{session_at, until};
use crate::support::Case;

/// The rows of who holds old rows back, by name.
fn holders(case: &Case, url: &str) -> Vec<Value> {
    let seen = case.run(&format!("stats vacuum --json -d {url}")).exit(0).json();
    seen["rows"].as_array().unwrap().iter().filter(|row| row["what"] == "held back by").cloned().collect()
}

fn named<'a>(holders: &'a [Value], start: &str) -> &'a Value {
    let found = holders.iter().find(|row| row["name"].as_str().unwrap().starts_with(start));
    found.unwrap_or_else(|| panic!("no {start} in {holders:#?}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn who_holds_old_rows_back_is_named_and_a_paused_standby_is_seen() {
    let server = Server::start(&machine(), &["max_prepared_transactions = 2", "wal_level = logical", "autovacuum = off"]);
    let case = Case::new("horizon");
    // A standby may not have less, and has the settings that a copy brings.
    server.rows("ALTER SYSTEM SET max_prepared_transactions = 2");
    let standby = server.standby();
    server.rows("CREATE TABLE t (id int PRIMARY KEY, v int); INSERT INTO t VALUES (1, 0), (2, 0); CREATE ROLE nobody LOGIN");
    assert_eq!(holders(&case, &server.url()), [Value::Null; 0], "nobody does anything");

    // Who decodes begins when no transaction is left.
    server.rows("SELECT pg_create_logical_replication_slot('decodes', 'pgoutput')");
    let reader = session_at(&server.url()).await;
    reader.batch_execute("SET application_name = 'a report'; BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT * FROM t").await.unwrap();
    server.rows("UPDATE t SET v = 1 WHERE id = 1");
    server.rows("BEGIN; UPDATE t SET v = 1 WHERE id = 2; PREPARE TRANSACTION 'it''s left'");
    server.rows("UPDATE t SET v = 2 WHERE id = 1");
    let young = holders(&case, &server.url());
    assert!(young.iter().all(|row| !row["name"].as_str().unwrap().starts_with("session ")), "{young:#?}");
    server.rows("DO $$ BEGIN FOR i IN 1..10000 LOOP PERFORM txid_current(); COMMIT; END LOOP; END $$");
    let seen = holders(&case, &server.url());
    let session = named(&seen, "session ");
    let pid: i32 = reader.query_one("SELECT pg_backend_pid()", &[]).await.unwrap().get(0);
    assert_eq!(session["name"], format!("session {pid}"));
    assert_eq!((&session["pid"], &session["user"], &session["application"]), (&pid.into(), &"candlefish".into(), &"a report".into()));
    assert!(session["state"] == "idle in transaction" && session["transaction_seconds"].is_number(), "{session:#}");
    assert!(session["xid_age"].as_i64().unwrap() >= 10_000 && session["remedy"].is_null(), "it is young: {session:#}");
    let prepared = named(&seen, "prepared transaction it's left");
    assert_eq!(prepared["remedy"], "COMMIT PREPARED 'it''s left' or ROLLBACK PREPARED 'it''s left' -- ask the coordinator first");
    let slot = named(&seen, "slot decodes");
    assert!(
        slot["state"] == "inactive, rows of catalogs alone"
            && slot["remedy"].as_str().unwrap().contains("pg_drop_replication_slot('decodes')")
    );
    case.run(&format!("stats vacuum -d {}", server.url())).exit(0).stdout_has("a report").stdout_has("it's left");
    // What another does is hidden from who may not see it, and that is said; that it holds old rows back is not.
    let hidden = case.run(&format!("stats vacuum --json -d {}", server.url_as("nobody"))).exit(0).json();
    let of_other = hidden["rows"].as_array().unwrap().iter().find(|row| row["application"] == "a report").unwrap();
    assert!(of_other["state"].is_null() && of_other["remedy"].is_null() && of_other["xid_age"].is_number(), "{of_other:#}");
    assert!(hidden["notes"].to_string().contains("hidden from this one"), "{hidden:#}");
    reader.batch_execute("COMMIT").await.unwrap();
    server.rows("ROLLBACK PREPARED 'it''s left'");
    server.rows("SELECT pg_drop_replication_slot('decodes')");

    // A standby that asks for old rows.
    for setting in ["hot_standby_feedback = on", "wal_receiver_status_interval = 1"] {
        standby.rows(&format!("ALTER SYSTEM SET {setting}"));
    }
    standby.rows("SELECT pg_reload_conf()");
    let watcher = session_at(&server.url()).await;
    let far = session_at(&standby.url()).await;
    until(&far, "SELECT to_regclass('t') IS NOT NULL").await;
    far.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT * FROM t").await.unwrap();
    server.rows("UPDATE t SET v = 3 WHERE id = 1");
    until(&watcher, "SELECT bool_or(backend_xmin IS NOT NULL) IS TRUE FROM pg_stat_replication").await;
    server.rows("UPDATE t SET v = 4 WHERE id = 1");
    let seen = holders(&case, &server.url());
    let of_standby = named(&seen, "standby walreceiver");
    assert!(of_standby["state"] == "hot_standby_feedback" && of_standby["remedy"].as_str().unwrap().contains("end that one there"));
    far.batch_execute("COMMIT").await.unwrap();

    // Nothing that looks falls over in recovery.
    let all = case.run(&format!("stats all --json -d {}", standby.url())).exit(1).json();
    let missing: Vec<_> =
        all["stats"].as_array().unwrap().iter().filter(|stat| stat["available"] != true).map(|stat| &stat["stat"]).collect();
    assert_eq!(missing, ["slow-queries"], "{all:#}");

    // One that has stopped says so, and is no fine one.
    let of_standby = || {
        let seen = case.run(&format!("stats replication --json -d {}", standby.url())).exit(0).json();
        (seen["rows"].as_array().unwrap().iter().find(|row| row["kind"] == "this standby").unwrap().clone(), seen["notes"].to_string())
    };
    let verdict = |url: &str| {
        let document = case.run(&format!("doctor --json -d {url}")).json();
        document["checks"].as_array().unwrap().iter().find(|check| check["name"] == "standby").unwrap().clone()
    };
    assert_eq!((of_standby().0["state"].clone(), verdict(&standby.url())["verdict"].clone()), ("streaming".into(), "ok".into()));
    assert_eq!(verdict(&server.url())["why"], "this is no standby");
    standby.rows("SELECT pg_wal_replay_pause()");
    let (row, notes) = of_standby();
    assert!(row["state"] == "streaming, replay paused" && notes.contains("pg_wal_replay_resume()"), "{row:#} {notes}");
    let found = verdict(&standby.url());
    assert!(found["verdict"] == "warning" && found["value"] == "replay paused", "{found:#}");
    standby.rows(found["remedy"].as_str().unwrap());
    assert_eq!(verdict(&standby.url())["verdict"], "ok");
    server.stop();
    until(&far, "SELECT count(*) = 0 FROM pg_stat_wal_receiver").await;
    assert_eq!(verdict(&standby.url())["value"], "receives nothing");
    // A command is no proof that it brings anything.
    standby.rows("ALTER SYSTEM SET restore_command = '/bin/false'");
    standby.rows("SELECT pg_reload_conf()");
    until(&session_at(&standby.url()).await, "SELECT current_setting('restore_command') <> ''").await;
    assert_eq!(verdict(&standby.url())["verdict"], "unknown");
}
