//! One state of a SQLite file, for any number of readers.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use rusqlite::{Connection, OpenFlags};

use crate::model::Failure;
use crate::sqlite::file::{self, FileKind, Held, sibling};
use crate::sqlite::fingerprint::{self, Fingerprint, LogMark};
use crate::sqlite::private_copy::{self, PrivateCopy};
use crate::sqlite::salvage::{Damage, Salvage};

/// How a source may be opened.
#[derive(Clone, Debug)]
pub struct OpenOptions {
    /// How many readers will work at once, at least 1; fewer where the file has thousands of tables (see [`Snapshot::readers`]).
    pub readers: usize,
    /// Read a private copy of the file, made in this folder, instead of the file itself.
    pub snapshot: Option<PathBuf>,
    /// Accept that writers of a rollback-journal database wait until the reading is done.
    pub block_writers: bool,
    /// How long to wait for a writer's lock.
    pub busy_timeout: Duration,
    /// Read around what is damaged, and keep a list of it.
    pub salvage: bool,
}

impl Default for OpenOptions {
    fn default() -> Self {
        OpenOptions { readers: 1, snapshot: None, block_writers: false, busy_timeout: Duration::from_secs(5), salvage: false }
    }
}

/// All readers of a snapshot see the same rows, whatever writers do meanwhile.
#[derive(Debug)]
pub struct Snapshot {
    /// The file as the user named it.
    path: PathBuf,
    /// The file that is read: this one, or a private copy of it.
    read_path: PathBuf,
    idle: Mutex<Vec<Connection>>,
    /// How many there are.
    readers: usize,
    /// Told when a reader is idle again.
    returned: Condvar,
    /// How much of the log this state has.
    log: LogMark,
    /// Of a file in rollback-journal mode.
    change_counter: Option<u32>,
    stamp: Option<Stamp>,
    empty: bool,
    /// The file is read without a lock: nothing but its stamp tells that somebody wrote meanwhile.
    unlocked: bool,
    /// Set when opening made a `-wal` and `-shm` that were not there before.
    clean_up: Option<PathBuf>,
    salvage: Option<Salvage>,
    /// After the connections: fields are dropped in this order.
    held: Held,
    copy: Option<PrivateCopy>,
}

/// Size and time of the file and its log: when they change, somebody wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Stamp(Vec<Option<(u64, std::time::SystemTime)>>);

impl Stamp {
    fn of(path: &Path) -> Self {
        let stamp = |path: &Path| fs::metadata(path).ok().and_then(|metadata| Some((metadata.len(), metadata.modified().ok()?)));
        // An empty log is no change: a reader may have made it.
        Stamp(vec![stamp(path), stamp(&sibling(path, "-wal")).filter(|(length, _)| *length > 0)])
    }
}

/// A connection in the snapshot's read transaction; back in the pool when dropped.
pub struct Reader<'a> {
    snapshot: &'a Snapshot,
    connection: Option<Connection>,
}

impl Reader<'_> {
    pub(super) fn connection(&self) -> &Connection {
        self.connection.as_ref().expect("a reader holds its connection until it is dropped")
    }

    pub(super) fn salvage(&self) -> Option<&Salvage> {
        self.snapshot.salvage.as_ref()
    }
}

impl Drop for Reader<'_> {
    fn drop(&mut self) {
        if let (Some(connection), Ok(mut idle)) = (self.connection.take(), self.snapshot.idle.lock()) {
            idle.push(connection);
            self.snapshot.returned.notify_one();
        }
    }
}

