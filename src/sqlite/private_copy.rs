//! The private copy that `--snapshot` reads: ours alone, and gone when it has been read.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context as _, Result};
use rustix::process::{Pid, test_kill_process};

use crate::model::Failure;
use crate::sqlite::file::sibling;

/// Copies of this process that are there.
static THERE: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// A file `candlefish-PID-NAME` and what SQLite puts beside it; dropped, it is removed.
#[derive(Debug)]
pub(super) struct PrivateCopy {
    path: PathBuf,
}

impl PrivateCopy {
    /// An empty file in the folder, for a copy of `source`. Copies of processes that have gone are removed.
    pub(super) fn begin(folder: &Path, source: &Path) -> Result<Self> {
        fs::create_dir_all(folder).with_context(|| format!("make the folder {}", folder.display()))?;
        remove_forgotten(folder);
        let name = source.file_name().map_or_else(|| "source.db".into(), |name| name.to_string_lossy().into_owned());
        let path = folder.join(format!("{OURS}{}-{name}", std::process::id()));
        // One of an earlier process that had the same number, which is this one's now.
        remove(&path).with_context(|| format!("clear {}", path.display()))?;
        create(&path).map_err(|error| explain(error.into(), folder)).with_context(|| format!("make {}", path.display()))?;
        there(|there| there.push(path.clone()));
        Ok(PrivateCopy { path })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Copies the file `suffix` of the source; the mode of the original is not taken over.
    pub(super) fn copy_file(&self, source: &Path, suffix: &str) -> Result<()> {
        let mut from = File::open(sibling(source, suffix))?;
        let mut to = create(&sibling(&self.path, suffix))?;
        std::io::copy(&mut from, &mut to)?;
        Ok(())
    }
}

impl Drop for PrivateCopy {
    fn drop(&mut self) {
        there(|there| there.retain(|path| *path != self.path));
        // What is left is removed by the next run.
        let _ = remove(&self.path);
    }
}

/// Removes the copies that somebody still reads when the process ends.
pub fn remove_private_copies() {
    for path in there(std::mem::take) {
        let _ = remove(&path);
    }
}

/// A full disk under the folder, where that is the reason, in a sentence with a hint.
pub(super) fn explain(error: anyhow::Error, folder: &Path) -> anyhow::Error {
    let is_full = error.chain().any(|cause| {
        let full = |error: &rusqlite::Error| error.sqlite_error_code() == Some(rusqlite::ErrorCode::DiskFull);
        cause.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == ErrorKind::StorageFull)
            || cause.downcast_ref::<rusqlite::Error>().is_some_and(full)
    });
    if !is_full {
        return error;
    }
    Failure::new("snapshot_disk_full", format!("the disk of {} is full: the private copy of the source has no room", folder.display()))
        .hint("Make room there, or name a folder on another disk with --snapshot DIR.")
        .into()
}

const OURS: &str = "candlefish-";
const SUFFIXES: [&str; 4] = ["", "-wal", "-shm", "-journal"];

fn there<T>(work: impl FnOnce(&mut Vec<PathBuf>) -> T) -> T {
    // A list of names is whole whoever panicked.
    work(&mut THERE.lock().unwrap_or_else(PoisonError::into_inner))
}

/// For this user alone: the source's rows may be nobody else's to read.
fn create(path: &Path) -> std::io::Result<File> {
    File::options().write(true).create(true).truncate(true).mode(0o600).open(path)
}

fn remove(path: &Path) -> std::io::Result<()> {
    for suffix in SUFFIXES {
        match fs::remove_file(sibling(path, suffix)) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// What processes that were killed have left; what cannot be removed harms nobody.
fn remove_forgotten(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        if entry.file_name().to_str().and_then(owner).is_some_and(has_gone) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// The process that made a copy of this name.
fn owner(name: &str) -> Option<Pid> {
    let (pid, _) = name.strip_prefix(OURS)?.split_once('-')?;
    Pid::from_raw(pid.parse().ok()?)
}

fn has_gone(pid: Pid) -> bool {
    // A process of somebody else is one that may not be asked.
    test_kill_process(pid) == Err(rustix::io::Errno::SRCH)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use rusqlite::Connection;

    use super::*;
    use crate::sqlite::{OpenOptions, Snapshot};

    fn names(folder: &Path) -> Vec<String> {
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn a_copy_is_private_and_goes_with_its_snapshot() {
        for (mode, log) in [("DELETE", false), ("WAL", false), ("WAL", true)] {
            let folder = tempfile::tempdir().unwrap();
            let (made, copies) = (folder.path().join("made.db"), folder.path().join("copies"));
            let writer = Connection::open(&made).unwrap();
            writer
                .execute_batch(&format!(
                    "PRAGMA journal_mode={mode}; PRAGMA wal_autocheckpoint = 0; CREATE TABLE t(a); INSERT INTO t VALUES (1)"
                ))
                .unwrap();
            let source = folder.path().join("source.db");
            fs::copy(&made, &source).unwrap();
            if log {
                // SQLite cannot take this one for a log: the file is copied as it is, and the copy recovered.
                fs::copy(sibling(&made, "-wal"), sibling(&source, "-wal")).unwrap();
                fs::create_dir(sibling(&source, "-shm")).unwrap();
            }
            fs::set_permissions(&source, fs::Permissions::from_mode(0o444)).unwrap();
            let mut child = std::process::Command::new("true").spawn().unwrap();
            child.wait().unwrap();
            fs::create_dir(&copies).unwrap();
            let (forgotten, others) = (format!("candlefish-{}-x.db-wal", child.id()), ["candlefish-1-x.db", "candlefish-notes.txt"]);
            others.into_iter().chain([forgotten.as_str()]).for_each(|name| fs::write(copies.join(name), "").unwrap());

            let options = OpenOptions { snapshot: Some(copies.clone()), ..OpenOptions::default() };
            let snapshot = Snapshot::open(&source, &options).unwrap();
            let copy = copies.join(format!("candlefish-{}-source.db", std::process::id()));
            assert_eq!(fs::metadata(&copy).unwrap().permissions().mode() & 0o777, 0o600, "{mode} {log}");
            assert!(!names(&copies).contains(&forgotten));
            drop(snapshot);
            let mut left = names(&copies);
            left.sort();
            assert_eq!(left, others, "{mode} {log}");
        }
    }
}
