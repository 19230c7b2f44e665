//! `--salvage`: what can be read of a damaged file, around what cannot; and a list of what that was.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Mutex;

use anyhow::{Context as _, Result, anyhow};

/// What could not be read, table by table, found by whoever reads.
#[derive(Debug)]
pub struct Salvage {
    pages: Pages,
    found: Mutex<BTreeMap<String, Damage>>,
}

/// What could not be read of one table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Damage {
    /// Rowids, both ends inclusive, that no row was read of; in order, and apart.
    pub ranges: Vec<(i64, i64)>,
    /// Pages of the file that should have held them.
    pub pages: BTreeSet<u32>,
    /// In a table without rowids: rows are missing after so many of the first, and before so many of the last.
    pub gap: Option<(u64, u64)>,
    /// SQLite's words.
    pub reason: String,
}

impl Damage {
    fn add(&mut self, first: i64, last: i64) {
        self.ranges.push((first, last));
        self.ranges.sort_unstable();
        let mut merged: Vec<(i64, i64)> = Vec::with_capacity(self.ranges.len());
        for (first, last) in self.ranges.drain(..) {
            match merged.last_mut() {
                Some(before) if first <= before.1.saturating_add(1) => before.1 = before.1.max(last),
                _ => merged.push((first, last)),
            }
        }
        self.ranges = merged;
    }

    /// `rowids 12 to 40, 77; page 9: database disk image is malformed`
    pub fn text(&self) -> String {
        const SHOWN: usize = 8;
        let mut parts = Vec::new();
        if !self.ranges.is_empty() {
            let range = |(first, last): &(i64, i64)| match (*first, *last) {
                (i64::MIN, i64::MAX) => "all".to_string(),
                (i64::MIN, last) => format!("up to {last}"),
                (first, i64::MAX) => format!("from {first} on"),
                (first, last) if first == last => first.to_string(),
                (first, last) => format!("{first} to {last}"),
            };
            let mut shown: Vec<String> = self.ranges.iter().take(SHOWN).map(range).collect();
            if self.ranges.len() > SHOWN {
                shown.push(format!("and {} more ranges", self.ranges.len() - SHOWN));
            }
            parts.push(format!("rowids {}", shown.join(", ")));
        }
        if let Some((before, after)) = self.gap {
            parts.push(format!("rows between the first {before} and the last {after}"));
        }
        if !self.pages.is_empty() {
            let mut shown: Vec<String> = self.pages.iter().take(SHOWN).map(u32::to_string).collect();
            if self.pages.len() > SHOWN {
                shown.push("…".into());
            }
            parts.push(format!("page{} {}", if self.pages.len() == 1 { "" } else { "s" }, shown.join(", ")));
        }
        format!("{}: {}", parts.join("; "), self.reason)
    }
}

impl Salvage {
    /// For the file that is read: its pages tell where the next readable row may stand.
    pub fn of(path: &Path) -> Result<Self> {
        Ok(Salvage { pages: Pages::open(path)?, found: Mutex::new(BTreeMap::new()) })
    }

    pub fn found(&self) -> Result<BTreeMap<String, Damage>> {
        Ok(self.found.lock().map_err(|_| anyhow!("a reader of the source panicked"))?.clone())
    }

    pub(super) fn note(&self, table: &str, reason: &str, note: impl FnOnce(&mut Damage)) -> Result<()> {
        let mut found = self.found.lock().map_err(|_| anyhow!("a reader of the source panicked"))?;
        let damage = found.entry(table.to_string()).or_default();
        damage.reason = reason.to_string();
        note(damage);
        Ok(())
    }

    /// Notes that nothing can be read from the rowid `from` on, as far as the part of the b-tree goes that holds it, and at most to
    /// `last`. Returns the rowid from which to read on; none at the end.
    pub(super) fn skip(&self, table: &str, root: u32, from: i64, last: i64, reason: &str) -> Result<Option<i64>> {
        let (end, page) = self.pages.part(root, from);
        let end = end.map_or(last, |end| end.min(last));
        self.note(table, reason, |damage| {
            damage.add(from, end);
            damage.pages.insert(page);
        })?;
        Ok(end.checked_add(1).filter(|next| *next <= last))
    }

