//! `--retry-rejects`: rows that were set aside load once what kept them out has changed, each once, and what still does not fit stays.

use std::fs;
use std::path::PathBuf;

use serde_json::json;

use crate::store::proxy::Proxy;
use crate::support::{Case, Database, addresses};
use crate::survive::{Gate, STANDING, ended, start};

/// The folder of the one run that set rows aside, and the names of its files.
fn rejects(case: &Case) -> (PathBuf, Vec<String>) {
    let mut folders = fs::read_dir(case.dir().join("candlefish-rejects")).unwrap().map(|entry| entry.unwrap().path());
    let folder = folders.next().unwrap();
    assert_eq!(folders.next(), None, "one folder of rejects");
    let mut files: Vec<String> =
        fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
    files.sort();
    (folder, files)
}

fn retry(case: &Case, flags: &str) -> crate::support::Output {
    let (folder, _) = rejects(case);
    case.run(&format!("migrate {{source}} --to {{url}} --json --retry-rejects {} {flags}", folder.display()))
}

const BAD_TEXT: &str = "CREATE TABLE t(id INTEGER PRIMARY KEY, s TEXT, b BLOB, r REAL);
    INSERT INTO t VALUES (1, 'ok', x'00', 0.1), (2, 'a' || char(0) || 'b', x'ff00', 1e-320), (3, CAST(x'66ff' AS TEXT), NULL, 3.5);";

#[test]
fn rows_load_after_the_mapping_has_changed_and_only_once() {
    let database = Database::fresh();
    let case = Case::new("changed mapping").source_sql(BAD_TEXT).database(&database);
    assert_eq!(case.run("migrate {source} --to {url} --json").exit(1).json()["rows_rejected"], 2);
    // Nothing has changed: they stay, and nothing else happens.
    let same = retry(&case, "").exit(1).json();
    assert_eq!((same["rows_read"].as_i64(), same["rows_written"].as_i64(), same["rows_rejected"].as_i64()), (Some(2), Some(0), Some(2)));
    assert_eq!(same["outcome"], "rejected");

    fs::write(case.dir().join("m.toml"), "[tables.t.columns.s]\nbad_text = \"replace\"\n").unwrap();
    let loaded = retry(&case, "--mapping {dir}/m.toml").exit(0);
    assert_eq!(loaded.json()["outcome"], "clean", "{loaded}");
    assert_eq!(loaded.json()["tables"][0]["verified"], true, "{loaded}");
    assert_eq!(database.rows("SELECT id, s, b, r FROM t ORDER BY id")[1..], ["2|a␀b|\\xff00|1e-320", "3|f\u{fffd}||3.5"]);
    let (_, files) = rejects(&case);
    assert!(files.iter().all(|file| file.starts_with("t.jsonl.done-")), "{files:?}");
    // Again: there is nothing left to try.
    assert_eq!(retry(&case, "").exit(0).json()["rows_read"], 0);
    assert_eq!(database.value("SELECT count(*) FROM t"), "3");
    assert_eq!(case.run("verify {source} --to {url} --json").exit(0).json()["outcome"], "identical");
}