impl Snapshot {
    /// Opens `path` read-only and fixes one state of it. Errors are `Failure`s: no such file, not SQLite, truncated, locked, in use.
    pub fn open(path: &Path, options: &OpenOptions) -> Result<Self> {
        let kind = file::inspect(path, options.salvage)?;
        if options.salvage && options.snapshot.is_none() && file::wal_has_frames(path) {
            bail!(
                Failure::new("salvage_needs_copy", "pages of the file stand in its write-ahead log, and salvage reads the file's own")
                    .hint("Read a private copy with --snapshot DIR, which brings both together.")
            );
        }
        let mut snapshot = Snapshot {
            path: path.to_owned(),
            read_path: path.to_owned(),
            idle: Mutex::new(Vec::new()),
            readers: 0,
            returned: Condvar::new(),
            log: LogMark::default(),
            change_counter: None,
            stamp: Some(Stamp::of(path)),
            empty: kind == FileKind::Empty,
            unlocked: false,
            clean_up: None,
            salvage: None,
            held: Held::default(),
            copy: None,
        };
        let connections = match (kind, &options.snapshot) {
            (FileKind::Empty, _) => (0..options.readers.max(1))
                .map(|_| Connection::open_in_memory())
                .collect::<Result<_, _>>()
                .context("open an empty database")?,
            (_, Some(folder)) => {
                let (copy, counter) = copy_into(path, folder, options)?;
                snapshot.stamp = None;
                snapshot.change_counter = counter.filter(|_| kind == FileKind::Journal);
                let (connections, log) = open_readers(copy.path(), "mode=ro", options, &snapshot.held)?;
                (snapshot.read_path, snapshot.log) = (copy.path().to_owned(), log);
                snapshot.copy = Some(copy);
                connections
            }
            (FileKind::Journal, None) => {
                refuse_a_file_in_use(path, options)?;
                let (connections, _) = open_readers(path, "mode=ro", options, &snapshot.held)?;
                // The readers' locks keep writers from the header.
                snapshot.change_counter = Some(fingerprint::change_counter(path, &snapshot.held)?);
                connections
            }
            (FileKind::Wal, None) => {
                let log_was_there = sibling(path, "-wal").exists() || sibling(path, "-shm").exists();
                let opened = open_readers(path, "mode=ro", options, &snapshot.held);
                if !log_was_there {
                    snapshot.clean_up = Some(path.to_owned());
                }
                let (connections, log) = match opened {
                    // In a folder without write permission SQLite cannot make its index, and no index means that nobody has the file open.
                    // Without a log there is nothing to index; with one, each reader has an index of its own.
                    Err(_) if !sibling(path, "-shm").exists() => {
                        snapshot.unlocked = true;
                        open_readers(path, if log_was_there { UNLOCKED } else { "immutable=1" }, options, &snapshot.held)?
                    }
                    opened => opened?,
                };
                snapshot.log = match snapshot.unlocked && log_was_there {
                    true => snapshot.held.open(&sibling(path, "-wal")).map_or_else(|_| log, |log| LogMark::without_index(&log)),
                    false => log,
                };
                connections
            }
        };
        snapshot.readers = connections.len();
        snapshot.idle = Mutex::new(connections);
        if options.salvage && !snapshot.empty {
            snapshot.salvage = Some(Salvage::of(&snapshot.read_path)?);
        }
        Ok(snapshot)
    }

    /// What readers could not read so far, by table; nothing unless the snapshot salvages.
    pub fn damage(&self) -> Result<BTreeMap<String, Damage>> {
        self.salvage.as_ref().map_or(Ok(BTreeMap::new()), Salvage::found)
    }

    /// True when readers go around damage.
    pub fn salvages(&self) -> bool {
        self.salvage.is_some()
    }

    /// The file as the user named it.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// True for a file of no bytes.
    pub fn is_empty_file(&self) -> bool {
        self.empty
    }

    /// How many readers there are: as many as were asked for, unless all their schemas together would be too large.
    pub fn readers(&self) -> usize {
        self.readers
    }

