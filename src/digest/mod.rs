//! Is it the same row? Values of both databases in one canonical form, where equal meaning is equal bytes, and digests over it.
//!
//! Knows nothing of how values are encoded for PostgreSQL: what it reads it reads by its own rules, so that a mistake made in writing is found.

mod decimal;
mod json;
mod kept;
mod moment;
mod rounded;
mod source;
mod spelled;
mod sums;
mod target;
mod text;

pub use moment::{write_date, write_timestamp};
pub use source::{AsIs, Misfit, Normalise, SourceDigester};
pub use sums::{Bucket, RowDigest, Sums, bucket_of};
pub use target::{TargetDigester, Unreadable, numeric_text};
pub use text::write_real;

use xxhash_rust::xxh3::{Xxh3, xxh3_128};

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
#[derive(Default)]
struct RowBytes {
    bytes: Vec<u8>,
    /// Where each column ends.
    ends: Vec<usize>,
    /// Of a row with large values only.
    large: Option<Box<Large>>,
}

/// Values from this size on are digested where they are: a copy of each would be what a run takes memory for.
const LARGE: usize = 64 * 1024;

/// A row whose large values are not among its bytes.
#[derive(Default)]
struct Large {
    row: Xxh3,
    /// How many of the row's bytes it has seen.
    seen: usize,
    /// Digests of the columns that hold the large values, by place.
    columns: Vec<(usize, u128)>,
    /// Digests of the row's beginning up to the end of each column from the first large value on.
    beginnings: Vec<(usize, u128)>,
}

impl RowBytes {
    fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
        self.large = None;
    }

    fn end_column(&mut self) {
        self.ends.push(self.bytes.len());
        if let Some(large) = &mut self.large {
            large.row.update(&self.bytes[large.seen..]);
            large.seen = self.bytes.len();
            large.beginnings.push((self.ends.len(), large.row.digest128()));
        }
    }

    /// `write_bytes` of a large value, the last of its column.
    fn write_large(&mut self, value: &[u8]) {
        self.bytes.extend_from_slice(&(value.len() as u64).to_le_bytes());
        let large = self.large.get_or_insert_default();
        large.row.update(&self.bytes[large.seen..]);
        large.row.update(value);
        large.seen = self.bytes.len();
        let mut column = Xxh3::new();
        column.update(&self.bytes[self.ends.last().copied().unwrap_or(0)..]);
        column.update(value);
        large.columns.push((self.ends.len(), column.digest128()));
    }

    fn digest(&self, key: usize) -> RowDigest {
        let row = self.beginning(self.ends.len());
        RowDigest { key: if key == 0 { row } else { self.beginning(key) }, row }
    }

    /// The digest of the first so many columns.
    fn beginning(&self, columns: usize) -> u128 {
        let kept = self.large.as_ref().and_then(|large| large.beginnings.iter().find(|(ended, _)| *ended == columns));
        let end = columns.checked_sub(1).map_or(0, |last| self.ends[last]);
        kept.map_or_else(|| xxh3_128(&self.bytes[..end]), |(_, digest)| *digest)
    }

    /// A digest of each column alone.
    fn columns(&self) -> Vec<u128> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        let kept = |place| self.large.as_ref().and_then(|large| large.columns.iter().find(|(column, _)| *column == place));
        let digest = |(place, (start, end)): (usize, (usize, &usize))| {
            kept(place).map_or_else(|| xxh3_128(&self.bytes[start..*end]), |(_, digest)| *digest)
        };
        starts.zip(&self.ends).enumerate().map(digest).collect()
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
