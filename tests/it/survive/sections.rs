//! One run as several processes: `--section`, and rows alone: `--data-only`.

use serde_json::Value as Json;

use crate::support::{Case, Database};
use crate::survive::{CHUNKS, OBJECTS, SET_ASIDE, SOURCE, ended, killed_at, rejects, start};

const SECTIONS: [(&str, i32); 4] = [("pre-data", 0), ("data", 1), ("post-data", 0), ("verify", 1)];

fn section(case: &Case, section: &str, code: i32) -> Json {
    case.run(&format!("migrate {{source}} {{url}} {CHUNKS} --json --section {section}")).exit(code).json()
}

#[track_caller]
fn refused(case: &Case, line: &str, code: &str, said: &str) {
    let refused = case.run(&format!("migrate {{source}} {{url}} --json {line}")).exit(2).json();
    let message = refused["error"]["message"].as_str().unwrap();
    assert!(refused["error"]["code"] == code && message.contains(said), "{refused}");
    assert!(!refused["error"]["hint"].as_str().unwrap_or_default().is_empty(), "{refused}");
}

#[test]
fn the_four_in_turn_come_to_what_one_run_comes_to() {
    let (whole, database) = (Database::fresh(), Database::fresh());
    let case = Case::new("in turn").source_sql(SOURCE).database(&database);
    let (_, one, _) = ended(start(&case, &whole, &[CHUNKS, "--json"]));
    let one: Json = serde_json::from_str(&one).unwrap();
    std::fs::remove_dir_all(case.dir().join("candlefish-rejects")).unwrap();

    let mut last = Json::Null;
    for (place, (name, code)) in SECTIONS.into_iter().enumerate() {
        last = section(&case, name, code);
        let left: Vec<&str> = SECTIONS[place + 1..].iter().map(|(name, _)| *name).collect();
        assert_eq!((&last["sections"]["asked"], &last["sections"]["left"]), (&Json::from(vec![name]), &left.clone().into()), "{last:#}");
        let run = &case.run("runs --to {url} --json").exit(0).json()["runs"][0];
        let done: Vec<&str> = SECTIONS[..=place].iter().map(|(name, _)| *name).collect();
        let line = run["resume"].as_str().unwrap_or_default();
        match left.first() {
            Some(next) => {
                assert_eq!((&run["state"], &run["sections_done"]), (&"partial".into(), &done.into()), "{run:#}");
                assert!(line.contains(&format!(" --section {next} --resume=")) && !line.contains(&format!("--section {name} ")), "{line}");
            }
            None => assert_eq!((&run["state"], &run["resume"]), (&"rejected".into(), &Json::Null), "{run:#}"),
        }
        let rows = database.value("SELECT count(*) FROM visit");
        let objects = database
            .value("SELECT count(*) > 0 FROM pg_index JOIN pg_class c ON c.oid = indexrelid WHERE c.relnamespace = 'public'::regnamespace");
        let expected = if place == 0 { "0".to_string() } else { (12000 - SET_ASIDE).to_string() };
        assert_eq!((rows, objects), (expected, if place < 2 { "f" } else { "t" }.to_string()), "after {name}");
    }
    assert_eq!(database.rows(OBJECTS), whole.rows(OBJECTS));
    assert_eq!(database.rows("TABLE person ORDER BY id"), whole.rows("TABLE person ORDER BY id"));
    assert_eq!(rejects(&case).len(), SET_ASIDE);
    assert_eq!(database.value("SELECT count(*) FROM candlefish.run"), "1");
    // The last one says what the one run said.
    for key in ["outcome", "rows_read", "rows_written", "rows_rejected", "exit_reasons", "objects"] {
        let without_file = |document: &Json| if key == "objects" { document[key]["created"].clone() } else { document[key].clone() };
        assert_eq!(without_file(&last), without_file(&one), "{key}: {last:#}");
    }
    assert!(last["tables"].as_array().unwrap().iter().all(|table| table["verified"] == true), "{last:#}");
    case.run("verify {source} {url} --schema-objects").exit(0);
    case.run("migrate {source} {url} --section data").exit(0).stderr_has("has come to its end, and its outcome was rejected");
}

