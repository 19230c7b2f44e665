//! Runs that are killed, cut off, stopped or out of room, and what goes on from there.

#![allow(clippy::print_stderr, reason = "a test says what it tried")]

use std::fs;
use std::process::{Child, Command, Stdio};

use serde_json::Value as Json;
use tokio_postgres::{Client, NoTls};

use crate::support::{Case, Database, Output};

mod kill_loop;
mod refusals;
mod room;
mod sections;
mod silence;

/// Several chunks, every kind of object, and rows that are set aside.
pub const SOURCE: &str = "CREATE TABLE person(id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL, mail TEXT UNIQUE, born DATE, CHECK (length(name) > 0));
    CREATE TABLE visit(id INTEGER PRIMARY KEY, person INTEGER NOT NULL REFERENCES person(id), at DATETIME, note TEXT);
    CREATE TABLE setting(key TEXT PRIMARY KEY, value) WITHOUT ROWID;
    CREATE INDEX visit_person ON visit(person);
    CREATE INDEX visit_late ON visit(at DESC) WHERE note IS NOT NULL;
    CREATE VIEW visits AS SELECT p.name, v.at FROM visit v JOIN person p ON p.id = v.person;
    WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 4000)
        INSERT INTO person SELECT i, 'person ' || i, 'p' || i || '@example.org', date('1950-01-01', i || ' days') FROM n;
    WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 12000)
        INSERT INTO visit SELECT i, i % 4000 + 1, datetime('2020-01-01', i || ' minutes'), iif(i % 3 = 0, NULL, 'note ' || hex(i * 7919)) FROM n;
    UPDATE visit SET note = 'no' || char(0) || 'pe' WHERE id IN (7, 5000, 5001, 11999);
    INSERT INTO setting VALUES('a', 1), ('b', 2), ('c', 3);";
/// Rows of `SOURCE` that PostgreSQL cannot hold.
pub const SET_ASIDE: usize = 4;
/// Chunks of about a tenth of `visit`.
pub const CHUNKS: &str = "--chunk-bytes=40000";

/// A session of PostgreSQL that lives as long as it is held.
pub struct Session {
    runtime: tokio::runtime::Runtime,
    client: Client,
}

impl Session {
    pub fn of(database: &Database) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (client, connection) = runtime.block_on(tokio_postgres::connect(&database.url(), NoTls)).unwrap();
        runtime.spawn(connection);
        Session { runtime, client }
    }

    pub fn execute(&self, sql: &str) {
        self.runtime.block_on(self.client.batch_execute(sql)).unwrap();
    }
}

/// A gate in the journal: whoever writes the chunk that it is for waits there, while the gate is held.
pub struct Gate {
    session: Session,
}

impl Gate {
    /// Closed for chunk `number` of `table`.
    pub fn at(database: &Database, table: &str, number: usize) -> Self {
        database.execute(include_str!("../../src/postgres/queries/journal.sql"));
        database.execute(&format!(
            "CREATE OR REPLACE FUNCTION public.gate() RETURNS trigger LANGUAGE plpgsql AS $$
             BEGIN IF NEW.source = '{table}' AND NEW.chunk = {number} THEN PERFORM pg_advisory_xact_lock_shared(4711); END IF; RETURN NEW; END $$;
             DROP TRIGGER IF EXISTS gate ON candlefish.chunk; CREATE TRIGGER gate BEFORE INSERT ON candlefish.chunk FOR EACH ROW EXECUTE FUNCTION public.gate()"
        ));
        let session = Session::of(database);
        session.execute("SELECT pg_advisory_lock(4711)");
        Gate { session }
    }

    /// Waits until a session stands before the gate.
    pub fn await_somebody(&self, database: &Database) {
        database.until(STANDING);
    }

    pub fn open(self, database: &Database) {
        self.session.execute("SELECT pg_advisory_unlock(4711)");
        drop(self);
        database.execute("DROP FUNCTION public.gate() CASCADE");
    }
}

pub const STANDING: &str = "SELECT count(*) > 0 FROM pg_locks WHERE locktype = 'advisory' AND objid = 4711 AND NOT granted
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";

