//! The pages of a damaged file as they stand: which rows a part of a table's b-tree should have. They are hints only: every row is read through SQLite.
//! <https://sqlite.org/fileformat2.html> has the format.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use anyhow::{Context as _, Result};

/// The smallest part of a table's b-tree that holds some rowid: one page, as the pages above it tell.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Part {
    /// The largest rowid that may stand in it.
    pub last: i64,
    pub page: u32,
    /// The rowid of each of its rows, none for a row that cannot be told or stands in the wrong place; no rows at all where the page is no leaf.
    pub rows: Vec<Option<i64>>,
    /// Every byte of the page belongs to something, and every row is in its place.
    pub is_whole: bool,
}

#[derive(Debug)]
pub(super) struct Pages {
    file: File,
    size: u32,
    /// Bytes at the end of each page that are somebody else's.
    reserved: u8,
}

/// The first byte of an inner page of a table's b-tree, and of a leaf.
const INNER: u8 = 5;
const LEAF: u8 = 13;
/// More levels than any file has.
const DEEPEST: usize = 20;

impl Pages {
    pub fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).with_context(|| format!("open {}", path.display()))?;
        let mut header = [0; 5];
        file.read_exact_at(&mut header, 16).context("read the page size")?;
        let size = match u16::from_be_bytes([header[0], header[1]]) {
            1 => 65_536,
            size => u32::from(size),
        };
        Ok(Pages { file, size, reserved: header[4] })
    }

    fn page(&self, number: u32) -> Option<Page> {
        let mut bytes = vec![0; self.size as usize];
        let offset = u64::from(number.checked_sub(1)?) * u64::from(self.size);
        self.file.read_exact_at(&mut bytes, offset).ok()?;
        bytes.truncate(bytes.len().saturating_sub(usize::from(self.reserved)));
        Some(Page { bytes, header: if number == 1 { 100 } else { 0 } })
    }

    /// The part that holds `rowid`, of the b-tree that begins at `root`.
    pub fn part(&self, root: u32, rowid: i64) -> Part {
        let (mut first, mut last, mut at) = (i64::MIN, i64::MAX, root);
        for _ in 0..DEEPEST {
            let Some((before, key, child)) = self.page(at).and_then(|page| page.child(rowid)) else { break };
            first = before.and_then(|before| before.checked_add(1)).map_or(first, |next| next.max(first));
            (last, at) = (key.map_or(last, |key| key.min(last)), child);
        }
        let leaf = self.page(at).filter(|page| page.bytes.get(page.header) == Some(&LEAF));
        let cells = leaf.as_ref().and_then(Page::cells).unwrap_or_default();
        let rows = in_order(&cells.iter().map(|cell| cell.map(|(rowid, _)| rowid)).collect::<Vec<_>>(), first, last);
        // Only the root of a table without rows has none.
        let is_whole =
            leaf.is_some_and(|leaf| leaf.adds_up(&cells)) && rows.iter().all(Option::is_some) && (at == root || !rows.is_empty());
        Part { last, page: at, rows, is_whole }
    }
}

/// The usable bytes of a page; the first one's begin with the file's header.
struct Page {
    bytes: Vec<u8>,
    header: usize,
}

impl Page {
    fn word(&self, at: usize) -> Option<usize> {
        self.bytes.get(at..at + 2).map(|bytes| usize::from(bytes[0]) << 8 | usize::from(bytes[1]))
    }

