//! Who keeps old rows from being cleaned up is named, whoever it is, and what has to be frozen is; and a standby that has stopped is not shown as one that goes on.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::server::{Server, machine};
use crate::stats::{session_at, until};
use crate::support::{Case, Database};

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
    let who = "-- ask the coordinator first; in database postgres as candlefish or a superuser";
    assert_eq!(prepared["remedy"], format!("COMMIT PREPARED 'it''s left' or ROLLBACK PREPARED 'it''s left' {who}"));
    // One whose name no line can show is ended by what is printed, too.
    server.rows("BEGIN; INSERT INTO t VALUES (3, 0); PREPARE TRANSACTION E'two\\nli\\\\nes\x1b[2J'");
    let printed = case.run(&format!("stats vacuum -d {}", server.url())).exit(0).stdout;
    let line = printed.lines().find(|line| line.contains("PREPARED E'")).unwrap_or_else(|| panic!("{printed}"));
    let ends = &line[line.rfind("ROLLBACK PREPARED").unwrap()..];
    assert!(ends.starts_with("ROLLBACK PREPARED E'two\\u000Ali\\\\nes\\u001B[2J' --"), "{ends}");
    server.rows(ends);
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

fn sections<'a>(seen: &'a Value, what: &str) -> Vec<&'a Value> {
    seen["rows"].as_array().unwrap().iter().filter(|row| row["what"] == what).collect()
}

/// Tables and catalogs that are older than they may become, each by its own limit; and all who keep them from being frozen, as far as somebody wants to see.
#[tokio::test(flavor = "multi_thread")]
async fn what_has_to_be_frozen_is_named_and_so_is_who_is_in_the_way() {
    let server = Server::start(&machine(), &["autovacuum_freeze_max_age = 200000", "autovacuum = off"]);
    let case = Case::new("freeze");
    server.rows(
        "CREATE TABLE early (id int, note text) WITH (autovacuum_freeze_max_age = 100000); CREATE TABLE late (id int) WITH (autovacuum_freeze_max_age = 1000000); \
         CREATE TABLE plain (id int); CREATE ROLE nobody LOGIN",
    );
    // While these look, nothing is frozen, whoever tries.
    let mut holding = Vec::new();
    for _ in 0..7 {
        let reader = session_at(&server.url()).await;
        reader.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT * FROM plain").await.unwrap();
        holding.push(reader);
    }
    let burn = || server.rows("DO $$ BEGIN FOR i IN 1..100100 LOOP PERFORM txid_current(); COMMIT; END LOOP; END $$");
    let seen = |more: &str| case.run(&format!("stats vacuum --json {more} -d {}", server.url())).exit(0).json();
    assert_eq!(sections(&seen(""), "to freeze"), [&Value::Null; 0]);
    burn();
    let young = seen("");
    let [table, toast] = sections(&young, "to freeze")[..] else { panic!("{young:#}") };
    assert_eq!(
        (&table["name"], &table["freeze_at"], &table["remedy"]),
        (&"public.early".into(), &100_000.into(), &"VACUUM (FREEZE) public.early".into())
    );
    assert!(table["xid_age"].as_i64().unwrap() > 100_000 && table["freeze_ratio"].as_f64().unwrap() > 1.0, "{table:#}");
    assert!(
        toast["name"].as_str().unwrap().ends_with(" of public.early") && toast["remedy"] == "VACUUM (FREEZE) public.early",
        "{toast:#}"
    );
    assert!(young["notes"].to_string().contains("end that first"), "{young:#}");
    // Each that holds them back, and not the first five.
    assert_eq!((sections(&young, "held back by").len(), &young["rows_left_out"]), (7, &0.into()));
    let few = seen("--limit 3");
    assert_eq!((sections(&few, "held back by").len(), &few["rows_left_out"]), (3, &4.into()));
    let printed = case.run(&format!("stats vacuum --limit 3 -d {}", server.url())).exit(0).stdout;
    assert!(printed.contains("\nheld back by  ") || printed.starts_with("held back by  "), "{printed}");
    assert!(printed.contains("… and 4 more who hold old rows back (--limit)\n\nto freeze "), "{printed}");

    // Catalogs, too; and what its own options would let become older than all others does not.
    burn();
    let all = seen("--limit 10000");
    let named: Vec<&str> = sections(&all, "to freeze").iter().map(|row| row["name"].as_str().unwrap()).collect();
    assert!(
        ["public.early", "public.late", "public.plain", "pg_class", "pg_database"].iter().all(|name| named.contains(name)),
        "{named:?}"
    );
    assert_eq!(named[0], "public.early", "the first that has to be");
    let of = |name: &str| *sections(&all, "to freeze").iter().find(|row| row["name"] == name).unwrap();
    assert_eq!((&of("public.late")["freeze_at"], &of("public.plain")["freeze_at"]), (&200_000.into(), &200_000.into()));
    let left_out = seen("--limit 4");
    let shown = sections(&left_out, "to freeze").len();
    assert_eq!((shown, left_out["rows_left_out"].as_u64().unwrap()), (4, (named.len() - 4 + 3) as u64));
    let hidden = case.run(&format!("stats vacuum --limit 10000 --json -d {}", server.url_as("nobody"))).exit(0).json();
    let of_other = sections(&hidden, "to freeze").into_iter().find(|row| row["name"].as_str().unwrap() == "public.early").unwrap();
    assert_eq!(of_other["remedy"], "VACUUM (FREEZE) public.early -- as its owner, the database's, or a superuser");

    // What is proposed mends it once nobody is in the way.
    drop(holding);
    let watcher = session_at(&server.url()).await;
    until(&watcher, "SELECT count(*) = 0 FROM pg_stat_activity WHERE state LIKE 'idle in transaction%'").await;
    for row in sections(&seen("--limit 10000"), "to freeze") {
        // One that autovacuum is at has none.
        if let Some(remedy) = row["remedy"].as_str() {
            watcher.batch_execute(remedy).await.unwrap();
        }
    }
    let began = Instant::now();
    while !sections(&seen(""), "to freeze").is_empty() {
        assert!(began.elapsed() < Duration::from_secs(30), "{:#}", seen(""));
    }
}