/// `candlefish migrate {source} {url} …` as a process that can be killed.
pub fn start(case: &Case, database: &Database, flags: &[&str]) -> Child {
    let mut command = case.command();
    command.arg("migrate").arg(case.source_path()).arg(database.url()).args(flags);
    command.stdin(Stdio::null()).spawn().unwrap()
}

pub fn ended(child: Child) -> (Option<i32>, String, String) {
    let output = child.wait_with_output().unwrap();
    (output.status.code(), String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
}

pub fn kill(mut child: Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

pub fn send(child: &Child, signal: &str) {
    assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success());
}

/// A run that was killed while chunk `number` of `table` was about to land; what landed before it has landed.
pub fn killed_at(case: &Case, database: &Database, flags: &[&str], table: &str, number: usize) {
    let gate = Gate::at(database, table, number);
    let child = start(case, database, flags);
    gate.await_somebody(database);
    kill(child);
    gate.open(database);
}

/// The schema's objects as PostgreSQL itself writes them, and what its sequences give next.
pub const OBJECTS: &str = "SELECT 'constraint ' || conrelid::regclass || ' ' || conname || ' ' || pg_get_constraintdef(oid) FROM pg_constraint WHERE connamespace = 'public'::regnamespace
    UNION ALL SELECT 'index ' || pg_get_indexdef(indexrelid) || ' ' || indisvalid FROM pg_index JOIN pg_class c ON c.oid = indexrelid WHERE c.relnamespace = 'public'::regnamespace
    UNION ALL SELECT 'view ' || pg_get_viewdef(oid) FROM pg_class WHERE relkind = 'v' AND relnamespace = 'public'::regnamespace
    UNION ALL SELECT 'trigger ' || tgname || ' ' || tgenabled::text || ' ' || tgrelid::regclass FROM pg_trigger WHERE NOT tgisinternal AND tgname <> 'gate'
    UNION ALL SELECT 'sequence ' || sequencename || ' ' || coalesce(last_value, 0) FROM pg_sequences WHERE schemaname = 'public'
    ORDER BY 1";

/// Lines of every rejects file under the case's folder.
pub fn rejects(case: &Case) -> Vec<String> {
    let mut lines = Vec::new();
    let Ok(runs) = fs::read_dir(case.dir().join("candlefish-rejects")) else { return lines };
    for file in runs.flat_map(|run| fs::read_dir(run.unwrap().path()).unwrap()) {
        let path = file.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "jsonl") {
            lines.extend(fs::read_to_string(path).unwrap().lines().map(str::to_string));
        }
    }
    lines
}

#[test]
fn a_killed_run_goes_on_and_tells_of_the_whole() {
    let (whole, database) = (Database::fresh(), Database::fresh());
    let case = Case::new("killed and resumed").source_sql(SOURCE).database(&database);
    start_and_end(&case, &whole);
    fs::remove_dir_all(case.dir().join("candlefish-rejects")).unwrap();
    killed_at(&case, &database, &[CHUNKS, "--jobs=1"], "visit", 3);
    assert_eq!(database.value("SELECT count(*) FROM candlefish.chunk WHERE source = 'visit'"), "3");
    let refused = case.run("migrate {source} {url} --json").exit(2).json();
    assert_eq!(refused["error"]["code"], "interrupted_run");

    let resumed = case.run("migrate {source} {url} --resume --json").exit(1);
    let report = resumed.json();
    assert_eq!(
        (&report["outcome"], &report["rows_read"], &report["rows_rejected"]),
        (&"rejected".into(), &16003.into(), &4.into()),
        "{report}"
    );
    assert_eq!(report["rows_written"], 16003 - 4);
    assert!(report["tables"].as_array().unwrap().iter().all(|table| table["verified"] == true), "{report}");
    assert!(report["objects"]["created"].as_u64().unwrap() >= 8, "{report}");
    assert!(report["warnings"].to_string().contains("was interrupted and resumed"), "{report}");
    assert_eq!(rejects(&case).len(), SET_ASIDE);
    assert_eq!(database.rows(OBJECTS), whole.rows(OBJECTS));

    // All is done: it says so, and answers the same again.
    let again = case.run("migrate {source} {url} --resume --json").exit(0);
    assert_eq!(again.json()["rows_read"], 16003);
    again.stderr_has("has come to its end, and its outcome was rejected");
    assert_eq!(database.value("SELECT count(*) FROM candlefish.run"), "1");
}

