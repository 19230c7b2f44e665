//! The limit of 64 MiB, whatever is done: copying, going on, verifying, refreshing; and rows of several megabytes.
#![allow(clippy::print_stderr, reason = "a test says what it measured")]

use std::process::Stdio;
use std::time::Duration;

use rusqlite::Connection;

use crate::support::{Case, Database, long};
use crate::survive::killed_at;

/// What is resident of an optimised program's file and its libraries; of an unoptimised one it is nearly twice as much, and other every time it is built.
const PROGRAM_MIB: f64 = 23.0;

/// The most that the command ever had resident, as the system counts it: its high-water mark, read until it has ended. An unoptimised program's file
/// counts as an optimised one's.
fn peak_mib(case: &Case, line: &str, code: i32) -> f64 {
    let words = line.split(' ').map(|word| if word == "{source}" { case.source_path().display().to_string() } else { word.to_string() });
    let mut command = case.command();
    command.args(words).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0.0f64;
    loop {
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let mib = |name: &str| {
            let kib = text.lines().find_map(|line| line.strip_prefix(name)?.trim().strip_suffix(" kB")?.parse::<f64>().ok());
            kib.unwrap_or(0.0) / 1024.0
        };
        let most = mib("VmHWM:");
        // What the file has of the peak is known when that is reached; later it has more.
        peak = peak.max(if cfg!(debug_assertions) && most > 0.0 { most - mib("RssFile:") + PROGRAM_MIB } else { most });
        if let Some(ended) = child.try_wait().unwrap() {
            assert_eq!(ended.code(), Some(code), "{line}");
            assert!(peak > 1.0, "{line}: nothing was read");
            return peak;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn items(rows: u32) -> String {
    format!(
        "CREATE TABLE item(id INTEGER PRIMARY KEY, code TEXT UNIQUE, at DATETIME, body TEXT);
         CREATE TABLE word(w TEXT PRIMARY KEY, n INTEGER) WITHOUT ROWID;
         WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows})
             INSERT INTO item SELECT i, 'code ' || i, datetime('2020-01-01', i || ' seconds'), hex(randomblob(20)) FROM n;
         WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows} / 2) INSERT INTO word SELECT 'w' || (i * 7919), i FROM n;"
    )
}

#[test]
fn every_command_keeps_the_limit() {
    let rows = if long() { 4_000_000 } else { 200_000 };
    let database = Database::fresh();
    let case = Case::new("limits").source_sql(&items(rows)).database(&database);
    let url = database.url();
    killed_at(&case, &database, &["--jobs=2"], "item", 0);
    let resumed = peak_mib(&case, &format!("migrate {{source}} {url} --jobs 2 --resume"), 0);
    let verified = peak_mib(&case, &format!("verify {{source}} {url} --jobs 2"), 0);
    let change = "UPDATE item SET body = body || '!' WHERE id % 500 = 3; DELETE FROM word WHERE n % 500 = 3; UPDATE word SET n = -n WHERE n % 500 = 7;";
    Connection::open(case.source_path()).unwrap().execute_batch(change).unwrap();
    let different = peak_mib(&case, &format!("verify {{source}} {url} --jobs 2"), 1);
    let refreshed = peak_mib(&case, &format!("migrate {{source}} {url} --jobs 2 --refresh --yes"), 0);
    let again = peak_mib(&case, &format!("migrate {{source}} {url} --jobs 2 --replace --yes"), 0);
    case.run("verify {source} {url}").exit(0);
    let peaks = [resumed, verified, different, refreshed, again];
    assert!(peaks.iter().all(|peak| *peak <= 64.0), "MiB of resume, verify, verify with differences, refresh, migrate: {peaks:?}");
}