#[test]
fn what_stands_out_of_order_is_said() {
    let database = Database::fresh();
    let case = Case::new("out of order").source_sql(SOURCE).database(&database);
    refused(&case, "--section post-data", "section_out_of_order", "section post-data needs section data, which no run of this source");
    refused(&case, "--section verify", "section_out_of_order", "section verify needs section data");
    // Without a run the tables may be the target's own; here there are none.
    refused(&case, "--section data", "target_table_missing", "table \"person\" has no place in the target");
    refused(&case, "--section pre-data --section post-data", "section_out_of_order", "section post-data needs section data");
    refused(&case, "--section data --replace --yes", "usage", "--replace drops tables");
    refused(&case, "--section verify --verify none", "usage", "contradict");
    refused(&case, "--section all", "usage", "no section; there are pre-data, data, post-data, verify");
    assert_eq!(database.value("SELECT to_regclass('candlefish.run') IS NULL AND to_regclass('person') IS NULL"), "t");

    case.run("migrate {source} {url} --section pre-data").exit(0).stderr_has("next: the same command with --section data");
    refused(&case, "--section post-data", "section_out_of_order", "section post-data needs section data, which run ");
    refused(&case, "--section verify", "section_out_of_order", "section verify needs section data, which run ");
    refused(&case, "--section pre-data", "interrupted_run", "has begun these tables, and not all of its sections are done");
    refused(&case, "", "interrupted_run", "has begun these tables");
    refused(&case, "--refresh", "interrupted_run", "has not come to its end");
    refused(&case, "--section data --names snake", "settings_changed", "--names was \"exact\" and is \"snake\"");
    rusqlite::Connection::open(case.source_path()).unwrap().execute_batch("INSERT INTO setting VALUES('d', 4)").unwrap();
    refused(&case, "--section data", "source_changed", "the source has changed since run");
    // Begun anew, and again in turn.
    case.run("migrate {source} {url} --section pre-data --replace --yes").exit(0);
    case.run("migrate {source} {url} --section post-data --section data").exit(1);
    case.run("migrate {source} {url} --section data").exit(0).stderr_has("has done data already");
    case.run("migrate {source} {url} --section verify").exit(1);
    case.run("verify {source} {url} --schema-objects").exit(0);
}

#[test]
fn a_killed_section_goes_on_by_itself_and_so_does_the_run() {
    let (whole, database) = (Database::fresh(), Database::fresh());
    let case = Case::new("killed in a section").source_sql(SOURCE).database(&database);
    ended(start(&case, &whole, &[CHUNKS]));
    std::fs::remove_dir_all(case.dir().join("candlefish-rejects")).unwrap();
    section(&case, "pre-data", 0);
    killed_at(&case, &database, &[CHUNKS, "--jobs=1", "--section=data"], "visit", 3);
    refused(&case, "--section post-data", "section_out_of_order", "section post-data needs section data");
    let run = &case.run("runs --to {url} --json").exit(0).json()["runs"][0];
    assert_eq!(run["state"], "interrupted");
    assert!(run["resume"].as_str().unwrap().contains(" --section data --resume="), "{run:#}");
    killed_at(&case, &database, &[CHUNKS, "--jobs=1", "--section=data", "--resume"], "visit", 6);
    let report = section(&case, "data", 1);
    assert_eq!((&report["rows_read"], &report["rows_rejected"]), (&16003.into(), &4.into()), "{report:#}");
    // Without a section: all that is left.
    let report = case.run(&format!("migrate {{source}} {{url}} --json --resume {CHUNKS}")).exit(1).json();
    assert_eq!(report["sections"]["left"], Json::Array(Vec::new()), "{report:#}");
    assert_eq!(database.rows(OBJECTS), whole.rows(OBJECTS));
    assert_eq!(rejects(&case).len(), SET_ASIDE);
    case.run("verify {source} {url} --schema-objects").exit(0);
}

const OWN: &str = "CREATE TABLE person(id bigint PRIMARY KEY, name varchar(60) NOT NULL, mail text UNIQUE, born date);
    CREATE TABLE visit(id serial PRIMARY KEY, person int NOT NULL REFERENCES person, at timestamptz, note text);
    CREATE INDEX visit_at ON visit(at);
    CREATE TABLE setting(key text PRIMARY KEY, value int)";