fn start_and_end(case: &Case, database: &Database) {
    let (code, _, stderr) = ended(start(case, database, &[CHUNKS]));
    assert_eq!(code, Some(1), "{stderr}");
}

#[test]
fn with_nothing_to_resume_a_run_begins() {
    let database = Database::fresh();
    let case = Case::new("nothing").source_sql("CREATE TABLE t(id INTEGER PRIMARY KEY); INSERT INTO t VALUES(1)").database(&database);
    case.run("migrate {source} {url} --resume").exit(0).stderr_has("nothing to resume");
    assert_eq!(database.rows("SELECT * FROM t"), ["1"]);
    case.run("migrate {source} {url} --resume=20200101-000000-00000000 --json").exit(2).stdout_has("run_not_found");
}

#[test]
fn what_a_killed_run_left_behind_is_ended_first() {
    let database = Database::fresh();
    let case = Case::new("left behind").source_sql(SOURCE).database(&database);
    let gate = Gate::at(&database, "visit", 3);
    let child = start(&case, &database, &[CHUNKS, "--jobs=1"]);
    gate.await_somebody(&database);
    kill(child);
    // The server goes on with what it was told: its session stands at the gate and knows of nothing.
    assert_eq!(database.value(STANDING), "t");
    let old = database.value(&STANDING.replace("count(*) > 0", "pid"));
    let resumed = start(&case, &database, &[CHUNKS, "--resume"]);
    database.until(&format!("SELECT count(*) = 0 FROM pg_stat_activity WHERE pid = {old}"));
    gate.await_somebody(&database);
    gate.open(&database);
    let (code, _, stderr) = ended(resumed);
    assert_eq!(code, Some(1), "{stderr}");
    assert_eq!(database.rows("SELECT count(*), count(DISTINCT id) FROM visit"), [format!("{0}|{0}", 12000 - SET_ASIDE)]);
}

#[test]
fn a_run_that_is_under_way_is_not_taken_from_its_process() {
    let database = Database::fresh();
    let case = Case::new("under way").source_sql(&format!("PRAGMA journal_mode=WAL; {SOURCE}")).database(&database);
    let gate = Gate::at(&database, "visit", 3);
    let child = start(&case, &database, &[CHUNKS]);
    gate.await_somebody(&database);
    let refused = case.run("migrate {source} {url} --chunk-bytes=40000 --resume --json").exit(2).json();
    assert_eq!((&refused["error"]["code"], &refused["error"]["target_changed"]), (&"run_in_progress".into(), &false.into()), "{refused}");
    let runs = case.run("runs --to {url} --json").exit(0).json();
    assert_eq!((&runs["runs"][0]["state"], &runs["runs"][0]["resume"]), (&"running".into(), &Json::Null), "{runs}");
    gate.open(&database);
    let (code, _, stderr) = ended(child);
    assert_eq!(code, Some(1), "{stderr}");
}

#[test]
fn a_cut_connection_is_healed_within_the_run() {
    let database = Database::fresh();
    let case = Case::new("cut").source_sql(SOURCE).database(&database);
    let gate = Gate::at(&database, "visit", 3);
    let child = start(&case, &database, &[CHUNKS]);
    gate.await_somebody(&database);
    let sessions =
        "FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'candlefish%' AND pid <> pg_backend_pid()";
    database.rows(&format!("SELECT pg_terminate_backend(pid) {sessions}"));
    database.until(STANDING);
    // And the session that keeps the run's lock.
    let keeper = STANDING.replace("objid = 4711 AND NOT granted", "mode = 'ExclusiveLock' AND granted AND objid <> 4711");
    database.until(&keeper);
    assert_eq!(database.rows(&keeper.replace("count(*) > 0", "pg_terminate_backend(pid)")), ["t"]);
    database.until(STANDING);
    gate.open(&database);
    let (code, _, stderr) = ended(child);
    assert_eq!(code, Some(1), "{stderr}");
    assert!(stderr.contains("trying again in"), "{stderr}");
    assert_eq!(rejects(&case).len(), SET_ASIDE);
    assert_eq!(database.rows("SELECT count(*), count(DISTINCT id) FROM visit"), [format!("{0}|{0}", 12000 - SET_ASIDE)]);
}

