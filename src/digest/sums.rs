//! Digests of rows, summed without regard to their order: two sums agree when the same rows were added, as often as they stand.

use std::fmt;

/// One row's digests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RowDigest {
    /// Of the key's columns; of the whole row in a table without a key.
    pub key: u128,
    pub row: u128,
}

/// The rows of one part of a table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bucket {
    pub sum: u64,
    pub rows: u64,
}

/// The digest of a table, in all and by buckets of its keys. `Display` writes it as hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sums {
    pub rows: u64,
    pub sum: u128,
    pub buckets: Vec<Bucket>,
}

/// Which of `buckets` (a power of two) a key belongs to.
pub fn bucket_of(key: u128, buckets: usize) -> usize {
    (key >> 64) as usize & (buckets - 1)
}

impl Sums {
    /// `buckets` must be a power of two.
    pub fn new(buckets: usize) -> Self {
        Sums { rows: 0, sum: 0, buckets: vec![Bucket::default(); buckets] }
    }

    #[inline]
    pub fn add(&mut self, digest: RowDigest) {
        self.rows += 1;
        self.sum = self.sum.wrapping_add(digest.row);
        let place = bucket_of(digest.key, self.buckets.len());
        let bucket = &mut self.buckets[place];
        bucket.sum = bucket.sum.wrapping_add(digest.row as u64);
        bucket.rows += 1;
    }

    /// Takes in what another reader of the same table has summed.
    pub fn merge(&mut self, other: &Sums) {
        self.rows += other.rows;
        self.sum = self.sum.wrapping_add(other.sum);
        for (bucket, other) in self.buckets.iter_mut().zip(&other.buckets) {
            bucket.sum = bucket.sum.wrapping_add(other.sum);
            bucket.rows += other.rows;
        }
    }
}

impl fmt::Display for Sums {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}{:x}", self.sum, self.rows)
    }
}