#[test]
fn what_still_does_not_fit_stays_with_its_new_reason() {
    let database = Database::fresh();
    database.execute("CREATE TABLE t(id int PRIMARY KEY, n int)");
    let case = Case::new("still misfits")
        .source_sql("CREATE TABLE t(id INTEGER PRIMARY KEY, n); INSERT INTO t VALUES (1, 1), (2, 5000000000), (3, 'lots'), (4, 2.5)")
        .database(&database);
    assert_eq!(case.run("migrate {source} --to {url} --json").exit(1).json()["rows_rejected"], 3);
    database.execute("ALTER TABLE t ALTER n TYPE numeric");
    let partly = retry(&case, "").exit(1);
    assert_eq!(partly.json()["rows_written"], 2, "{partly}");
    assert_eq!(database.rows("SELECT id, n FROM t ORDER BY id"), ["1|1", "2|5000000000", "4|2.5"]);
    let (folder, _) = rejects(&case);
    let left = fs::read_to_string(folder.join("t.jsonl")).unwrap();
    assert_eq!(left.lines().count(), 1, "{left}");
    assert!(left.contains("\"id\":3") && left.contains("not a number"), "{left}");
    let verdict = case.run("verify {source} --to {url} --json").exit(0).json();
    assert_eq!((verdict["outcome"].as_str(), verdict["tables"][0]["rows_set_aside"].as_i64()), (Some("identical"), Some(1)));
    // A row that came later and cannot be there either was not set aside by any run; and a retry keeps no rows of the target's own.
    let change = |sql: &str| rusqlite::Connection::open(case.source_path()).unwrap().execute_batch(sql).unwrap();
    change("INSERT INTO t VALUES (9, 'bad')");
    let found = case.run("verify {source} --to {url}").exit(1).stdout_has("different: 1 difference (");
    found.stdout_has("1 row of the source cannot be in PostgreSQL, and no run has set it aside");
    // By its key, whatever the files of other runs hold, it is told from the one that was set aside, also where that is gone.
    change("DELETE FROM t WHERE id = 3");
    let new = json!([{"key": {"id": 9}, "kind": "missing", "columns": [{"column": "n", "source": "bad", "target": null}]}]);
    let found = case.run("verify {source} --to {url} --json").exit(1).json();
    assert_eq!((&found["tables"][0]["differences"], &found["differences_total"]), (&new, &json!(1)), "{found}");
    change("DELETE FROM t WHERE id = 9; INSERT INTO t VALUES (3, 'lots'); UPDATE t SET n = 'worse' WHERE id = 1");
    // One that was brought and was changed so since is one that was changed.
    let changed = json!([{"key": {"id": 1}, "kind": "changed", "columns": [{"column": "n", "source": "worse", "target": 1}]}]);
    let found = case.run("verify {source} --to {url} --json").exit(1).json();
    assert_eq!((&found["tables"][0]["differences"], &found["differences_total"]), (&changed, &json!(1)), "{found}");
    // Without the files the runs' number is known.
    let found = case.run("verify {source} --to {url} --json --rejects {dir}").exit(1).json();
    assert_eq!((&found["tables"][0]["differences"], &found["differences_total"]), (&changed, &json!(1)), "{found}");
    // It stands for one row of the target; where that has lost its key, further ones are there alone.
    database.execute("ALTER TABLE t DROP CONSTRAINT t_pkey; INSERT INTO t VALUES (1, 1), (1, 1)");
    let extra = json!({"key": {"id": 1}, "kind": "extra", "columns": []});
    let found = case.run("verify {source} --to {url} --json").exit(1).json();
    assert_eq!(found["tables"][0]["differences"], json!([extra, extra, changed[0]]), "{found}");
    assert_eq!((&found["tables"][0]["rows_set_aside"], &found["differences_total"]), (&json!(1), &json!(3)), "{found}");
    database.execute("DELETE FROM t WHERE id = 1; INSERT INTO t VALUES (1, 1)");
    change("UPDATE t SET n = 1 WHERE id = 1");
    database.execute("INSERT INTO t VALUES (77, 1)");
    let found = case.run("verify {source} --to {url} --json").exit(1).json();
    assert_eq!(found["tables"][0]["differences"][0]["kind"], "extra", "{found}");
    // A folder that is elsewhere is missed only for tables that are meant.
    fs::rename(&folder, case.dir().join("elsewhere")).unwrap();
    case.run("verify {source} --to {url}").exit(1).stderr_has("which is not here");
    let left_out = case.run("verify {source} --to {url} --exclude t");
    assert!(!left_out.stderr.contains("which is not here"), "{left_out}");
}