    pub(super) fn skip_row(&self, table: &str, rowid: i64, reason: &str) -> Result<()> {
        self.note(table, reason, |damage| damage.add(rowid, rowid))
    }
}

/// The file's pages as they are, for the keys that stand in the inner ones. They are hints only: every row is read through SQLite.
#[derive(Debug)]
struct Pages {
    file: File,
    size: u32,
}

/// The first byte of an inner page of a table's b-tree.
const INNER_TABLE_PAGE: u8 = 5;
/// More levels than any file has.
const DEEPEST: usize = 20;

impl Pages {
    fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).with_context(|| format!("open {}", path.display()))?;
        let mut size = [0; 2];
        file.read_exact_at(&mut size, 16).context("read the page size")?;
        let size = match u16::from_be_bytes(size) {
            1 => 65_536,
            size => u32::from(size),
        };
        Ok(Pages { file, size })
    }

    fn page(&self, number: u32) -> Option<Vec<u8>> {
        let mut bytes = vec![0; self.size as usize];
        let offset = u64::from(number.checked_sub(1)?) * u64::from(self.size);
        self.file.read_exact_at(&mut bytes, offset).ok()?;
        Some(bytes)
    }

    /// The largest rowid of the smallest part of the b-tree that holds `rowid`, none where it is the last part; and the page it stands in.
    fn part(&self, root: u32, rowid: i64) -> (Option<i64>, u32) {
        let (mut end, mut at) = (None, root);
        for _ in 0..DEEPEST {
            let Some((key, child)) = self.page(at).and_then(|page| child(&page, if at == 1 { 100 } else { 0 }, rowid)) else { break };
            end = key.or(end);
            at = child;
        }
        (end, at)
    }
}

/// In an inner page: the child that holds `rowid`, with the largest rowid under it; the last child has none. None for any other page.
fn child(page: &[u8], header: usize, rowid: i64) -> Option<(Option<i64>, u32)> {
    let word = |at: usize| page.get(at..at + 2).map(|bytes| usize::from(bytes[0]) << 8 | usize::from(bytes[1]));
    let number = |at: usize| page.get(at..at + 4).map(|bytes| u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]));
    if *page.get(header)? != INNER_TABLE_PAGE {
        return None;
    }
    for cell in 0..word(header + 3)? {
        let at = word(header + 12 + 2 * cell)?;
        let key = varint(page.get(at + 4..)?)?;
        if key >= rowid {
            return Some((Some(key), number(at)?));
        }
    }
    Some((None, number(header + 8)?))
}

/// SQLite's variable-length integer: seven bits a byte, the ninth has eight.
fn varint(bytes: &[u8]) -> Option<i64> {
    let mut value: u64 = 0;
    for (place, byte) in bytes.iter().take(9).enumerate() {
        if place == 8 {
            return Some((value << 8 | u64::from(*byte)) as i64);
        }
        value = value << 7 | u64::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            return Some(value as i64);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_that_touch_are_one() {
        let mut damage = Damage { reason: "malformed".into(), ..Damage::default() };
        for (first, last) in [(10, 20), (40, 40), (21, 30), (15, 18), (50, i64::MAX)] {
            damage.add(first, last);
        }
        assert_eq!(damage.ranges, [(10, 30), (40, 40), (50, i64::MAX)]);
        damage.pages.insert(7);
        assert_eq!(damage.text(), "rowids 10 to 30, 40, from 50 on; page 7: malformed");
    }

    #[test]
    fn integers_of_any_length() {
        for (bytes, value) in [(&[0x05][..], 5), (&[0x81, 0x00], 128), (&[0xff; 9], -1)] {
            assert_eq!(varint(bytes), Some(value));
        }
        assert_eq!(varint(&[0x81]), None);
    }
}
