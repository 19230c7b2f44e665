//! Modes 38 to 40: files that are written to, locked or damaged meanwhile, and runs that end too early.

use std::fs;

use rusqlite::Connection;
use tokio_postgres::{Client, NoTls};

use super::{into_prepared, migrated};
use crate::support::{Case, Database};

/// Everything that a refused run must leave as it was: relations by schema, and the schemas themselves.
pub const EVERYTHING: &str = "SELECT n.nspname || ' ' || count(c.oid) FROM pg_namespace n LEFT JOIN pg_class c ON c.relnamespace = n.oid
    WHERE n.nspname !~ '^pg_(temp|toast_temp)' GROUP BY n.nspname ORDER BY 1";

/// A session of PostgreSQL that lives as long as it is held.
struct Session {
    runtime: tokio::runtime::Runtime,
    client: Client,
}

impl Session {
    fn of(database: &Database) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (client, connection) = runtime.block_on(tokio_postgres::connect(&database.url(), NoTls)).unwrap();
        runtime.spawn(connection);
        Session { runtime, client }
    }

    fn execute(&self, sql: &str) {
        self.runtime.block_on(self.client.batch_execute(sql)).unwrap();
    }
}

#[test]
fn mode_38_a_live_writer_tears_nothing() {
    let case = Case::new("38").source_sql("PRAGMA journal_mode=WAL; CREATE TABLE parent(id INTEGER PRIMARY KEY); CREATE TABLE child(id INTEGER PRIMARY KEY, pid INTEGER NOT NULL REFERENCES parent(id));");
    let database = Database::fresh();
    let case = case.database(&database);
    let writer = Connection::open(case.source_path()).unwrap();
    // Nothing of this is in the file itself yet: it is in the log only.
    writer.execute_batch("PRAGMA wal_autocheckpoint = 0; INSERT INTO parent VALUES(1); INSERT INTO child VALUES(1, 1);").unwrap();
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let stopped = &stop;
        let pairs = scope.spawn(move || {
            let mut pairs = 1;
            while !stopped.load(std::sync::atomic::Ordering::Relaxed) {
                pairs += 1;
                writer
                    .execute_batch(&format!(
                        "BEGIN; INSERT INTO parent VALUES({pairs}); INSERT INTO child VALUES({pairs}, {pairs}); COMMIT;"
                    ))
                    .unwrap();
            }
            pairs
        });
        let output = case.run("migrate {source} --to {url} --json");
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        let pairs = pairs.join().unwrap();
        let report = output.exit(0).json();
        let copied: i64 = database.value("SELECT count(*) FROM parent").parse().unwrap();
        assert!((1..=pairs).contains(&copied));
        assert_eq!(database.value("SELECT count(*) FROM child"), copied.to_string(), "one state of both tables");
        assert_eq!(database.value("SELECT convalidated FROM pg_constraint WHERE contype = 'f' AND conrelid = 'child'::regclass"), "t");
        assert_eq!(report["source_changed"], copied < pairs);
    });
}

#[test]
fn mode_39_a_locked_or_damaged_source_is_found_before_the_target_is_touched() {
    let database = Database::fresh();
    let before = database.rows(EVERYTHING);
    let table = "CREATE TABLE t(id INTEGER PRIMARY KEY, s TEXT); WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i < 500) INSERT INTO t SELECT i, 'row ' || i || hex(zeroblob(50)) FROM n;";
    const LINE: &str = "migrate {source} --to {url} --json";
    let refused = |case: &Case, line: &str, code: &str| {
        let error = case.run(line).exit(2).json();
        assert_eq!(error["error"]["code"], code, "{error}");
        assert_eq!(error["error"]["target_changed"], false);
        assert_eq!(database.rows(EVERYTHING), before);
    };

    let case = Case::new("39, locked").source_sql(table).database(&database);
    let writer = Connection::open(case.source_path()).unwrap();
    writer.execute_batch("BEGIN EXCLUSIVE").unwrap();
    refused(&case, LINE, "source_in_use");
    refused(&case, "migrate {source} --to {url} --json --block-writers", "source_locked");
    writer.execute_batch("ROLLBACK").unwrap();

    let case = Case::new("39, truncated by a page").source_sql(table).database(&database);
    let file = fs::OpenOptions::new().write(true).open(case.source_path()).unwrap();
    file.set_len(file.metadata().unwrap().len() - 4096).unwrap();
    refused(&case, LINE, "source_truncated");

    // A page in the middle overwritten: the header is fine, the tree is not.
    let case = Case::new("39, damaged").source_sql(table).database(&database);
    let mut bytes = fs::read(case.source_path()).unwrap();
    let middle = bytes.len() / 4096 / 2 * 4096;
    bytes[middle..middle + 4096].copy_from_slice(&random_bytes(4096));
    fs::write(case.source_path(), bytes).unwrap();
    refused(&case, LINE, "source_damaged");

    let file = database_file_of(&random_bytes(8192));
    let case = Case::new("39, encrypted").source_file(file.path()).database(&database);
    refused(&case, LINE, "source_encrypted");
}