#[test]
fn children_wait_for_parents_and_keys_become_whole_again() {
    let database = Database::fresh();
    let case = Case::new("orphans")
        .source_sql(
            "CREATE TABLE parent(id INTEGER PRIMARY KEY, s TEXT); INSERT INTO parent VALUES (1, 'ok'), (2, 'x' || char(0)), (3, 'y' || char(0));
             CREATE TABLE a_child(id INTEGER PRIMARY KEY, p INTEGER REFERENCES parent, s TEXT);
             INSERT INTO a_child VALUES (1, 1, 'ok'), (2, 2, 'ok'), (3, 3, 'z' || char(0));",
        )
        .database(&database);
    let first = case.run("migrate {source} --to {url} --json").exit(1).json();
    assert!(first["warnings"].to_string().contains("foreign_key_not_valid"), "{first}");
    fs::write(
        case.dir().join("m.toml"),
        "[tables.parent.columns.s]\nbad_text = \"strip\"\n[tables.a_child.columns.s]\nbad_text = \"strip\"\n",
    )
    .unwrap();
    // `a_child` comes first, and its third row waits for its parent.
    let loaded = retry(&case, "--mapping {dir}/m.toml").exit(0);
    assert_eq!(loaded.json()["rows_written"], 3, "{loaded}");
    assert_eq!(database.rows("SELECT id, p, s FROM a_child ORDER BY id"), ["1|1|ok", "2|2|ok", "3|3|z"]);
    assert_eq!(database.value("SELECT convalidated FROM pg_constraint WHERE conrelid = 'a_child'::regclass AND contype = 'f'"), "t");
}

#[test]
fn a_key_that_the_table_has_gained_keeps_its_row() {
    let database = Database::fresh();
    let case = Case::new("gained key").source_sql(BAD_TEXT).database(&database);
    case.run("migrate {source} --to {url}").exit(1);
    database.execute("INSERT INTO t VALUES (2, 'by hand')");
    database.execute(
        "CREATE TABLE fired(id bigint); CREATE FUNCTION fire() RETURNS trigger LANGUAGE plpgsql AS
         $$ BEGIN INSERT INTO fired VALUES (NEW.id); RETURN NEW; END $$;
         CREATE TRIGGER fire AFTER INSERT ON t FOR EACH ROW EXECUTE FUNCTION fire()",
    );
    fs::write(case.dir().join("m.toml"), "[tables.t.columns.s]\nbad_text = \"strip\"\n").unwrap();
    let partly = retry(&case, "--mapping {dir}/m.toml --verify none").exit(1);
    assert_eq!((&partly.json()["rows_written"], &partly.json()["rows_rejected"]), (&1.into(), &1.into()), "{partly}");
    assert_eq!(database.rows("SELECT id, s FROM t ORDER BY id"), ["1|ok", "2|by hand", "3|f"]);
    let (folder, _) = rejects(&case);
    let left = fs::read_to_string(folder.join("t.jsonl")).unwrap();
    assert!(left.contains("23505") && left.contains("duplicate key"), "{left}");
    // Triggers did not fire, and do again.
    assert_eq!(database.value("SELECT count(*) FROM fired"), "0");
    database.execute("INSERT INTO t VALUES (50, 'later')");
    assert_eq!(database.rows("SELECT id FROM fired"), ["50"]);
}

#[test]
fn a_retry_that_was_killed_is_finished_or_undone() {
    let database = Database::fresh();
    let case = Case::new("killed").source_sql(BAD_TEXT).database(&database);
    case.run("migrate {source} --to {url}").exit(1);
    let (folder, files) = rejects(&case);
    assert_eq!(files, ["t.jsonl"]);
    let lines = fs::read_to_string(folder.join("t.jsonl")).unwrap();
    // Killed before the commit: the new file is nobody's.
    fs::write(folder.join("t.jsonl.retry-20260101-000000-00000001-0"), "").unwrap();
    assert_eq!(retry(&case, "").exit(1).json()["rows_rejected"], 2);
    assert_eq!(fs::read_to_string(folder.join("t.jsonl")).unwrap().lines().count(), 2);
    // Killed after it, as the journal knows: the second row has been loaded.
    database.execute("INSERT INTO t VALUES (2, 'ab', '\\xff00', 1e-320)");
    database.execute(
        "INSERT INTO candlefish.chunk (run_id, source, chunk, rows_written, rows_rejected) VALUES ('20260101-000000-00000002', 't.jsonl', 0, 1, 0)",
    );
    let third = lines.lines().find(|line| line.contains("\"id\":3")).unwrap();
    fs::write(folder.join("t.jsonl.retry-20260101-000000-00000002-0"), format!("{third}\n")).unwrap();
    fs::write(case.dir().join("m.toml"), "[tables.t.columns.s]\nbad_text = \"strip\"\n").unwrap();
    let rest = retry(&case, "--mapping {dir}/m.toml").exit(0);
    assert_eq!((&rest.json()["rows_read"], &rest.json()["rows_written"]), (&1.into(), &1.into()), "{rest}");
    assert_eq!(database.rows("SELECT id, s FROM t ORDER BY id"), ["1|ok", "2|ab", "3|f"]);
}

