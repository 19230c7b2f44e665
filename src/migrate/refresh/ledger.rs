//! Where in a table the two sides differ: what the source's rows add, the target's take away again, bucket by bucket.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::digest::{RowDigest, bucket_of};
use crate::plan::profile::RowRange;

/// One table's buckets. Written by all readers of both sides at once.
pub struct Ledger {
    cut: Cut,
    balance: Box<[AtomicU64]>,
    /// Rows of both sides together.
    rows: Box<[AtomicU32]>,
}

/// What rows of one bucket have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// Integer keys that are near each other: a bucket can be read again by itself.
    Keys { first: i64, width: u64 },
    /// The digest of the key.
    Digests,
}

/// So few rows share a bucket that little is read again for one changed row.
const ROWS_A_BUCKET: u64 = 16;
/// 12 bytes each.
const MOST_BUCKETS: u64 = 524_288;

impl Ledger {
    /// For about `rows` rows whose keys are between `bounds`, or are no integers that can be cut.
    pub fn new(rows: u64, bounds: Option<(i64, i64)>) -> Self {
        let buckets = (rows / ROWS_A_BUCKET).clamp(1, MOST_BUCKETS).next_power_of_two() as usize;
        let cut = match bounds {
            Some((first, last)) => Cut::Keys { first, width: (last.abs_diff(first) / buckets as u64).saturating_add(1) },
            None => Cut::Digests,
        };
        Ledger {
            cut,
            balance: std::iter::repeat_with(AtomicU64::default).take(buckets).collect(),
            rows: std::iter::repeat_with(AtomicU32::default).take(buckets).collect(),
        }
    }

    /// How many buckets a ledger of so many rows has.
    pub fn buckets_for(rows: u64) -> u64 {
        (rows / ROWS_A_BUCKET).clamp(1, MOST_BUCKETS).next_power_of_two()
    }

    pub fn cut(&self) -> Cut {
        self.cut
    }

    /// The bucket of a row. Keys beyond the bounds belong to the first and the last one.
    #[inline]
    pub fn place(&self, digest: RowDigest, key: Option<i64>) -> usize {
        match (self.cut, key) {
            (Cut::Keys { first, width }, Some(key)) if key >= first => ((key.abs_diff(first) / width) as usize).min(self.balance.len() - 1),
            (Cut::Keys { .. }, _) => 0,
            (Cut::Digests, _) => bucket_of(digest.key, self.balance.len()),
        }
    }

    #[inline]
    pub fn source(&self, digest: RowDigest, key: Option<i64>) {
        let place = self.place(digest, key);
        self.balance[place].fetch_add(digest.row as u64, Ordering::Relaxed);
        self.rows[place].fetch_add(1, Ordering::Relaxed);
    }

    #[inline]
    pub fn target(&self, digest: RowDigest, key: Option<i64>) {
        let place = self.place(digest, key);
        self.balance[place].fetch_sub(digest.row as u64, Ordering::Relaxed);
        self.rows[place].fetch_add(1, Ordering::Relaxed);
    }

    /// The buckets whose balance is not even, in groups of at most about `rows_at_once` rows of both sides.
    pub fn uneven(&self, rows_at_once: u64) -> Vec<Group> {
        let mut groups: Vec<Group> = Vec::new();
        for (place, balance) in self.balance.iter().enumerate() {
            if balance.load(Ordering::Relaxed) == 0 {
                continue;
            }
            let rows = u64::from(self.rows[place].load(Ordering::Relaxed));
            match groups.last_mut().filter(|group| group.rows + rows <= rows_at_once) {
                Some(group) => {
                    group.places.push(place as u32);
                    group.rows += rows;
                }
                None => groups.push(Group { places: vec![place as u32], rows }),
            }
        }
        groups
    }

    /// The keys of a group's buckets, neighbours as one range; none where buckets are not of keys.
    pub fn ranges(&self, group: &Group) -> Vec<RowRange> {
        let Cut::Keys { first, width } = self.cut else { return Vec::new() };
        let last_place = self.balance.len() as u32 - 1;
        let start = |place: u32| if place == 0 { i64::MIN } else { first.saturating_add_unsigned(u64::from(place).saturating_mul(width)) };
        let end = |place: u32| {
            if place == last_place {
                return i64::MAX;
            }
            first.saturating_add_unsigned((u64::from(place) + 1).saturating_mul(width)).saturating_sub(1)
        };
        let mut ranges: Vec<RowRange> = Vec::new();
        let mut before = None;
        for place in &group.places {
            match ranges.last_mut().filter(|_| before.is_some_and(|before: u32| before + 1 == *place)) {
                Some(range) => range.last = end(*place),
                None => ranges.push(RowRange { first: start(*place), last: end(*place), rows: 0, bytes: 0 }),
            }
            before = Some(*place);
        }
        ranges
    }
}

/// Buckets that are read again together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// In rising order.
    pub places: Vec<u32>,
    /// Of both sides.
    pub rows: u64,
}

impl Group {
    pub fn has(&self, place: usize) -> bool {
        self.places.binary_search(&(place as u32)).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(row: u128) -> RowDigest {
        RowDigest { key: row << 64, row }
    }

    #[test]
    fn rows_on_both_sides_cancel_out_and_what_is_left_is_found_by_its_keys() {
        let ledger = Ledger::new(1024, Some((1, 1024)));
        assert_eq!(ledger.cut(), Cut::Keys { first: 1, width: 16 });
        for key in 1..=1024 {
            ledger.source(digest(key as u128), Some(key));
            ledger.target(digest(if key == 200 { 7 } else { key as u128 }), Some(key));
        }
        ledger.source(digest(5000), Some(5000));
        ledger.target(digest(9), Some(i64::MIN));
        let groups = ledger.uneven(1_000_000);
        assert_eq!(groups, [Group { places: vec![0, 12, 63], rows: 33 + 32 + 33 }]);
        let ranges: Vec<(i64, i64)> = ledger.ranges(&groups[0]).iter().map(|range| (range.first, range.last)).collect();
        assert_eq!(ranges, [(i64::MIN, 16), (193, 208), (1009, i64::MAX)]);
        assert_eq!(ledger.uneven(50).len(), 3);
    }

    #[test]
    fn keys_of_the_whole_range_of_integers_have_a_bucket_each() {
        let ledger = Ledger::new(10_000, Some((i64::MIN, i64::MAX)));
        let all = Group { places: (0..1024).collect(), rows: 0 };
        assert_eq!(ledger.ranges(&all).len(), 1);
        for key in [i64::MIN, -1, 0, 1, i64::MAX] {
            let group = Group { places: vec![ledger.place(digest(1), Some(key)) as u32], rows: 0 };
            let range = ledger.ranges(&group)[0];
            assert!(range.first <= key && key <= range.last, "{key}: {range:?}");
        }
    }
}
