//! What a file is, before SQLite is asked: every wrong one gets its own sentence.

use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Result, bail};

use crate::model::Failure;

/// Files of a source that are read past SQLite while it has them open, kept open for as long as its connections are: closing any descriptor of a
/// file takes away every lock that this process holds on it, SQLite's among them (<https://sqlite.org/howtocorrupt.html>, 2.2), and without its
/// lock a reader's log may be begun anew under it. Must be dropped after the connections.
#[derive(Debug, Default)]
pub(super) struct Held(Mutex<Vec<Arc<File>>>);

impl Held {
    pub(super) fn open(&self, path: &Path) -> std::io::Result<Arc<File>> {
        let file = Arc::new(File::open(path)?);
        // A list that only grows is whole whoever panicked.
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&file));
        Ok(file)
    }
}

/// How SQLite would have to read the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// No bytes: SQLite calls it an empty database.
    Empty,
    /// A rollback journal guards it: readers and writers lock each other out.
    Journal,
    /// A write-ahead log guards it: readers and writers go on side by side.
    Wal,
}

/// Looks at the first 100 bytes and the size.
///
/// With `salvage`, a file that is shorter than its header says is taken for what is left of it.
pub fn inspect(path: &Path, salvage: bool) -> Result<FileKind> {
    let metadata = std::fs::metadata(path).map_err(|error| cannot_read(path, &error))?;
    if metadata.is_dir() {
        bail!(Failure::new("source_is_directory", "it is a directory, not a SQLite file").hint("Name the database file inside it."));
    }
    let kind = metadata.file_type();
    if kind.is_fifo() || kind.is_socket() || kind.is_char_device() {
        // To open a pipe would wait for whoever writes into it.
        bail!(Failure::new("source_is_no_file", "it is a pipe, a socket or a device, not a file").hint("Name the database file itself."));
    }
    let mut file = File::open(path).map_err(|error| cannot_read(path, &error))?;
    if metadata.is_file() && metadata.len() == 0 {
        return Ok(FileKind::Empty);
    }
    let mut header = [0u8; 100];
    let mut filled = 0;
    while filled < header.len() {
        match file.read(&mut header[filled..]).map_err(|error| cannot_read(path, &error))? {
            0 => break,
            read => filled += read,
        }
    }
    if !header.starts_with(b"SQLite format 3\0") {
        bail!(not_sqlite(&header[..filled]));
    }
    if filled < header.len() {
        bail!(truncated(metadata.len(), None));
    }
    let word = |at: usize| u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    let page_size = match u16::from_be_bytes([header[16], header[17]]) {
        1 => 65_536,
        size => u64::from(size),
    };
    let wal = header[18] == 2 || header[19] == 2;
    // The page count stands only when the change counter agrees with it; beside a write-ahead log the file may lag behind.
    let (change_counter, valid_for, pages) = (word(24), word(92), u64::from(word(28)));
    if !salvage && change_counter == valid_for && !wal_has_frames(path) && pages * page_size > metadata.len() {
        bail!(truncated(metadata.len(), Some(pages * page_size)));
    }
    Ok(if wal { FileKind::Wal } else { FileKind::Journal })
}

/// The path of the write-ahead log (`-wal`), its index (`-shm`) or the rollback journal (`-journal`).
pub fn sibling(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

pub fn wal_has_frames(path: &Path) -> bool {
    std::fs::metadata(sibling(path, "-wal")).is_ok_and(|metadata| metadata.len() > 32)
}

fn cannot_read(path: &Path, error: &std::io::Error) -> Failure {
    match error.kind() {
        ErrorKind::NotFound => {
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
            let folder = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
            Failure::new("source_not_found", "no such file").hint(format!("Check the path; looked in {}.", folder.display()))
        }
        ErrorKind::PermissionDenied => Failure::new("source_no_permission", "no permission to read the file")
            .hint("Run as a user who may read the file and its folder."),
        _ => Failure::new("source_unreadable", format!("the file cannot be read: {error}")),
    }
}

fn truncated(size: u64, wanted: Option<u64>) -> Failure {
    let message = match wanted {
        Some(wanted) => format!("the file is truncated: it has {size} bytes and its header promises {wanted}"),
        None => format!("the file is truncated: {size} bytes are less than a header"),
    };
    Failure::new("source_truncated", message)
        .hint("Copy the file again from where it came, together with its -wal file if there is one; --salvage copies what is left of it.")
}

fn not_sqlite(header: &[u8]) -> Failure {
    // Text and known formats have low bytes and repeats; 100 bytes of cipher have neither.
    let distinct = header.iter().collect::<std::collections::HashSet<_>>().len();
    let readable = header.iter().filter(|byte| byte.is_ascii_graphic() || byte.is_ascii_whitespace()).count();
    if header.len() == 100 && distinct > 60 && readable < 70 {
        return Failure::new("source_encrypted", "it is not a plain SQLite file; it looks encrypted")
            .hint("Decrypt it first (with SQLCipher: sqlcipher_export), then migrate the plain file.");
    }
    Failure::new("source_not_sqlite", "it is not a SQLite file").hint("A SQLite 3 file starts with the bytes `SQLite format 3`.")
}