/// A value is held a few times on its way, by one reader and one stream; rows of three megabytes in two streams are within the limit, however many.
#[test]
fn rows_of_several_megabytes_are_not_held_together() {
    let peak = |megabytes: u32, rows: u32, jobs: u32| {
        let database = Database::fresh();
        let sql = format!(
            "CREATE TABLE film(id INTEGER PRIMARY KEY, body BLOB);
             WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows}) INSERT INTO film SELECT i, randomblob({megabytes} << 20) FROM n;"
        );
        let case = Case::new("films").source_sql(&sql).database(&database);
        let peak = peak_mib(&case, &format!("migrate {{source}} {} --jobs {jobs}", database.url()), 0);
        Connection::open(case.source_path()).unwrap().execute_batch("UPDATE film SET body = x'00' WHERE id = 2").unwrap();
        let refreshed = peak_mib(&case, &format!("migrate {{source}} {} --jobs {jobs} --refresh --yes", database.url()), 0);
        (peak, refreshed)
    };
    let (few, many) = (peak(1, 16, 1), peak(1, 64, 1));
    eprintln!("rows of 1 MiB: 16 rows {few:?} MiB, 64 rows {many:?} MiB");
    assert!(many.0 <= 64.0 && many.1 <= 64.0, "{many:?}");
    assert!(many.0 <= few.0 * 1.4 + 8.0, "{few:?} and {many:?}");
    let large = peak(3, 26, 2);
    eprintln!("26 rows of 3 MiB: {large:?} MiB");
    assert!(large.0 <= 64.0, "{large:?}");
}

/// What is known of a table (in SQLite, of its columns and rows, in the plan) is a few kilobytes, so that thousands of tables are within the limit.
#[test]
fn a_table_more_takes_little_memory() {
    let peak = |tables: u32| {
        let database = Database::fresh();
        let sql: String = (0..tables)
            .map(|n| {
                format!(
                    "CREATE TABLE item_{n}(id INTEGER PRIMARY KEY, name TEXT NOT NULL, amount INTEGER, at DATETIME);
                     CREATE INDEX item_{n}_name ON item_{n}(name); INSERT INTO item_{n} VALUES (1, 'a', 1, '2025-01-01 00:00:00'), (2, 'b', 2, NULL);"
                )
            })
            .collect();
        let case = Case::new("many tables").source_sql(&format!("BEGIN; {sql} COMMIT;")).database(&database);
        peak_mib(&case, &format!("migrate {{source}} {} --jobs 2", database.url()), 0)
    };
    let (few, many) = (peak(300), peak(1500));
    let each = (many - few) * 1024.0 / 1200.0;
    eprintln!("300 tables {few} MiB, 1,500 tables {many} MiB: {each:.1} KiB each");
    assert!(each <= 12.0, "{each:.1} KiB a table");
    if long() {
        let thousands = peak(3000);
        eprintln!("3,000 tables {thousands} MiB");
        assert!(thousands <= 64.0, "{thousands} MiB");
    }
}

/// A table without rowids is one chunk, whatever its size; here every row of it is set aside.
#[test]
fn rows_set_aside_are_not_held_until_their_chunk_lands() {
    let rows = if long() { 1_000_000 } else { 60_000 };
    let database = Database::fresh();
    database.execute("CREATE TABLE w(k text PRIMARY KEY, v int)");
    let sql = format!(
        "CREATE TABLE w(k TEXT PRIMARY KEY, v TEXT) WITHOUT ROWID;
         WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows})
             INSERT INTO w SELECT printf('key%08d', i), 'not a number ' || i FROM n;"
    );
    let case = Case::new("set aside").source_sql(&sql).database(&database);
    let peak =
        peak_mib(&case, &format!("migrate {{source}} {} --jobs 2 --rejects {}", database.url(), case.dir().join("aside").display()), 1);
    let aside = std::fs::read_to_string(case.dir().join("aside/w.jsonl")).unwrap();
    assert_eq!(aside.lines().count(), rows);
    assert_eq!(std::fs::read_dir(case.dir().join("aside")).unwrap().count(), 1, "nothing else is left there");
    assert!(peak <= 64.0, "{peak} MiB");
}
