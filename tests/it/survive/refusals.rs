//! What `--resume` refuses, and what it takes for no change.

use rusqlite::Connection;

use crate::support::{Case, Database};
use crate::survive::{CHUNKS, Gate, SOURCE, ended, killed_at, send, start};

fn refused(case: &Case, line: &str, code: &str, said: &str) {
    let output = case.run(line).exit(2);
    let error = output.json();
    assert_eq!(error["error"]["code"], code, "{error}");
    assert_eq!(error["error"]["target_changed"], false);
    assert!(error["error"]["message"].as_str().unwrap().contains(said), "{error}");
}

#[test]
fn a_source_that_was_written_to_is_refused() {
    for mode in ["DELETE", "WAL"] {
        let database = Database::fresh();
        let case = Case::new(mode).source_sql(&format!("PRAGMA journal_mode={mode}; {SOURCE}")).database(&database);
        killed_at(&case, &database, &[CHUNKS, "--jobs=1"], "visit", 3);
        let source = Connection::open(case.source_path()).unwrap();
        // In place: no page more, and in WAL mode no change in the file's header.
        source.execute_batch("UPDATE person SET name = 'person X' WHERE id = 9").unwrap();
        if mode == "WAL" {
            refused(&case, "migrate {source} {url} --resume --json", "source_changed", "its pages hold something else");
        }
        // The last connection checkpoints, and takes the log away.
        drop(source);
        let said = if mode == "WAL" { "its pages hold something else" } else { "its change counter was" };
        refused(&case, "migrate {source} {url} --resume --json", "source_changed", said);
        case.run("migrate {source} {url} --replace --yes").exit(1);
    }
}

#[test]
fn a_checkpoint_is_no_change() {
    let database = Database::fresh();
    let case = Case::new("checkpoint").source_sql("PRAGMA journal_mode=WAL").database(&database);
    let writer = Connection::open(case.source_path()).unwrap();
    writer.execute_batch(&format!("PRAGMA wal_autocheckpoint = 0; {SOURCE}")).unwrap();
    // Everything is in the log when the run begins …
    assert!(case.source_path().metadata().unwrap().len() < 100_000);
    killed_at(&case, &database, &[CHUNKS, "--jobs=1"], "visit", 3);
    // … half of it in the file, and then all of it with the log begun anew, when it goes on.
    writer.execute_batch("PRAGMA wal_checkpoint(PASSIVE)").unwrap();
    killed_at(&case, &database, &[CHUNKS, "--jobs=1", "--resume"], "visit", 5);
    writer.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
    drop(writer);
    case.run("migrate {source} {url} --resume").exit(1);
    case.run("verify {source} {url}").exit(0);
}

#[test]
fn a_snapshot_is_the_same_source() {
    for mode in ["DELETE", "WAL"] {
        let database = Database::fresh();
        let case = Case::new("snapshot").source_sql(&format!("PRAGMA journal_mode={mode}; {SOURCE}")).database(&database);
        killed_at(&case, &database, &[CHUNKS, "--jobs=1"], "visit", 3);
        case.run("migrate {source} {url} --resume --snapshot {dir}/copies").exit(1);
    }
}

#[test]
fn a_run_of_the_same_file_under_another_name_is_offered() {
    let database = Database::fresh();
    let case = Case::new("renamed").source_sql("CREATE TABLE a(x INTEGER PRIMARY KEY); INSERT INTO a VALUES(1)").database(&database);
    case.run("migrate {source} {url}").exit(0);
    let run = database.value("SELECT run_id FROM candlefish.run");
    std::fs::copy(case.source_path(), case.dir().join("copy.db")).unwrap();
    case.run("migrate {dir}/copy.db {url} --resume")
        .exit(2)
        .stderr_has("nothing to resume: no run of this file has been begun into schema \"public\"")
        .stderr_has(&format!("if that is this file, say --resume={run})"));
    case.run(&format!("migrate {{dir}}/copy.db {{url}} --resume={run}")).exit(0).stderr_has("there is nothing left to do");
}