#[test]
fn a_retry_does_not_read_the_source_through_and_says_what_is_still_lost() {
    let database = Database::fresh();
    let case = Case::new("nothing read")
        .source_sql(&format!("{BAD_TEXT} CREATE VIEW lost AS SELECT json_extract(s, '$.a') AS a FROM t;"))
        .database(&database);
    assert!(case.run("migrate {source} --to {url} --json").exit(1).json()["warnings"].to_string().contains("view_missing"));
    fs::write(case.dir().join("m.toml"), "[tables.t.columns.s]\nbad_text = \"strip\"\n").unwrap();
    // One that does not come to its end knows too what is lost.
    let file = rejects(&case).0.join("t.jsonl");
    let lines = fs::read_to_string(&file).unwrap();
    fs::write(&file, format!("{lines}no line\n")).unwrap();
    retry(&case, "").exit(2);
    let lost = "SELECT settings::jsonb #>> '{losses,0,code}' FROM candlefish.run WHERE settings::jsonb ? 'retry_rejects'";
    assert_eq!(database.rows(lost), ["view_missing"]);
    fs::write(&file, lines).unwrap();
    let loaded = retry(&case, "--mapping {dir}/m.toml").exit(1).json();
    let phases: Vec<&str> = loaded["phases"].as_array().unwrap().iter().map(|phase| phase["name"].as_str().unwrap()).collect();
    assert_eq!(phases, ["plan", "copy", "constraints", "verify"], "{loaded}");
    assert_eq!((&loaded["rows_written"], &loaded["outcome"]), (&2.into(), &"incomplete".into()), "{loaded}");
    assert!(loaded["exit_reasons"].to_string().contains("view_missing"), "{loaded}");
}

#[test]
fn a_cut_connection_is_healed_within_the_retry() {
    let database = Database::fresh();
    let case = Case::new("cut").source_sql(BAD_TEXT).database(&database);
    case.run("migrate {source} --to {url}").exit(1);
    fs::write(case.dir().join("m.toml"), "[tables.t.columns.s]\nbad_text = \"strip\"\n").unwrap();
    let (folder, _) = rejects(&case);
    let gate = Gate::at(&database, "t.jsonl", 0);
    let (mapping, folder) = (format!("--mapping={}/m.toml", case.dir().display()), format!("--retry-rejects={}", folder.display()));
    let child = start(&case, &database, &["--json", &mapping, &folder]);
    gate.await_somebody(&database);
    let ours =
        "FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'candlefish%' AND pid <> pg_backend_pid()";
    database.rows(&format!("SELECT pg_terminate_backend(pid) {ours}"));
    database.until(STANDING);
    gate.open(&database);
    let (code, stdout, stderr) = ended(child);
    assert_eq!(code, Some(0), "{stdout}{stderr}");
    assert!(stderr.contains("trying again in"), "{stderr}");
    assert_eq!(database.rows("SELECT id, s FROM t ORDER BY id"), ["1|ok", "2|ab", "3|f"]);
    let (_, files) = rejects(&case);
    assert!(files.iter().all(|file| file.starts_with("t.jsonl.done-")), "{files:?}");
}

