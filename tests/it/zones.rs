//! `--source-tz` and `source_tz` in a mapping: times without an offset, read where they were written.

use std::fs;

use serde_json::Value as Json;

use crate::support::{Case, Database};

/// A time before and after each change of Berlin's clocks in 2024, one that never was, one that was there twice; one with an offset makes
/// the column `timestamptz`.
const BERLIN: &str = "CREATE TABLE t(id INTEGER PRIMARY KEY, at DATETIME, other DATETIME);
    INSERT INTO t VALUES (1, '2024-01-15 12:00:00', '2024-07-15 12:00:00'), (2, '2024-07-15 12:00:00', '2024-01-15 12:00:00Z'),
      (3, '2024-03-31 02:30:00', NULL), (4, '2024-10-27 02:30:00', NULL), (5, '2024-10-27 02:30:00+01:00', NULL), (6, '9999-12-31 23:59:59', NULL);";

/// Code, object and message of what is said about times.
fn odd_times(report: &Json) -> Vec<String> {
    let all = report["warnings"].as_array().unwrap().iter().filter(|warning| warning["code"].as_str().unwrap().starts_with("time_"));
    all.map(|w| format!("{} {} {}", w["code"].as_str().unwrap(), w["object"].as_str().unwrap(), w["message"].as_str().unwrap())).collect()
}

#[test]
fn a_zone_reads_each_time_with_the_offset_of_its_day() {
    let database = Database::fresh();
    let case = Case::new("Berlin").source_sql(BERLIN).database(&database);
    let planned = case.run("migrate {source} {url} --source-tz europe/berlin --dry-run --json").exit(0).json();
    let report = case.run("migrate {source} {url} --source-tz Europe/Berlin --json").exit(0).json();
    assert_eq!(
        database.rows("SELECT at AT TIME ZONE 'UTC', other AT TIME ZONE 'UTC' FROM t ORDER BY id"),
        [
            "2024-01-15 11:00:00|2024-07-15 10:00:00",
            "2024-07-15 10:00:00|2024-01-15 12:00:00",
            "2024-03-31 01:30:00|",
            "2024-10-27 00:30:00|",
            "2024-10-27 01:30:00|",
            "9999-12-31 22:59:59|",
        ]
    );
    // PostgreSQL knows the same rules; only of what was there twice it takes the other one.
    let theirs = "SELECT id FROM t JOIN (VALUES (1, '2024-01-15 12:00:00'::timestamp), (2, '2024-07-15 12:00:00'), (3, '2024-03-31 02:30:00'), (6, '9999-12-31 23:59:59')) l(id, local) USING (id) WHERE at <> local AT TIME ZONE 'Europe/Berlin'";
    assert_eq!(database.rows(theirs), Vec::<String>::new());
    let said = [
        "time_twice t.at 1 time in Europe/Berlin were there twice: the first is taken, before the clocks were put back (rows 4)",
        "time_skipped t.at 1 time in Europe/Berlin never were: they are read with the offset before the clocks were put forward (rows 3)",
    ];
    assert_eq!(odd_times(&report), said);
    assert_eq!(odd_times(&planned), said, "a dry run says it before");
    assert_eq!(case.run("verify {source} {url} --json").exit(0).json()["outcome"], "identical");
    // With an offset nothing is odd: it has every time once.
    let fixed = case.run("migrate {source} {url} --source-tz +01:00 --replace --yes --json").exit(0).json();
    assert!(odd_times(&fixed).is_empty());
    assert_eq!(database.value("SELECT at AT TIME ZONE 'UTC' FROM t WHERE id = 2"), "2024-07-15 11:00:00");
}

#[test]
fn a_mapping_says_the_zone_of_one_column() {
    let database = Database::fresh();
    let case = Case::new("per column").source_sql(BERLIN).database(&database);
    fs::write(case.dir().join("m.toml"), "[tables.t.columns.other]\nsource_tz = \"America/New_York\"\n").unwrap();
    let line = "migrate {source} {url} --source-tz Europe/Berlin --mapping m.toml --write-mapping all.toml";
    case.run(line).exit(0);
    let other = "SELECT at AT TIME ZONE 'UTC', other AT TIME ZONE 'UTC' FROM t WHERE id = 1";
    assert_eq!(database.rows(other), ["2024-01-15 11:00:00|2024-07-15 16:00:00"]);
    // The file that keeps every decision keeps the zones, and `--source-tz` is no longer needed.
    let all = fs::read_to_string(case.dir().join("all.toml")).unwrap();
    assert!(all.contains("source_tz = \"Europe/Berlin\"") && all.contains("source_tz = \"America/New_York\""), "{all}");
    case.run("migrate {source} {url} --mapping all.toml --replace --yes").exit(0);
    assert_eq!(database.rows(other), ["2024-01-15 11:00:00|2024-07-15 16:00:00"]);
    assert_eq!(case.run("verify {source} {url} --json").exit(0).json()["outcome"], "identical");
    // A column that the mapping makes `timestamptz` asks for its zone too.
    fs::write(case.dir().join("n.toml"), "[tables.n.columns.at]\ntype = \"timestamptz\"\nsource_tz = \"Asia/Kolkata\"\n").unwrap();
    let naive = Case::new("naive").source_sql("CREATE TABLE n(at DATETIME); INSERT INTO n VALUES ('2024-01-01 05:30')").database(&database);
    fs::copy(case.dir().join("n.toml"), naive.dir().join("n.toml")).unwrap();
    naive.run("migrate {source} {url} --mapping n.toml").exit(0);
    // One that is not, and one that was there, has no zone to be read in: that is no wish to pass over.
    fs::write(naive.dir().join("idle.toml"), "[tables.n.columns.at]\nsource_tz = \"Asia/Kolkata\"\n").unwrap();
    let idle = "the mapping reads the times of n.at in Asia/Kolkata, and the column is timestamp without time zone, which has no zone";
    naive.run("migrate {source} {url} --mapping idle.toml --schema other --create-schema").exit(2).stderr_has(idle);
    database.execute("CREATE SCHEMA given; CREATE TABLE given.n(at timestamp)");
    naive
        .run("migrate {source} {url} --mapping idle.toml --schema given")
        .exit(2)
        .stderr_has(idle)
        .stderr_has("Make the column timestamptz in PostgreSQL");
    let planned =
        naive.run("migrate {source} {url} --source-tz Asia/Kolkata --schema other --create-schema --dry-run --json").exit(0).json();
    assert!(planned["warnings"].to_string().contains("--source-tz Asia/Kolkata decides nothing"), "{planned}");
    assert_eq!(database.value("SELECT at AT TIME ZONE 'UTC' FROM n"), "2024-01-01 00:00:00");
}

#[test]
fn a_zone_that_there_is_not_is_refused_with_the_nearest() {
    let database = Database::fresh();
    let case = Case::new("no zone").source_sql(BERLIN).database(&database);
    case.run("migrate {source} {url} --source-tz Europe/Berln").exit(2).stderr_has("did you mean `Europe/Berlin`?");
    fs::write(case.dir().join("m.toml"), "[tables.t.columns.at]\nsource_tz = \"Mars/Olympus\"\n").unwrap();
    case.run("migrate {source} {url} --mapping m.toml").exit(2).stderr_has("line 2, column 13");
}