#[test]
fn a_signal_stops_cleanly_and_says_how_to_go_on() {
    for (signal, code) in [("-INT", 130), ("-TERM", 143), ("-HUP", 129)] {
        let database = Database::fresh();
        let case = Case::new("a signal").source_sql(SOURCE).database(&database);
        let gate = Gate::at(&database, "visit", 3);
        let child = start(&case, &database, &[CHUNKS, "--jobs=1", "--json"]);
        gate.await_somebody(&database);
        send(&child, signal);
        let (ended_with, stdout, stderr) = ended(child);
        assert_eq!(ended_with, Some(code), "{stderr}");
        let report: Json = serde_json::from_str(&stdout).unwrap();
        assert_eq!(report["outcome"], "stopped", "{report}");
        let landed: u64 = database.value("SELECT sum(rows_written) FROM candlefish.chunk").parse().unwrap();
        assert_eq!(report["rows_written"], landed);
        // Nothing of it is left on the server.
        assert_eq!(database.value(STANDING), "f");
        gate.open(&database);
        let runs = case.run("runs --to {url} --json").exit(0).json();
        let line = runs["runs"][0]["resume"].as_str().unwrap().to_string();
        assert_eq!((report["resume"].as_str(), &runs["runs"][0]["state"]), (Some(line.as_str()), &"stopped".into()), "{runs}");
        assert!(stderr.contains(&format!("go on with {line}")), "{stderr}");
        // The line is whole but for the password, which nobody is shown.
        assert!(!line.contains(&crate::support::addresses().postgres_password), "{line}");
        let words = line.strip_prefix("candlefish ").unwrap().replace('\'', "");
        let words: Vec<&str> = words.split(' ').collect();
        let output = case.command().args(&words).env("PGPASSWORD", &crate::support::addresses().postgres_password).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{line}: {}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(database.value("SELECT count(*) FROM visit"), (12000 - SET_ASIDE).to_string());
    }
}

#[test]
fn a_long_statement_does_not_outlive_a_stop() {
    let database = Database::fresh();
    let case = Case::new("a long statement").source_sql(SOURCE).database(&database);
    // The index on visit waits for this lock, as a long one would work.
    database.execute(include_str!("../../src/postgres/queries/journal.sql"));
    database.execute(
        "CREATE FUNCTION public.gate() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF NEW.step LIKE 'object %' THEN PERFORM pg_sleep(60); END IF; RETURN NEW; END $$;
         CREATE TRIGGER gate BEFORE INSERT ON candlefish.step FOR EACH ROW EXECUTE FUNCTION public.gate()",
    );
    let child = start(&case, &database, &[CHUNKS]);
    let sleeping = "SELECT count(*) > 0 FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'";
    database.until(sleeping);
    send(&child, "-INT");
    let (code, _, stderr) = ended(child);
    assert_eq!(code, Some(130), "{stderr}");
    assert_eq!(database.value(sleeping), "f");
    database.execute("DROP FUNCTION public.gate() CASCADE");
    case.run("migrate {source} {url} --chunk-bytes=40000 --resume").exit(1);
}

#[test]
fn stop_after_is_a_clean_stop_and_not_a_success() {
    let database = Database::fresh();
    let case = Case::new("stop after").source_sql(SOURCE).database(&database);
    let gate = Gate::at(&database, "visit", 3);
    let stopped = case.run("migrate {source} {url} --chunk-bytes=40000 --stop-after 3 --json").exit(1).json();
    assert_eq!((&stopped["outcome"], &stopped["exit_reasons"][0]["code"]), (&"stopped".into(), &"stopped".into()), "{stopped}");
    gate.open(&database);
    case.run("runs --to {url}").exit(0).stdout_has("goes on with: candlefish migrate");
    case.run("migrate {source} {url} --resume").exit(1);
    let runs = case.run("runs --to {url} --json").exit(0).json();
    assert_eq!((&runs["runs"][0]["state"], &runs["runs"][0]["share"]), (&"rejected".into(), &1.0.into()), "{runs}");
    assert_eq!(runs["runs"].as_array().unwrap().len(), 1);
}