#[test]
fn mode_39_an_unknown_collation_is_done_without_and_said() {
    // SQLite lets nobody make an index in an unknown collation: the application had it registered.
    let case = Case::new("39, collation");
    let path = case.dir().join("anki.db");
    let source = Connection::open(&path).unwrap();
    source.create_collation("unicase", |a: &str, b: &str| a.to_lowercase().cmp(&b.to_lowercase())).unwrap();
    source.execute_batch("CREATE TABLE t(id INTEGER PRIMARY KEY, name TEXT NOT NULL COLLATE unicase); INSERT INTO t VALUES(1,'Ä'),(2,'b'); CREATE UNIQUE INDEX by_name ON t(name); CREATE TABLE u(k TEXT COLLATE unicase PRIMARY KEY, v) WITHOUT ROWID; INSERT INTO u VALUES('B',1),('a',2);").unwrap();
    drop(source);
    let database = Database::fresh();
    let case = case.source_file(path).database(&database);
    let report = case.run("migrate {source} --to {url} --json").exit(1).json();
    assert_eq!(database.rows("SELECT * FROM t ORDER BY id"), ["1|Ä", "2|b"]);
    assert_eq!(database.rows("SELECT * FROM u ORDER BY v"), ["B|1", "a|2"]);
    let warnings = report["warnings"].to_string();
    assert!(warnings.contains("unicase"), "{warnings}");
}

#[test]
fn mode_40_rows_that_are_there_already_are_refused() {
    let source = "CREATE TABLE t(id INTEGER PRIMARY KEY, s TEXT); INSERT INTO t VALUES(1,'source'),(2,'source');";
    let target = "CREATE TABLE t(id bigint PRIMARY KEY, s text); INSERT INTO t VALUES (1, 'target')";
    let m = into_prepared("40", 2, target, source);
    assert_eq!(m.report["error"]["code"], "target_not_empty");
    assert_eq!(m.report["error"]["target_changed"], false);
    assert_eq!(m.rows("SELECT * FROM t"), ["1|target"]);
    assert_eq!(m.rows("SELECT count(*) FROM pg_namespace WHERE nspname = 'candlefish'"), ["0"]);

    // Kept, when told so: the row that is in the way of another is set aside.
    let kept = m.case.run("migrate {source} --to {url} --existing keep --json").exit(1).json();
    assert_eq!(m.rows("SELECT * FROM t ORDER BY id"), ["1|target", "2|source"]);
    assert_eq!(kept["rows_rejected"], 1);
    m.case.run("migrate {source} --to {url} --existing truncate").exit(0);
    assert_eq!(m.rows("SELECT * FROM t ORDER BY id"), ["1|source", "2|source"]);
}

#[test]
fn mode_40_a_run_that_was_killed_leaves_nothing_that_looks_whole() {
    let m = migrated("40, killed", 0, "CREATE TABLE first(id INTEGER PRIMARY KEY); INSERT INTO first VALUES(1);");
    let source = Connection::open(m.case.source_path()).unwrap();
    source.execute_batch("CREATE TABLE t(id INTEGER PRIMARY KEY, s TEXT); INSERT INTO t VALUES(1,'a'),(2,'b'); DROP TABLE first;").unwrap();
    drop(source);
    // The journal is locked: the run stands still where its rows are sent and not committed.
    let session = Session::of(&m.database);
    session.execute("BEGIN; LOCK TABLE candlefish.chunk IN SHARE MODE");
    let mut command = m.case.command();
    let mut child = command.args(["migrate", m.case.source_path().to_str().unwrap(), "--to", &m.database.url()]).spawn().unwrap();
    m.database.until(
        "SELECT count(*) > 0 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE '%candlefish.chunk%'",
    );
    child.kill().unwrap();
    child.wait().unwrap();
    session.execute("ROLLBACK");
    m.database.until(
        "SELECT count(*) = 0 FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() AND state <> 'idle' AND query LIKE '%candlefish.chunk%'",
    );

    // Whether the server committed the chunk of the dead run or not: no row twice, none missing.
    let again = m.case.run("migrate {source} --to {url} --replace --yes").exit(0);
    assert_eq!(m.rows("SELECT * FROM t ORDER BY id"), ["1|a", "2|b"], "{again}");
    assert_eq!(m.constraints("t"), ["PRIMARY KEY (id)"]);
}

/// Bytes without order, the same in every run.
fn random_bytes(count: usize) -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    (0..count).map(|_| next()).collect()
}

fn database_file_of(bytes: &[u8]) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), bytes).unwrap();
    file
}
