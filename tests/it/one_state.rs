//! One state of a source that others are using, and what is refused because reading it would lock them out.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use rusqlite::Connection;

use crate::support::{Case, Database};

const PAIRS: &str = "CREATE TABLE parent(id INTEGER PRIMARY KEY); CREATE TABLE child(id INTEGER PRIMARY KEY, parent INTEGER NOT NULL REFERENCES parent(id));";

/// Writes parents and their children, a pair a transaction, until it is stopped.
struct Writer {
    stop: Arc<AtomicBool>,
    pairs: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    fn start(case: &Case) -> Self {
        let (stop, pairs) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (path, told, count) = (case.source_path().to_owned(), Arc::clone(&stop), Arc::clone(&pairs));
        let thread = std::thread::spawn(move || {
            let connection = Connection::open(path).unwrap();
            connection.busy_timeout(Duration::from_secs(30)).unwrap();
            connection.pragma_update(None, "synchronous", "off").unwrap();
            while !told.load(Ordering::Relaxed) {
                let id = count.load(Ordering::Relaxed) + 1;
                let pair = format!("BEGIN IMMEDIATE; INSERT INTO parent VALUES({id}); INSERT INTO child VALUES({id}, {id}); COMMIT");
                connection.execute_batch(&pair).unwrap();
                count.store(id, Ordering::Relaxed);
            }
        });
        let writer = Writer { stop, pairs, thread: Some(thread) };
        writer.await_more();
        writer
    }

    /// Waits until it has written again: nobody keeps it from that.
    fn await_more(&self) {
        let before = self.pairs.load(Ordering::Relaxed);
        let began = std::time::Instant::now();
        while self.pairs.load(Ordering::Relaxed) < before + 20 {
            assert!(began.elapsed() < Duration::from_secs(60), "the writer does not write");
            std::thread::yield_now();
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let joined = self.thread.take().map(JoinHandle::join);
        assert!(std::thread::panicking() || joined.is_some_and(|joined| joined.is_ok()), "the writer failed");
    }
}

/// As many parents as children, and some.
fn assert_one_state(database: &Database) -> u64 {
    let counts: Vec<u64> =
        ["parent", "child"].map(|table| database.value(&format!("SELECT count(*) FROM {table}")).parse().unwrap()).into();
    assert!(counts[0] > 0 && counts[0] == counts[1], "{counts:?}");
    counts[0]
}

#[test]
fn a_rollback_journal_file_in_use_is_read_only_when_that_was_agreed_to() {
    for flags in ["--block-writers", "--snapshot {dir}/copies"] {
        let database = Database::fresh();
        let case = Case::new("in use").source_sql(PAIRS).database(&database);
        let writer = Writer::start(&case);
        let refused = case.run("migrate {source} --to {url} --json").exit(2).json();
        assert_eq!((&refused["error"]["code"], &refused["error"]["target_changed"]), (&"source_in_use".into(), &false.into()), "{refused}");
        let hint = refused["error"]["hint"].as_str().unwrap();
        assert!(hint.contains("--snapshot DIR") && hint.contains("--block-writers"), "{hint}");
        assert_eq!(database.value("SELECT to_regclass('parent') IS NULL AND to_regclass('candlefish.run') IS NULL"), "t");
        case.run(&format!("migrate {{source}} --to {{url}} --jobs 3 {flags}")).exit(0);
        let copied = assert_one_state(&database);
        // The writer waited, or did not even notice; it goes on.
        writer.await_more();
        assert!(writer.pairs.load(Ordering::Relaxed) > copied);
    }
}

#[test]
fn a_private_copy_of_a_file_in_wal_mode_is_one_state_too() {
    let database = Database::fresh();
    let case = Case::new("copied").source_sql(&format!("PRAGMA journal_mode = WAL; {PAIRS}")).database(&database);
    let writer = Writer::start(&case);
    case.run("migrate {source} --to {url} --snapshot {dir}/copies").exit(0);
    assert_eq!(fs::read_dir(case.dir().join("copies")).unwrap().count(), 0, "the copy is left");
    assert_one_state(&database);
    writer.await_more();
}

/// A folder that nobody can write to.
struct Sealed(PathBuf);

impl Sealed {
    /// Holds a database whose last rows stand in its log alone; none where this user may not mount.
    fn with_log(name: &str, keep_log: bool) -> Option<Self> {
        let folder = std::env::temp_dir().join(format!("candlefish-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=8m", "tmpfs"]).arg(&folder).status();
        if !mounted.is_ok_and(|status| status.success()) {
            fs::remove_dir(&folder).unwrap();
            return None;
        }
        let sealed = Sealed(folder);
        let made = tempfile::tempdir().unwrap();
        let file = made.path().join("live.db");
        let connection = Connection::open(&file).unwrap();
        connection.execute_batch(&format!("PRAGMA journal_mode = WAL; {PAIRS}; PRAGMA wal_checkpoint(TRUNCATE);")).unwrap();
        connection.execute_batch("INSERT INTO parent VALUES(1), (2); INSERT INTO child VALUES(1, 1), (2, 2)").unwrap();
        if !keep_log {
            connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
        }
        for name in ["live.db", "live.db-wal"].into_iter().filter(|name| keep_log || !name.ends_with("-wal")) {
            fs::copy(made.path().join(name), sealed.0.join(name)).unwrap();
        }
        assert!(Command::new("mount").args(["-o", "remount,ro"]).arg(&sealed.0).status().unwrap().success());
        Some(sealed)
    }
}

impl Drop for Sealed {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg("-l").arg(&self.0).status();
        let removed = fs::remove_dir(&self.0);
        assert!(std::thread::panicking() || unmounted.unwrap().success() && removed.is_ok());
    }
}

#[test]
fn a_log_in_a_folder_that_is_read_only_is_not_passed_over() {
    let Some(sealed) = Sealed::with_log("sealed", true) else { return };
    let database = Database::fresh();
    let case = Case::new("sealed").source_file(sealed.0.join("live.db")).database(&database);
    // Nobody has it open (there is no index), so it is read in place, each reader with an index of its own in memory.
    case.run("migrate {source} --to {url}").exit(0);
    assert_eq!(assert_one_state(&database), 2);
    case.run("verify {source} --to {url}").exit(0);
    case.run("migrate {source} --to {url} --snapshot {dir}/copies --replace --yes").exit(0);
    assert_eq!(assert_one_state(&database), 2);
    case.run("verify {source} --to {url} --snapshot {dir}/copies").exit(0);
}

#[test]
fn a_read_only_folder_without_a_log_needs_no_copy() {
    let Some(sealed) = Sealed::with_log("sealed-clean", false) else { return };
    let database = Database::fresh();
    let case = Case::new("sealed, no log").source_file(sealed.0.join("live.db")).database(&database);
    case.run("migrate {source} --to {url}").exit(0);
    assert_eq!(assert_one_state(&database), 2);
}