#[test]
fn tables_that_existed_get_everything_back() {
    let target = "CREATE TABLE person(id bigint PRIMARY KEY GENERATED BY DEFAULT AS IDENTITY, name text NOT NULL, mail text, born date);
        CREATE TABLE visit(id bigint PRIMARY KEY, person bigint REFERENCES person, at timestamp, note text);
        CREATE INDEX visit_at ON visit(at);
        CREATE TABLE setting(key text PRIMARY KEY, value bigint);
        CREATE FUNCTION told() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'a trigger fired'; END $$;
        CREATE TRIGGER always BEFORE INSERT ON visit FOR EACH ROW EXECUTE FUNCTION told();
        ALTER TABLE visit ENABLE ALWAYS TRIGGER always;
        CREATE TRIGGER plain BEFORE INSERT ON visit FOR EACH ROW EXECUTE FUNCTION told();
        CREATE TRIGGER emptied BEFORE TRUNCATE ON visit FOR EACH STATEMENT EXECUTE FUNCTION told();
        CREATE TRIGGER off BEFORE INSERT ON visit FOR EACH ROW EXECUTE FUNCTION told();
        ALTER TABLE visit DISABLE TRIGGER off;";
    for existing in ["truncate", "keep"] {
        let database = Database::fresh();
        database.execute(target);
        let row = if existing == "truncate" { "INSERT INTO person VALUES (1, 'old')" } else { "INSERT INTO person VALUES (100000, 'old')" };
        database.execute(row);
        let before = database.rows(OBJECTS);
        let case = Case::new(existing).source_sql(SOURCE).database(&database);
        let flag = format!("--existing={existing}");
        killed_at(&case, &database, &[CHUNKS, "--jobs=1", &flag], "visit", 3);
        assert_eq!(database.value("SELECT count(*) FROM pg_trigger WHERE NOT tgisinternal AND tgenabled <> 'D' AND tgname <> 'gate'"), "0");
        assert_ne!(database.rows(OBJECTS), before);
        let resumed = case.run(&format!("migrate {{source}} {{url}} --resume {flag}")).exit(1);
        // Sequences go on, and the view is new.
        let kind = |mut rows: Vec<String>| -> Vec<String> {
            rows.retain(|row| !row.starts_with("sequence") && !row.starts_with("view"));
            rows
        };
        assert_eq!(kind(database.rows(OBJECTS)), kind(before), "{resumed}");
        assert_eq!(database.value("SELECT count(*) FROM visit"), (12000 - SET_ASIDE).to_string());
        assert_eq!(database.value("SELECT count(*) FROM person WHERE name = 'old'"), if existing == "truncate" { "0" } else { "1" });
    }
}

#[test]
fn a_run_that_goes_on_says_what_a_given_schema_lacks() {
    let target =
        "CREATE TABLE person(id bigint PRIMARY KEY, name text, mail text, born date); CREATE TABLE setting(key text, value bigint);
        CREATE TABLE visit(id bigint PRIMARY KEY, person bigint, at timestamp, note text);";
    let lacks = |report: &Json| -> Vec<String> {
        let losses = report["warnings"].as_array().unwrap().iter().filter(|warning| warning["severity"] != "note");
        let mut said: Vec<String> = losses.map(|warning| format!("{} {}", warning["code"], warning["object"])).collect();
        said.sort();
        said
    };
    let (whole, database) = (Database::fresh(), Database::fresh());
    whole.execute(target);
    database.execute(target);
    let case = Case::new("given").source_sql(SOURCE).database(&database);
    let (_, one, _) = ended(start(&case, &whole, &["--json"]));
    let one = lacks(&serde_json::from_str(&one).unwrap());
    assert!(one.iter().any(|said| said.contains("visit_person")), "{one:?}");
    killed_at(&case, &database, &[CHUNKS, "--jobs=1"], "visit", 3);
    let resumed = case.run("migrate {source} {url} --resume --json").exit(1).json();
    assert_eq!(lacks(&resumed), one, "{resumed:#}");
}

#[test]
fn a_registry_and_its_migrations_go_on() {
    let database = Database::fresh();
    let case = Case::new("registry").source("registry-v2").database(&database);
    killed_at(&case, &database, &["--jobs=1"], "users", 0);
    let resumed = case.run("migrate {source} {url} --resume --json");
    let whole = Database::fresh();
    let (code, _, stderr) = ended(start(&case, &whole, &[]));
    assert_eq!(resumed.code, code, "{resumed}\n{stderr}");
    assert_eq!(database.rows(OBJECTS), whole.rows(OBJECTS));
    assert_eq!(resumed.json()["mapping"], "registry");
    case.run("schema status --to {url} --mapping registry").exit(0);
}

