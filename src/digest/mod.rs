//! Is it the same row? Values of both databases in one canonical form, where equal meaning is equal bytes, and digests over it.
//!
//! Knows nothing of how values are encoded for PostgreSQL: what it reads it reads by its own rules, so that a mistake made in writing is found.

mod decimal;
mod json;
mod moment;
mod source;
mod sums;
mod target;
mod text;

pub use moment::{write_date, write_timestamp};
pub use source::{AsIs, Misfit, Normalise, SourceDigester};
pub use sums::{Bucket, RowDigest, Sums, bucket_of};
pub use target::{TargetDigester, Unreadable, numeric_text};
pub use text::write_real;

use crate::plan::CopyMap;

/// What stands before a value.
const NULL: u8 = 0;
const VALUE: u8 = 1;

/// In which order a row's columns are digested: those of the key first, so that its digest is that of the row's beginning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Places in `CopyMap::columns`.
    pub columns: Vec<usize>,
    /// How many of them are the key; none: the whole row is.
    pub key: usize,
}

impl Layout {
    /// `key` names columns of the source; unless all of them are in the map, the whole row is the key.
    pub fn new(map: &CopyMap, key: &[&str]) -> Self {
        let place = |name: &&str| map.columns.iter().position(|column| column.source.eq_ignore_ascii_case(name));
        let mut columns: Vec<usize> = key.iter().map_while(place).collect();
        if columns.len() < key.len() {
            columns.clear();
        }
        let key = columns.len();
        let rest: Vec<usize> = (0..map.columns.len()).filter(|place| !columns.contains(place)).collect();
        columns.extend(rest);
        Layout { columns, key }
    }
}

/// The canonical form of one row, in memory that is used again for the next.
#[derive(Debug, Default)]
struct RowBytes {
    bytes: Vec<u8>,
    /// Where each column ends.
    ends: Vec<usize>,
}

impl RowBytes {
    fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }

    fn end_column(&mut self) {
        self.ends.push(self.bytes.len());
    }

    fn digest(&self, key: usize) -> RowDigest {
        let row = xxhash_rust::xxh3::xxh3_128(&self.bytes);
        let key = match key {
            0 => row,
            key => xxhash_rust::xxh3::xxh3_128(&self.bytes[..self.ends[key - 1]]),
        };
        RowDigest { key, row }
    }

    /// A digest of each column alone.
    fn columns(&self) -> Vec<u128> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, end)| xxhash_rust::xxh3::xxh3_128(&self.bytes[start..*end])).collect()
    }
}

/// Bytes of any length, with their length before them.
fn write_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
    out.extend_from_slice(bytes);
}

/// character(n) is padded with blanks, which mean nothing.
fn without_blanks(text: &[u8]) -> &[u8] {
    let end = text.iter().rposition(|byte| *byte != b' ').map_or(0, |last| last + 1);
    &text[..end]
}

#[cfg(test)]
mod tests;