#[test]
fn rows_alone_go_into_the_targets_own_tables() {
    let objects = |line: &[&str], codes: &[i32]| {
        let database = Database::fresh();
        database.execute(OWN);
        let before = database.rows(&OBJECTS.replace("coalesce(last_value, 0)", "0"));
        let case = Case::new("rows alone").source_sql(SOURCE).database(&database);
        for (flags, code) in line.iter().zip(codes) {
            case.run(&format!("migrate {{source}} {{url}} {flags}")).exit(*code);
        }
        // Nothing is made, and what was taken away is back.
        assert_eq!(database.rows(&OBJECTS.replace("coalesce(last_value, 0)", "0")), before, "{line:?}");
        assert_eq!(database.value("SELECT count(*) FROM visit"), (12000 - SET_ASIDE).to_string());
        assert_eq!(database.value("SELECT to_regclass('visits') IS NULL"), "t", "a view is no row");
        assert_eq!(database.value("SELECT nextval('visit_id_seq')"), "12001");
        case.run("verify {source} {url}").exit(0);
    };
    objects(&["--data-only"], &[1]);
    // pg_restore's way: the tables are somebody's own, the rows a process of their own.
    objects(&["--section data", "--section post-data", "--section verify"], &[1, 0, 1]);
}

#[test]
fn rows_alone_make_nothing() {
    let database = Database::fresh();
    database.execute("CREATE TABLE person(id bigint PRIMARY KEY, name text)");
    let case = Case::new("make nothing").source_sql(SOURCE).database(&database);
    refused(&case, "--data-only", "column_without_place", "table \"visit\" has no place in the target");
    refused(&case, "--data-only --include person", "column_without_place", "person.mail");
    database.execute("ALTER TABLE person ADD mail text, ADD born date");
    case.run("migrate {source} {url} --data-only --include person").exit(0);
    assert_eq!(database.value("SELECT count(*) FROM person"), "4000");
    refused(&case, "--data-only --include person", "target_not_empty", "already has rows");
}

#[test]
fn a_section_is_judged_by_what_it_makes() {
    let database = Database::fresh();
    let case = Case::new("judged")
        .source_sql("CREATE TABLE t(id INTEGER PRIMARY KEY, x TEXT); INSERT INTO t VALUES (1, 'q'); CREATE INDEX oe ON t(date(x))")
        .database(&database);
    let said = |name: &str, code: i32| case.run(&format!("migrate {{source}} {{url}} --json --section {name}")).exit(code).json();
    // It is foreseen, and counts where it would have been made.
    assert!(said("pre-data", 0)["warnings"].to_string().contains("index_missing"));
    assert_eq!(said("data", 0)["outcome"], "clean");
    assert!(said("post-data", 1)["exit_reasons"].to_string().contains("index_missing"));
    said("verify", 1);
}

#[test]
fn the_loop_of_the_readme_comes_to_its_end_whatever_a_section_has_lost() {
    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
    let line = readme.lines().find_map(|line| line.strip_prefix("$ for section in")).expect("the loop");
    let database = Database::fresh();
    // Said to be lost by the first of them, by the second, and by the third.
    let case = Case::new("the loop").database(&database).source_sql(
        "CREATE TABLE t(id INTEGER PRIMARY KEY, x TEXT, at TEXT DEFAULT (sqlite_version())); INSERT INTO t(x) VALUES ('a'), (CAST(x'6100' AS TEXT));
         CREATE INDEX i ON t(x); CREATE INDEX oe ON t(date(x))",
    );
    let line = line
        .replace("candlefish", env!("CARGO_BIN_EXE_candlefish"))
        .replace("shop.db", &format!("'{}' '{}'", case.source_path().display(), database.url()));
    let script = format!("for section in{line}; exit $?");
    let run = std::process::Command::new("bash").args(["-c", &script]).current_dir(case.dir()).output().unwrap();
    let said = String::from_utf8_lossy(&run.stderr);
    assert_eq!(run.status.code(), Some(1), "{said}");
    assert_eq!(database.value("SELECT count(*) FROM pg_indexes WHERE indexname IN ('t_pkey', 'i')"), "2", "{said}");
    assert_eq!(case.run("runs --to {url} --json").exit(0).json()["runs"][0]["state"], "incomplete");
    // What cannot be done ends it.
    let script = script.replace(&database.url(), "postgresql://127.0.0.1:1/nowhere");
    let run = std::process::Command::new("bash").args(["-c", &script]).current_dir(case.dir()).output().unwrap();
    assert_eq!((run.status.code(), String::from_utf8_lossy(&run.stderr).matches("error:").count()), (Some(2), 1), "{run:?}");
}