    fn number(&self, at: usize) -> Option<u32> {
        self.bytes.get(at..at + 4).map(|bytes| u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }

    /// In an inner page: the child that holds `rowid`, with the largest rowids under the child before it and under itself; the first and the last child have
    /// none. None for any other page.
    fn child(&self, rowid: i64) -> Option<(Option<i64>, Option<i64>, u32)> {
        let header = self.header;
        if *self.bytes.get(header)? != INNER {
            return None;
        }
        let mut before = None;
        for cell in 0..self.word(header + 3)? {
            let at = self.word(header + 12 + 2 * cell)?;
            let (key, _) = varint(self.bytes.get(at + 4..)?)?;
            if key >= rowid {
                return Some((before, Some(key), self.number(at)?));
            }
            before = Some(key);
        }
        Some((before, None, self.number(header + 8)?))
    }

    /// In a leaf: the rowid and the bytes of each cell, none for one that cannot be told. None when there is no room for as many as it says.
    fn cells(&self) -> Option<Vec<Option<(i64, usize)>>> {
        let (start, number) = (self.header + 8, self.word(self.header + 3)?);
        self.bytes.get(start..start + 2 * number)?;
        Some((0..number).map(|cell| self.cell(self.word(start + 2 * cell)?)).collect())
    }

    fn cell(&self, at: usize) -> Option<(i64, usize)> {
        let (payload, length) = varint(self.bytes.get(at..)?)?;
        let (rowid, more) = varint(self.bytes.get(at + length..)?)?;
        let (payload, usable) = (usize::try_from(payload).ok()?, self.bytes.len());
        let (most, least) = (usable - 35, (usable - 12) * 32 / 255 - 23);
        let here = match payload {
            _ if payload <= most => payload,
            // The rest is in overflow pages, and the first one's number behind what is here.
            _ => Some(least + (payload - least) % (usable - 4)).filter(|fits| *fits <= most).unwrap_or(least) + 4,
        };
        let (start, bytes) = (at + length + more, (length + more + here).max(4));
        let kept = self.bytes.get(start..start + here.min(payload))?;
        (at + bytes <= usable && is_record(kept, payload)).then_some((rowid, bytes))
    }

    /// True for a leaf whose cells, free blocks and fragments together are all of it.
    fn adds_up(&self, cells: &[Option<(i64, usize)>]) -> bool {
        let sum = || {
            let header = self.header;
            let content = match self.word(header + 5)? {
                0 => 65_536,
                start => start,
            };
            let mut used = content + usize::from(*self.bytes.get(header + 7)?);
            for cell in cells {
                used += (*cell)?.1;
            }
            let mut block = self.word(header + 1)?;
            for _ in 0..self.bytes.len() {
                if block == 0 {
                    return Some(used);
                }
                used += self.word(block + 2)?;
                block = self.word(block)?;
            }
            None
        };
        sum() == Some(self.bytes.len())
    }
}

/// False where a record of `payload` bytes cannot begin with these: its header says how long each value is, and together they are the record.
fn is_record(kept: &[u8], payload: usize) -> bool {
    let Some((header, mut at)) = varint(kept) else { return false };
    let Some(header) = usize::try_from(header).ok().filter(|header| (at..=payload).contains(header)) else { return false };
    let mut sum = header as u64;
    while at < header {
        // Of a header that goes on in another page no more can be told.
        let Some((kind, length)) = kept.get(at..).and_then(varint) else { return header > kept.len() };
        at += length;
        sum += match kind {
            0 | 8 | 9 => 0,
            1..=4 => kind as u64,
            5 => 6,
            6 | 7 => 8,
            12.. => (kind as u64 - 12) / 2,
            _ => return false,
        };
    }
    at == header && sum == payload as u64
}

/// The rowids as far as they are in order, and within the bounds: of those that are not, as few as can be are left away.
fn in_order(rowids: &[Option<i64>], first: i64, last: i64) -> Vec<Option<i64>> {
    // For each length the run that ends with the smallest rowid, and for each rowid the one before it in its run.
    let (mut ends, mut before): (Vec<usize>, Vec<Option<usize>>) = (Vec::new(), vec![None; rowids.len()]);
    for (place, rowid) in rowids.iter().enumerate() {
        let Some(rowid) = rowid.filter(|rowid| (first..=last).contains(rowid)) else { continue };
        let length = ends.partition_point(|end| rowids[*end] < Some(rowid));
        before[place] = length.checked_sub(1).map(|shorter| ends[shorter]);
        match ends.get_mut(length) {
            Some(end) => *end = place,
            None => ends.push(place),
        }
    }
    let mut kept = vec![None; rowids.len()];
    let mut place = ends.last().copied();
    while let Some(at) = place {
        kept[at] = rowids[at];
        place = before[at];
    }
    kept
}

/// SQLite's variable-length integer, and its length: seven bits a byte, the ninth has eight.
fn varint(bytes: &[u8]) -> Option<(i64, usize)> {
    let mut value: u64 = 0;
    for (place, byte) in bytes.iter().take(9).enumerate() {
        if place == 8 {
            return Some(((value << 8 | u64::from(*byte)) as i64, 9));
        }
        value = value << 7 | u64::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            return Some((value as i64, place + 1));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_of_any_length() {
        for (bytes, value) in [(&[0x05][..], (5, 1)), (&[0x81, 0x00], (128, 2)), (&[0xff; 9], (-1, 9))] {
            assert_eq!(varint(bytes), Some(value));
        }
        assert_eq!(varint(&[0x81]), None);
    }

    #[test]
    fn a_record_is_as_long_as_its_values() {
        // NULL, an integer of one byte, a text of two.
        assert!(is_record(&[4, 0, 1, 17, 5, b'a', b'b'], 7));
        assert!(!is_record(&[4, 0, 1, 17, 5, b'a', b'b'], 8));
        assert!(!is_record(&[4, 0, 10, 17, 5, b'a', b'b'], 6) && !is_record(&[], 0) && !is_record(&[9, 1], 2));
    }

    #[test]
    fn a_rowid_in_the_wrong_place_costs_itself_alone() {
        let of = |rowids: &[i64]| in_order(&rowids.iter().copied().map(Some).collect::<Vec<_>>(), 10, 20);
        assert_eq!(of(&[10, 11, 19, 12, 13]), [Some(10), Some(11), None, Some(12), Some(13)]);
        assert_eq!(of(&[10, 3, 11, 900, 12]), [Some(10), None, Some(11), None, Some(12)]);
        assert_eq!(of(&[21, 9]), [None, None]);
        assert_eq!(in_order(&[Some(10), None, Some(12)], 10, 20), [Some(10), None, Some(12)]);
    }
}