    /// One of the readers that were opened together; one whose work was given up may take a moment to return.
    pub fn reader(&self) -> Result<Reader<'_>> {
        let panicked = || anyhow!("a reader of the source panicked");
        self.refuse_a_torn_state()?;
        let idle = self.idle.lock().map_err(|_| panicked())?;
        let waited = self.returned.wait_timeout_while(idle, READER_PATIENCE, |idle| idle.is_empty());
        let connection = waited.map_err(|_| panicked())?.0.pop().context("all readers of the source are at work")?;
        Ok(Reader { snapshot: self, connection: Some(connection) })
    }

    /// A file that is read without a lock must not be written to meanwhile: what was read could be of two states.
    pub fn refuse_a_torn_state(&self) -> Result<()> {
        if self.unlocked && self.source_changed() {
            bail!(
                Failure::new("source_busy", "the file was written to while it was read without a lock, from a folder that is read-only")
                    .hint("Stop the writers, or run as a user who may write into the folder: then one state is read beside them.")
            );
        }
        Ok(())
    }

    /// This state's fingerprint, taken the way `like` was, else the cheapest way that tells every commit.
    pub fn fingerprint(&self, like: Option<&Fingerprint>) -> Result<Fingerprint> {
        let reader = self.reader()?;
        let pragma = |name: &str| -> Result<u32> {
            reader.connection().pragma_query_value(None, name, |row| row.get(0)).map_err(|error| explain(error.into()))
        };
        let (page_size, pages) = (pragma("page_size")?, pragma("page_count")?);
        let by_counter = like.map_or(self.change_counter.is_some(), |like| like.change_counter.is_some());
        let content = match (by_counter, self.empty) {
            (true, _) => None,
            (false, true) => Some(String::new()),
            (false, false) => Some(
                fingerprint::content(&self.read_path, page_size, pages, self.log, &self.held).context("take the source's fingerprint")?,
            ),
        };
        Ok(Fingerprint { page_size, pages, change_counter: self.change_counter.filter(|_| by_counter), content })
    }

    /// True when the file was written to since the snapshot was taken; the snapshot itself does not change.
    pub fn source_changed(&self) -> bool {
        self.stamp.as_ref().is_some_and(|stamp| *stamp != Stamp::of(&self.path))
    }
}

impl Drop for Snapshot {
    fn drop(&mut self) {
        let Some(path) = self.clean_up.take() else { return };
        if let Ok(mut idle) = self.idle.lock() {
            idle.clear();
        }
        // A read-only connection leaves its empty log behind. SQLite itself takes it away, under its own locks, when the last connection
        // that may write is closed; with no frames in the log that writes nothing.
        if fs::metadata(sibling(&path, "-wal")).is_ok_and(|log| log.len() == 0)
            && let Ok(connection) = Connection::open_with_flags(&path, OpenFlags::SQLITE_OPEN_READ_WRITE)
        {
            // Failing to tidy up harms nobody.
            let _ = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()));
        }
    }
}

/// With locks that do nothing, so that a read-only file can be "locked" exclusively: then SQLite keeps the log's index in memory.
const UNLOCKED: &str = "mode=ro&vfs=unix-none";

/// Tables and indexes that all readers together know: each connection keeps some 400 bytes of every one.
const OBJECTS_OF_ALL_READERS: usize = 10_000;

/// How long to wait for a reader whose work was given up.
const READER_PATIENCE: Duration = Duration::from_secs(30);

/// Opens all readers and begins their transactions in one state: a spare connection's `data_version` is the same before and after. With them
/// comes how much of the log that state has.
fn open_readers(path: &Path, mode: &str, options: &OpenOptions, held: &Held) -> Result<(Vec<Connection>, LogMark)> {
    let spare = open(path, mode, options)?;
    let version = |connection: &Connection| -> Result<i64> {
        connection.query_row("PRAGMA data_version", [], |row| row.get(0)).map_err(|error| explain(error.into()))
    };
    // Connecting takes longer than a writer's transaction: it is done before, so that little happens between the two readings.
    let objects: i64 =
        spare.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).map_err(|error| explain(error.into()))?;
    let readers = options.readers.min(OBJECTS_OF_ALL_READERS / usize::try_from(objects).unwrap_or(0).max(1)).max(1);
    let connections: Vec<Connection> = (0..readers).map(|_| open(path, mode, options)).collect::<Result<_>>()?;
    let mut index = None;
    for _ in 0..1000 {
        let before = version(&spare)?;
        for connection in &connections {
            // BEGIN alone takes no lock; the first read does.
            let begun = connection.execute_batch("BEGIN; SELECT count(*) FROM sqlite_schema;");
            begun.map_err(|error| explain(error.into()))?;
        }
        // No index, no log.
        index = index.or_else(|| held.open(&sibling(path, "-shm")).ok());
        let log = index.as_deref().map_or_else(LogMark::default, LogMark::of);
        if version(&spare)? == before {
            return Ok((connections, log));
        }
        for connection in &connections {
            connection.execute_batch("ROLLBACK").map_err(|error| explain(error.into()))?;
        }
    }
    bail!(
        Failure::new("source_busy", "the source is written to so often that two readers cannot see the same state")
            .hint("Use --snapshot DIR to read a private copy.")
    )
}

