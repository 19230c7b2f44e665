//! The pipeline's own promises: what lands is proved as it lands, all readers see one state, and memory stays flat.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use candlefish::sqlite::{OpenOptions, Snapshot};
use rusqlite::Connection;
use serde_json::Value as Json;

use crate::support::{Case, Database, Output};

fn document(output: &Output) -> Json {
    serde_json::from_str(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output}"))
}

/// Makes PostgreSQL change one value on its way into every table that is made from now on.
const SPOILER: &str = "
    CREATE FUNCTION spoil() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN IF NEW.id = 7 THEN NEW.name := 'spoilt'; END IF; RETURN NEW; END $$;
    CREATE FUNCTION plant() RETURNS event_trigger LANGUAGE plpgsql AS $$
        DECLARE made record;
        BEGIN
            FOR made IN SELECT * FROM pg_event_trigger_ddl_commands() WHERE schema_name = 'public' AND object_type = 'table' LOOP
                EXECUTE format('CREATE TRIGGER spoil BEFORE INSERT ON %s FOR EACH ROW EXECUTE FUNCTION spoil()', made.object_identity);
            END LOOP;
        END $$;
    CREATE EVENT TRIGGER plant ON ddl_command_end WHEN TAG IN ('CREATE TABLE') EXECUTE FUNCTION plant();";

fn numbered(rows: u32) -> String {
    format!(
        "CREATE TABLE t(id INTEGER PRIMARY KEY, name TEXT UNIQUE, n INTEGER); CREATE INDEX t_n ON t(n);
         WITH RECURSIVE i(id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM i WHERE id < {rows}) INSERT INTO t SELECT id, 'name ' || id, id % 97 FROM i;"
    )
}

#[test]
fn a_value_that_arrives_changed_is_a_mismatch() {
    for rows in [50, 120_000] {
        let database = Database::fresh();
        database.execute(SPOILER);
        let case = Case::new("spoilt").source_sql(&numbered(rows)).database(&database);
        let report = document(&case.run("migrate {source} --to {url} --json").exit(1));
        assert_eq!((&report["outcome"], &report["tables"][0]["verified"]), (&Json::from("mismatch"), &Json::from(false)), "{report}");
        assert_ne!(report["tables"][0]["source_digest"], report["tables"][0]["target_digest"]);
    }
}

/// A table that is big enough for its keys to be made over indexes is in the end the same as a small one.
#[test]
fn a_big_table_has_the_keys_of_a_small_one() {
    let shape = |rows| {
        let database = Database::fresh();
        let case = Case::new("keys").source_sql(&numbered(rows)).database(&database);
        let report = document(&case.run("migrate {source} --to {url} --json").exit(0));
        assert_eq!((&report["outcome"], &report["tables"][0]["verified"]), (&Json::from("clean"), &Json::from(true)), "{report}");
        assert_eq!(report["objects"]["created"], 3, "{report}");
        // The digests of the move are those that verify finds when it reads both sides.
        let verify = document(&case.run("verify {source} --to {url} --json").exit(0));
        for digest in ["source_digest", "target_digest"] {
            assert_eq!(report["tables"][0][digest], verify["tables"][0][digest], "{digest}");
        }
        database.rows("SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint UNION ALL SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1, 2")
    };
    assert_eq!(shape(120_000), shape(10));
}