#[test]
fn the_rejects_of_both_parts_are_in_the_folder_that_is_named_last() {
    let database = Database::fresh();
    let case = Case::new("rejects").source_sql(SOURCE).database(&database);
    killed_at(&case, &database, &[CHUNKS, "--jobs=1", "--rejects=first"], "visit", 9);
    assert!(fs::read_to_string(case.dir().join("first/visit.jsonl")).unwrap().lines().count() >= 3);
    let report = case.run("migrate {source} {url} --resume --rejects second --json").exit(1).json();
    assert_eq!(fs::read_to_string(case.dir().join("second/visit.jsonl")).unwrap().lines().count(), SET_ASIDE);
    assert_eq!((&report["rejects_dir"], &report["rows_rejected"]), (&"second".into(), &4.into()));
    case.run("verify {source} {url} --rejects second").exit(0);
}

#[test]
fn a_run_that_only_looks_is_shown_and_has_written_nothing() {
    let database = Database::fresh();
    let case = Case::new("looks").source_sql("CREATE TABLE t(id INTEGER PRIMARY KEY); INSERT INTO t VALUES(1)").database(&database);
    database.execute("CREATE TABLE t(id bigint PRIMARY KEY)");
    let other = Session::of(&database);
    other.execute("BEGIN; LOCK TABLE t IN ACCESS EXCLUSIVE MODE");
    let child = start(&case, &database, &[]);
    database.until("SELECT count(*) > 0 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'");
    let runs = case.run("runs --to {url} --json").exit(0).json();
    let [run] = &runs["runs"].as_array().unwrap()[..] else { panic!("{runs}") };
    assert_eq!((&run["state"], &run["phase"], &run["source"]), (&"running".into(), &"plan".into(), &Json::Null), "{run:#}");
    assert!(run["started_at"].as_str().unwrap().starts_with("20"), "{run:#}");
    case.run("runs --to {url}").exit(0).stdout_has(run["run_id"].as_str().unwrap());
    assert_eq!(database.value("SELECT count(*) FROM pg_namespace WHERE nspname = 'candlefish'"), "0");
    other.execute("ROLLBACK");
    let (code, _, stderr) = ended(child);
    assert_eq!(code, Some(0), "{stderr}");
    let runs = case.run("runs --to {url} --json").exit(0).json();
    assert_eq!(runs["runs"].as_array().unwrap().len(), 1, "{runs}");
    assert_eq!((&runs["runs"][0]["run_id"], &runs["runs"][0]["state"]), (&run["run_id"], &"clean".into()), "{runs}");
}

#[test]
fn runs_lists_them_and_a_journal_can_be_dropped() {
    let database = Database::fresh();
    let sources = "CREATE TABLE t(id INTEGER PRIMARY KEY); INSERT INTO t VALUES(1)";
    let case = Case::new("runs").source_sql(sources).database(&database);
    case.run("runs --to {url}").exit(0).stdout_has("no run of migrate");
    case.run("runs --to {url} nothing --json").exit(2).stdout_has("run_not_found");
    case.run("migrate {source} {url} --drop-journal").exit(0);
    assert_eq!(database.value("SELECT count(*) FROM pg_namespace WHERE nspname = 'candlefish'"), "0");
    assert_eq!(database.rows("SELECT * FROM t"), ["1"]);
    case.run("migrate {source} {url} --existing truncate").exit(0);
    let listed = case.run("runs --to {url} --format csv").exit(0);
    assert_eq!(listed.stdout.lines().count(), 2, "{listed}");
    let id = case.run("runs --to {url} --json").exit(0).json()["runs"][0]["run_id"].as_str().unwrap().to_string();
    let watched: Output = case.run(&format!("runs {id} --to {{url}} --watch --json")).exit(0);
    assert_eq!(watched.stdout.lines().count(), 1, "one line a tick, and the run has ended: {watched}");
    case.run("migrate {source} {url} --existing truncate --drop-journal").exit(0);
    assert_eq!(database.value("SELECT count(*) FROM candlefish.run"), "1", "the other run stays");
}