/// What nobody vacuums is due at no number of dead rows.
#[test]
fn a_table_without_autovacuum_is_not_due() {
    let database = Database::fresh();
    for (name, options) in [("cleaned", ""), ("left_alone", "WITH (autovacuum_enabled = no, autovacuum_vacuum_threshold = 3)")] {
        database.execute(&format!(
            "CREATE TABLE {name} (i int) {options}; INSERT INTO {name} SELECT generate_series(1, 40); DELETE FROM {name}"
        ));
    }
    database.until("SELECT count(*) = 2 FROM pg_stat_user_tables WHERE n_dead_tup = 40");
    let case = Case::new("off").database(&database);
    let vacuum = case.run("stats vacuum --json -d {url}").exit(0).json();
    let of = |name: &str| *sections(&vacuum, "table").iter().find(|row| row["name"].as_str().unwrap().ends_with(name)).unwrap();
    let [off, on] = [of("left_alone"), of("cleaned")];
    assert!(
        off["state"] == "autovacuum is off" && off["due_at"].is_null() && off["due_ratio"].is_null() && off["dead_est"] == 40,
        "{off:#}"
    );
    assert!(on["state"].is_null() && on["due_ratio"].as_f64().unwrap() < 1.0, "{on:#}");
    let tables = case.run("stats tables --json -d {url}").exit(0).json();
    let of = |name: &str| tables["rows"].as_array().unwrap().iter().find(|row| row["table"].as_str().unwrap().ends_with(name)).unwrap();
    assert!(of("left_alone")["autovacuum"] == "off" && of("cleaned")["autovacuum"].is_null(), "{tables:#}");
    case.run("doctor -d {url}").stdout_has("ALTER TABLE public.left_alone RESET (autovacuum_enabled);");
}