/// Only the journal knows that the rows have come: they are neither tried again nor forgotten.
#[test]
fn a_commit_whose_word_is_lost_counts_once() {
    let database = Database::fresh();
    let case = Case::new("lost word").source_sql(BAD_TEXT).database(&database);
    case.run("migrate {source} --to {url}").exit(1);
    fs::write(case.dir().join("m.toml"), "[tables.t.columns.s]\nbad_text = \"strip\"\n").unwrap();
    let (folder, _) = rejects(&case);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let proxy = runtime.block_on(Proxy::to(addresses().postgres_port));
    let url = database.url().replace(&format!(":{}/", addresses().postgres_port), &format!(":{}/", proxy.port));
    let gate = Gate::at(&database, "t.jsonl", 0);
    let mut command = case.command();
    command.arg("migrate").arg(case.source_path()).arg(url).arg("--json").arg("--retry-rejects").arg(folder);
    let child = command.arg("--mapping").arg(case.dir().join("m.toml")).stdin(std::process::Stdio::null()).spawn().unwrap();
    gate.await_somebody(&database);
    proxy.cut_after("COMMIT");
    gate.open(&database);
    let (code, stdout, stderr) = ended(child);
    assert_eq!(code, Some(0), "{stdout}{stderr}");
    assert!(stderr.contains("trying again in"), "{stderr}");
    let report: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!((&report["rows_read"], &report["rows_written"]), (&2.into(), &2.into()), "{report}");
    assert_eq!(database.rows("SELECT id, s FROM t ORDER BY id"), ["1|ok", "2|ab", "3|f"]);
    let (_, files) = rejects(&case);
    assert!(files.iter().all(|file| file.starts_with("t.jsonl.done-")), "{files:?}");
}

#[test]
fn a_folder_that_is_not_there_is_said() {
    let database = Database::fresh();
    let case = Case::new("no folder").source_sql("CREATE TABLE t(a)").database(&database);
    case.run("migrate {source} --to {url}").exit(0);
    let refused = case.run("migrate {source} --to {url} --retry-rejects {dir}/nowhere --json").exit(2);
    assert_eq!(refused.json()["error"]["code"], "no_rejects", "{refused}");
}

/// What would be found when the first row is set aside, after all others have gone, is found before anything is there.
#[test]
fn a_folder_that_cannot_take_rows_is_found_before_the_first_one_moves() {
    let database = Database::fresh();
    database.execute("CREATE TABLE t(n int)");
    let case = Case::new("no folder").source_sql("CREATE TABLE t(n); INSERT INTO t VALUES (1), ('x')").database(&database);
    fs::write(case.dir().join("file"), "mine").unwrap();
    fs::create_dir_all(case.dir().join("taken/t.jsonl")).unwrap();
    for folder in ["{dir}/file", "{dir}/file/below", "/proc/candlefish", "{dir}/taken"] {
        for flags in ["", "--refresh --yes", "--jobs 1"] {
            // A refresh sets rows aside too, but needs a run first.
            if flags.starts_with("--refresh") && folder.ends_with("taken") {
                continue;
            }
            let refused = case.run(&format!("migrate {{source}} {{url}} --rejects {folder} {flags} --json")).exit(2).json();
            assert_eq!(
                (&refused["error"]["code"], &refused["error"]["target_changed"]),
                (&"rejects_unwritable".into(), &false.into()),
                "{refused}"
            );
        }
    }
    assert_eq!(database.rows("SELECT to_regnamespace('candlefish'), count(*) FROM t"), ["|0"]);
    let refused = case.run("migrate {source} {url} --retry-rejects /proc/self/fdinfo --json").exit(2).json();
    assert_eq!(refused["error"]["code"], "rejects_unwritable", "{refused}");
    // Nothing is left of the try.
    case.run("migrate {source} {url} --rejects {dir}/aside").exit(1);
    let names: Vec<_> = fs::read_dir(case.dir().join("aside")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["t.jsonl"]);
}