#[test]
fn other_settings_are_refused_and_named() {
    let database = Database::fresh();
    let case = Case::new("settings").source_sql(SOURCE).database(&database);
    killed_at(&case, &database, &[CHUNKS, "--jobs=1"], "visit", 3);
    for (flags, said) in [
        ("--exclude setting", "--exclude was not given and is \"setting\""),
        ("--names snake", "--names was \"exact\" and is \"snake\""),
        ("--on-misfit reject", "--on-misfit was not given and is \"reject\""),
        ("--source-tz +02:00", "--source-tz was \"UTC\" and is \"+02:00\""),
    ] {
        refused(&case, &format!("migrate {{source}} {{url}} --resume --json {flags}"), "settings_changed", said);
    }
    std::fs::write(case.dir().join("m.toml"), "[tables.setting]\nskip = true\n").unwrap();
    refused(&case, "migrate {source} {url} --resume --json --mapping m.toml", "settings_changed", "--mapping was \"derive\" and is");
    // What only concerns how, not what.
    case.run("migrate {source} {url} --resume --jobs 2 --verify counts --max-rejects 4 --progress plain --strict --allow views")
        .exit(1)
        .stderr_has("the outcome is judged by --strict --allow views, as said now; run")
        .stderr_has("was begun with neither --strict nor --allow");
}

#[test]
fn a_run_whose_tables_were_taken_is_given_up() {
    let database = Database::fresh();
    let case = Case::new("given up").source_sql(SOURCE).database(&database);
    killed_at(&case, &database, &[CHUNKS, "--jobs=1"], "visit", 3);
    let first = database.value("SELECT run_id FROM candlefish.run");
    case.run("migrate {source} {url} --replace --yes").exit(1);
    refused(&case, &format!("migrate {{source}} {{url}} --json --resume={first}"), "run_given_up", "a later run has taken its tables");
    let runs = case.run("runs --to {url} --json").exit(0).json();
    assert_eq!((&runs["runs"][1]["state"], &runs["runs"][1]["resumable"]), (&"given_up".into(), &false.into()), "{runs}");
}

#[test]
fn verify_takes_the_last_run_of_this_very_source() {
    let database = Database::fresh();
    let one = Case::new("one").source_sql("CREATE TABLE a(x INTEGER PRIMARY KEY); INSERT INTO a VALUES(1)").database(&database);
    let two = Case::new("two").source_sql("CREATE TABLE b(y INTEGER PRIMARY KEY); INSERT INTO b VALUES(2)").database(&database);
    one.run("migrate {source} {url}").exit(0);
    two.run("migrate {source} {url}").exit(0);
    assert_eq!(one.run("verify {source} {url} --json").exit(0).json()["tables"][0]["source"], "a");
    assert_eq!(two.run("verify {source} {url} --json").exit(0).json()["tables"][0]["source"], "b");
}

#[test]
fn a_run_that_went_on_makes_up_no_times_of_what_others_did() {
    let database = Database::fresh();
    let case = Case::new("paces").source_sql(SOURCE).database(&database);
    killed_at(&case, &database, &[CHUNKS, "--jobs=1"], "visit", 3);
    let gate = Gate::at(&database, "visit", 6);
    let child = start(&case, &database, &[CHUNKS, "--jobs=1", "--resume"]);
    gate.await_somebody(&database);
    send(&child, "-INT");
    let (code, stdout, stderr) = ended(child);
    gate.open(&database);
    assert_eq!(code, Some(130), "{stderr}");
    assert!(stdout.contains("stopped, ") && !stdout.contains("rows/s") && !stdout.contains("  0 ms"), "{stdout}{stderr}");
    let report = case.run("migrate {source} {url} --resume --json").exit(1).json();
    let seconds =
        |table: &str| report["tables"].as_array().unwrap().iter().find(|known| known["source"] == table).unwrap()["seconds"].clone();
    assert!(seconds("visit").is_null() && seconds("setting").is_number(), "{report:#}");
}
