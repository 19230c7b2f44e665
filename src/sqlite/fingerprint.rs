//! Whether a source is still what it was: told by its content, so that a checkpoint, which moves pages from the log into the file, is no change.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::Xxh3;

use crate::sqlite::file::{Held, sibling};

/// One state of a database file. In rollback-journal mode every commit of SQLite counts the file's change counter up, and that is cheap to read. In
/// WAL mode most commits leave the counter alone; there every page is hashed as a reader sees it, from the log or from the file. Something
/// that writes into the file without SQLite, and leaves the counter as it was, is not noticed in rollback-journal mode.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fingerprint {
    pub page_size: u32,
    pub pages: u32,
    pub change_counter: Option<u32>,
    pub content: Option<String>,
}

impl Fingerprint {
    /// What is different now, for a person; none when it is the same.
    pub fn difference(&self, now: &Fingerprint) -> Option<String> {
        if self == now {
            return None;
        }
        Some(match (self.change_counter, now.change_counter) {
            _ if self.pages != now.pages => format!("it had {} pages and has {}", self.pages, now.pages),
            (Some(then), Some(now)) => format!("its change counter was {then} and is {now}"),
            (Some(_), None) => "it was switched to WAL mode".to_string(),
            _ => "its pages hold something else".to_string(),
        })
    }
}

/// How much of a log belongs to a snapshot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct LogMark {
    frames: u32,
    salts: [u8; 8],
}

impl LogMark {
    /// As the log's index (`-shm`) says it right now; https://sqlite.org/walformat.html has its header.
    pub(super) fn of(index: &File) -> Self {
        let mut header = [0; 48];
        if index.read_exact_at(&mut header, 0).is_err() {
            return LogMark::default();
        }
        let mut salts = [0; 8];
        salts.copy_from_slice(&header[32..40]);
        LogMark { frames: u32::from_ne_bytes([header[16], header[17], header[18], header[19]]), salts }
    }

    /// The same of a log that nobody has an index of: its frames up to the last commit.
    pub(super) fn without_index(log: &File) -> Self {
        let mut mark = LogMark::default();
        let mut header = [0; 32];
        if log.read_exact_at(&mut header, 0).is_err() {
            return mark;
        }
        mark.salts.copy_from_slice(&header[16..24]);
        let frame_bytes = u64::from(u32::from_be_bytes([header[8], header[9], header[10], header[11]])) + 24;
        let mut frame = [0; 24];
        for number in 0.. {
            if log.read_exact_at(&mut frame, 32 + u64::from(number) * frame_bytes).is_err() || frame[8..16] != mark.salts {
                break;
            }
            // A frame that ends a transaction has the size of the database in it.
            if frame[4..8] != [0; 4] {
                mark.frames = number + 1;
            }
        }
        mark
    }
}

/// The change counter in a file's header; the caller keeps writers away meanwhile.
pub(super) fn change_counter(path: &Path, held: &Held) -> Result<u32> {
    let mut bytes = [0; 4];
    held.open(path)
        .and_then(|file| file.read_exact_at(&mut bytes, 24))
        .with_context(|| format!("read the header of {}", path.display()))?;
    Ok(u32::from_be_bytes(bytes))
}

/// A hash over the pages of a state that a reader holds open: those in the log's first frames from there, the others from the file.
pub(super) fn content(path: &Path, page_size: u32, pages: u32, mark: LogMark, held: &Held) -> Result<String> {
    if mark.frames > 0
        && let Some(hash) = hash(path, page_size, pages, Some(mark), held)?
    {
        return Ok(hash);
    }
    // No log, or one that was begun anew meanwhile: then all of this state is in the file.
    hash(path, page_size, pages, None, held)?.context("a state without a log is in the file")
}

/// Bytes that are read together, about.
const BLOCK_BYTES: usize = 1 << 20;

/// None when the log is not that of the mark any more.
fn hash(path: &Path, page_size: u32, pages: u32, mark: Option<LogMark>, held: &Held) -> Result<Option<String>> {
    let log_path = sibling(path, "-wal");
    let log = mark.map(|_| held.open(&log_path)).transpose();
    // A log that has gone was written into the file.
    let Ok(log) = log else { return Ok(None) };
    let frame_bytes = u64::from(page_size) + 24;
    let mut in_log: HashMap<u32, u64> = HashMap::new();
    if let (Some(log), Some(mark)) = (&log, mark) {
        let mut header = [0; 24];
        for frame in 0..u64::from(mark.frames) {
            let at = 32 + frame * frame_bytes;
            if log.read_exact_at(&mut header, at).is_err() || header[8..16] != mark.salts {
                return Ok(None);
            }
            in_log.insert(u32::from_be_bytes([header[0], header[1], header[2], header[3]]), at + 24);
        }
    }
    let file = held.open(path).with_context(|| format!("open {}", path.display()))?;
    let mut file = file.as_ref();
    let size = page_size as usize;
    let mut block = vec![0; size * BLOCK_BYTES.div_ceil(size)];
    let mut hasher = Xxh3::new();
    let mut page = 0;
    let mut ended = false;
    while page < pages {
        let mut filled = 0;
        while !ended && filled < block.len() {
            match file.read(&mut block[filled..]).with_context(|| format!("read {}", path.display()))? {
                0 => ended = true,
                read => filled += read,
            }
        }
        block[filled..].fill(0);
        for bytes in block.chunks_mut(size).take((pages - page) as usize) {
            page += 1;
            if let (Some(log), Some(at)) = (&log, in_log.get(&page)) {
                log.read_exact_at(bytes, *at).with_context(|| format!("read {}", log_path.display()))?;
            }
            if page == 1 {
                // The journal's mode, the change counter, the schema's cookie, and the library that wrote last: a copy has others, and says the same.
                for range in [18..20, 24..28, 40..44, 92..100] {
                    bytes.get_mut(range).context("a page has more than a header")?.fill(0);
                }
            }
            hasher.update(bytes);
        }
    }
    if let (Some(log), Some(mark)) = (&log, mark) {
        let mut salts = [0; 8];
        if log.read_exact_at(&mut salts, 16).is_err() || salts != mark.salts {
            return Ok(None);
        }
    }
    if pages > 0 && size < 512 {
        bail!("a page of {size} bytes is none of SQLite's");
    }
    Ok(Some(format!("{:032x}", hasher.digest128())))
}