/// Keys of big tables are held against their rows side by side, those of small ones by the dozen: one that its rows break takes no other with it.
#[test]
fn foreign_keys_of_big_and_small_tables_stand_or_are_told() {
    let database = Database::fresh();
    let case = Case::new("keys between tables").database(&database).source_sql(
        "PRAGMA foreign_keys = OFF;
         CREATE TABLE parent(id INTEGER PRIMARY KEY);
         INSERT INTO parent VALUES(1), (2);
         CREATE TABLE big(id INTEGER PRIMARY KEY, a INTEGER REFERENCES parent(id), b INTEGER REFERENCES parent(id));
         WITH RECURSIVE i(id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM i WHERE id < 110000) INSERT INTO big SELECT id, 1, 2 FROM i;
         UPDATE big SET b = 77 WHERE id IN (5, 600);
         CREATE TABLE first(id INTEGER PRIMARY KEY, parent INTEGER REFERENCES parent(id));
         CREATE TABLE second(id INTEGER PRIMARY KEY, parent INTEGER REFERENCES parent(id));
         CREATE TABLE third(id INTEGER PRIMARY KEY, parent INTEGER REFERENCES parent(id));
         INSERT INTO first VALUES(1, 1); INSERT INTO second VALUES(1, 2), (2, 78); INSERT INTO third VALUES(1, NULL);",
    );
    let report = document(&case.run("migrate {source} --to {url} --json").exit(0));
    assert_eq!(
        database.rows(
            "SELECT conname, convalidated::text FROM pg_constraint WHERE contype = 'f' AND connamespace = 'public'::regnamespace ORDER BY 1"
        ),
        ["big_a_fkey|true", "big_b_fkey|false", "first_parent_fkey|true", "second_parent_fkey|false", "third_parent_fkey|true"]
    );
    let told: Vec<(&str, &str)> = report["warnings"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|warning| warning["code"] == "foreign_key_not_valid")
        .map(|warning| (warning["object"].as_str().unwrap(), warning["message"].as_str().unwrap()))
        .collect();
    assert!(
        told.iter().any(|(object, text)| object.starts_with("big") && text.contains("2 rows have no parent (id 5 → 77; id 600 → 77)")),
        "{told:?}"
    );
    assert!(told.iter().any(|(object, text)| object.starts_with("second") && text.contains("1 row has no parent (id 2 → 78)")), "{told:?}");
    assert_eq!(told.len(), 2, "{told:?}");
    assert_eq!(
        database.value("SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND reltuples <= 0"),
        "0"
    );
}

/// Parents and children are written in one transaction each while all readers work: a child without its parent would be a second state.
#[test]
fn all_readers_see_one_state_while_a_writer_goes_on() {
    let case = Case::new("live").source_sql(
        "PRAGMA journal_mode = WAL;
         CREATE TABLE parent(id INTEGER PRIMARY KEY, children INTEGER);
         CREATE TABLE child(id INTEGER PRIMARY KEY, parent INTEGER NOT NULL REFERENCES parent(id));",
    );
    let (stop, pairs) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let writer = {
        let (path, stop, pairs) = (case.source_path().to_owned(), Arc::clone(&stop), Arc::clone(&pairs));
        std::thread::spawn(move || {
            let connection = Connection::open(path).unwrap();
            connection.busy_timeout(Duration::from_secs(10)).unwrap();
            while !stop.load(Ordering::Relaxed) {
                let id = pairs.load(Ordering::Relaxed) + 1;
                let pair = format!("BEGIN; INSERT INTO parent VALUES({id}, 1); INSERT INTO child VALUES({id}, {id}); COMMIT");
                connection.execute_batch(&pair).unwrap();
                pairs.store(id, Ordering::Relaxed);
            }
        })
    };
    let began = Instant::now();
    while pairs.load(Ordering::Relaxed) < 200 {
        assert!(began.elapsed() < Duration::from_secs(60), "the writer does not write");
        std::thread::yield_now();
    }
    let runs: Vec<(String, String)> = (0..3)
        .map(|_| {
            let database = Database::fresh();
            let output = case.run(&format!("migrate {{source}} --to {} --jobs 4", database.url())).exit(0);
            assert!(!output.stdout.contains("NOT VALID"), "{output}");
            (database.value("SELECT count(*) FROM parent"), database.value("SELECT count(*) FROM child"))
        })
        .collect();
    stop.store(true, Ordering::Relaxed);
    writer.join().unwrap();
    for (parents, children) in &runs {
        assert_eq!(parents, children);
    }
    assert!(runs.windows(2).any(|pair| pair[0] != pair[1]), "the writer has gone on: {runs:?}");
}