fn open(path: &Path, mode: &str, options: &OpenOptions) -> Result<Connection> {
    let absolute = std::path::absolute(path)?;
    let mut uri = String::from("file:");
    for byte in absolute.as_os_str().as_bytes() {
        match byte {
            b'/' | b'.' | b'_' | b'-' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => uri.push(char::from(*byte)),
            _ => uri.push_str(&format!("%{byte:02X}")),
        }
    }
    uri.push('?');
    uri.push_str(mode);
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(&uri, flags).map_err(|error| explain(error.into()))?;
    connection.busy_timeout(options.busy_timeout)?;
    // Nothing in the file can make us write or run code: https://sqlite.org/security.html. Scans need little cache.
    let settings =
        "PRAGMA query_only = 1; PRAGMA trusted_schema = 0; PRAGMA cell_size_check = 1; PRAGMA mmap_size = 0; PRAGMA cache_size = -1000;";
    if mode == UNLOCKED {
        connection.execute_batch("PRAGMA locking_mode = EXCLUSIVE").map_err(|error| explain(error.into()))?;
    }
    // The first of them that looks at the file is the first to meet a writer's lock.
    if options.salvage {
        // An object whose definition makes no sense is left out; nothing is written. The file may be shorter than its header says.
        connection.execute_batch("PRAGMA writable_schema = 1").map_err(|error| explain(error.into()))?;
    }
    connection.execute_batch(settings).map_err(|error| explain(error.into()))?;
    // An application's own collation orders its indexes; reading rows needs no order, so any stand-in will do.
    connection.collation_needed(|connection, name| connection.create_collation(name, |a, b| a.cmp(b)))?;
    Ok(connection)
}

/// The code of a failure that is damage to the file.
pub(super) const DAMAGED: &str = "source_damaged";

/// The code of a failure of a virtual table's module.
pub(super) const BROKEN_MODULE: &str = "source_module_broken";

pub(super) fn damaged() -> Failure {
    Failure::new(DAMAGED, "the database file is damaged")
        .hint("--salvage copies, table by table, what can be read, and says what cannot; `sqlite3 FILE .recover` may find more.")
}

/// SQLite's own codes as sentences with a hint.
pub(super) fn explain(error: anyhow::Error) -> anyhow::Error {
    let Some(rusqlite::Error::SqliteFailure(cause, _)) = error.downcast_ref::<rusqlite::Error>() else { return error };
    let failure = match cause.code {
        rusqlite::ErrorCode::DatabaseBusy | rusqlite::ErrorCode::DatabaseLocked => {
            Failure::new("source_locked", "the file is locked by a writer")
                .hint("Wait until the writer has finished, or stop it; --snapshot DIR needs the lock only for a moment.")
        }
        _ if cause.extended_code == rusqlite::ffi::SQLITE_CORRUPT_VTAB => {
            Failure::new(BROKEN_MODULE, "the virtual table's module finds its own tables in disorder")
        }
        // SQLite names the object that it cannot read.
        rusqlite::ErrorCode::DatabaseCorrupt if error.to_string().contains("malformed database schema") => {
            Failure { message: format!("the database's schema is damaged: {error}"), ..damaged() }
        }
        rusqlite::ErrorCode::DatabaseCorrupt | rusqlite::ErrorCode::TooBig => damaged(),
        rusqlite::ErrorCode::SystemIoFailure => Failure { message: format!("the file cannot be read: {error}"), ..damaged() },
        rusqlite::ErrorCode::NotADatabase => Failure::new("source_not_sqlite", "it is not a SQLite file, or it is encrypted"),
        rusqlite::ErrorCode::CannotOpen => Failure::new("source_unreadable", "SQLite cannot open the file together with its journal")
            .hint("Read a private copy with --snapshot DIR."),
        rusqlite::ErrorCode::ReadOnly => {
            Failure::new("source_hot_journal", "a writer died and left a journal that must be rolled back first")
                .hint("Read a private copy with --snapshot DIR, or open the database once with its own application.")
        }
        _ => return error,
    };
    failure.into()
}