/// Locks of this process on the file, as Linux lists them.
fn locks_on(path: &Path) -> usize {
    let inode = format!(":{}", std::fs::metadata(path).unwrap().ino());
    let process = std::process::id().to_string();
    let locks = std::fs::read_to_string("/proc/locks").unwrap();
    let ours = |line: &&str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        fields.contains(&process.as_str()) && fields.iter().any(|field| field.ends_with(&inode))
    };
    locks.lines().filter(ours).count()
}

/// Closing any descriptor of a file takes away all the locks that a process holds on it: what is read past SQLite must stay open.
#[cfg(target_os = "linux")]
#[test]
fn readers_keep_their_locks() {
    for (mode, locked) in [("WAL", "-shm"), ("DELETE", "")] {
        let case = Case::new("locks").source_sql(&format!("PRAGMA journal_mode = {mode}; CREATE TABLE t(a); INSERT INTO t VALUES(1);"));
        let path = case.source_path();
        let locked = path.with_file_name(format!("{}{locked}", path.file_name().unwrap().to_string_lossy()));
        let snapshot = Snapshot::open(path, &OpenOptions { readers: 2, ..OpenOptions::default() }).unwrap();
        let held = locks_on(&locked);
        assert!(held > 0, "{mode}: the readers hold no lock");
        snapshot.fingerprint(None).unwrap();
        assert_eq!(locks_on(&locked), held, "{mode}: a lock was lost");
    }
}

fn peak_mib(report: &Json) -> f64 {
    report["peak_rss_bytes"].as_f64().unwrap() / f64::from(1 << 20)
}

/// The limit that the README states, whatever the number of rows, their width, and the number of tables.
#[test]
fn memory_stays_flat() {
    let peak = |sql: &str| {
        let database = Database::fresh();
        let case = Case::new("flat").source_sql(sql).database(&database);
        let report = document(&case.run("migrate {source} --to {url} --json --jobs 2").exit(0));
        assert_eq!(report["outcome"], "clean", "{report}");
        peak_mib(&report)
    };
    let (small, large) = (peak(&numbered(20_000)), peak(&numbered(400_000)));
    // As many as PostgreSQL has.
    let wide: Vec<String> = (0..1600).map(|column| format!("c{column} BOOLEAN")).collect();
    let values: Vec<String> = (0..1600).map(|column| (column % 2).to_string()).collect();
    let many_columns = peak(&format!(
        "CREATE TABLE wide({}); WITH RECURSIVE i(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM i WHERE n < 300) INSERT INTO wide SELECT {} FROM i;",
        wide.join(", "),
        values.join(", ")
    ));
    let wide_rows = peak(
        "CREATE TABLE blobs(id INTEGER PRIMARY KEY, body BLOB);
         WITH RECURSIVE i(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM i WHERE n < 200) INSERT INTO blobs SELECT n, randomblob(500000) FROM i;",
    );
    let huge_rows = peak(
        "CREATE TABLE blobs(id INTEGER PRIMARY KEY, body BLOB);
         WITH RECURSIVE i(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM i WHERE n < 30) INSERT INTO blobs SELECT n, zeroblob(4000000) FROM i;",
    );
    let tables: String = (0..300)
        .map(|n| format!("CREATE TABLE t{n}(id INTEGER PRIMARY KEY, name TEXT UNIQUE); INSERT INTO t{n} VALUES(1, 'a');"))
        .collect();
    let many_tables = peak(&tables);
    let all = [small, large, many_columns, wide_rows, many_tables];
    assert!(all.iter().all(|peak| *peak <= 64.0), "MiB: {all:?}");
    // A few such values are on their way at once in each stream.
    assert!(huge_rows <= 64.0 + 4.0 * 4.0, "values of 4 MB: {huge_rows} MiB");
    assert!(large <= small * 1.3 + 4.0, "twenty times the rows, and {large} MiB instead of {small}");
}