/// In rollback-journal mode a reader keeps writers from committing: not without being told.
fn refuse_a_file_in_use(path: &Path, options: &OpenOptions) -> Result<()> {
    if options.block_writers {
        return Ok(());
    }
    let users = others_with_file_open(path);
    if users.is_empty() {
        return Ok(());
    }
    bail!(
        Failure::new(
            "source_in_use",
            format!("other processes have the file open ({}), and reading it would keep them from writing", users.join(", "))
        )
        .hint("Stop them, switch the database to WAL mode, read a private copy with --snapshot DIR, or accept it with --block-writers.")
    )
}

/// `name (pid)` of the other processes that hold the file open, as far as `/proc` shows them.
fn others_with_file_open(path: &Path) -> Vec<String> {
    use std::os::unix::fs::MetadataExt as _;
    let Ok(wanted) = fs::metadata(path) else { return Vec::new() };
    let Ok(processes) = fs::read_dir("/proc") else { return Vec::new() };
    let mut users = Vec::new();
    for process in processes.flatten() {
        let pid = process.file_name().to_string_lossy().parse::<u32>();
        let Ok(pid) = pid else { continue };
        if pid == std::process::id() {
            continue;
        }
        let Ok(files) = fs::read_dir(process.path().join("fd")) else { continue };
        let holds = files
            .flatten()
            .any(|file| fs::metadata(file.path()).is_ok_and(|metadata| metadata.ino() == wanted.ino() && metadata.dev() == wanted.dev()));
        if holds {
            let name = fs::read_to_string(process.path().join("comm")).unwrap_or_else(|_| "process".into());
            users.push(format!("{} ({pid})", name.trim()));
        }
    }
    users
}

/// File by file, again until nobody wrote meanwhile: files of two moments are no state.
fn copy_files(path: &Path, copy: &PrivateCopy) -> Result<()> {
    for _ in 0..10 {
        let before = Stamp::of(path);
        for suffix in ["", "-wal", "-journal"] {
            if sibling(path, suffix).exists() {
                copy.copy_file(path, suffix)?;
            }
        }
        if Stamp::of(path) == before {
            return Ok(());
        }
    }
    bail!(
        Failure::new("source_busy", "the source is written to so often that its files cannot be copied in one state")
            .hint("Stop its writers, or copy it with its own application.")
    )
}

/// A private, consistent copy in `folder`: by SQLite's own backup, or file by file where SQLite cannot open the original in place.
/// With it comes the original's change counter, where SQLite itself has read the original.
fn copy_into(path: &Path, folder: &Path, options: &OpenOptions) -> Result<(PrivateCopy, Option<u32>)> {
    let copy = PrivateCopy::begin(folder, path)?;
    // Before the connection, so that it is dropped after it.
    let held = Held::default();
    let source = open(path, "mode=ro", options).and_then(|source| {
        let begun = source.execute_batch("BEGIN; SELECT count(*) FROM sqlite_schema;");
        begun.map_err(|error| explain(error.into()))?;
        Ok(source)
    });
    let full = |error| private_copy::explain(error, folder);
    match source {
        Ok(source) => {
            let counter = fingerprint::change_counter(path, &held)?;
            back_up(&source, copy.path()).map_err(full).context("copy the source into the snapshot folder")?;
            Ok((copy, Some(counter)))
        }
        Err(error) if error.downcast_ref::<Failure>().is_some_and(|failure| failure.code == "source_locked") => Err(error),
        Err(_) => {
            copy_files(path, &copy).map_err(full).context("copy the source into the snapshot folder")?;
            recover(copy.path()).map_err(full).map_err(explain).context("recover the copy")?;
            Ok((copy, None))
        }
    }
}

fn back_up(source: &Connection, copy: &Path) -> Result<()> {
    let mut target = Connection::open(copy)?;
    Ok(rusqlite::backup::Backup::new(source, &mut target)?.run_to_completion(i32::MAX, Duration::ZERO, None)?)
}

/// The copy is ours: opening it for writing replays its log or rolls its journal back.
fn recover(copy: &Path) -> Result<()> {
    let recovered = Connection::open(copy)?;
    Ok(recovered.query_row("PRAGMA journal_mode = DELETE", [], |_| Ok(()))?)
}
