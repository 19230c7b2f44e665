//! What memory keeps under a key ([`Kept`]), and what it gives to who asks ([`Given`]): two types, so that nothing that was given is ever kept.
//!
//! quick_cache gives what it holds as a clone, made while it keeps writers out. A clone of a small answer is a copy without its entry: were it put back,
//! no invalidation would find it. So the cache is closed in [`Places`], which takes a [`Kept`] alone, and that is made of an entry alone.

use std::hash::{BuildHasher, Hasher};
use std::num::NonZero;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{OptionsBuilder, Weighter};

use crate::store::entry::{Entry, with_holes};
use crate::store::rows::Rows;
use crate::store::validity::Validity;

/// An answer in the form in which the cache holds it.
pub(super) struct Kept(Given);

/// What a look into memory takes away with it.
pub(super) enum Given {
    Entry(Arc<Entry>),
    /// Beside a small entry, what a hit needs of it: where memory is slow, the entry is a second place to wait for, and to count oneself among its owners
    /// a wait that nothing else can be done in. Stands in the cache, and is given as one of the others.
    Small {
        checked: AtomicU64,
        copy: Copied,
        entry: Arc<Entry>,
        validity: Arc<Validity>,
    },
    /// Of a small one that nothing has moved since it was found current.
    Copied(Copied),
}

/// A small answer, current at the time of the look; it may be given until [`Entry::quiet_until`].
#[derive(Clone)]
pub(super) struct Copied {
    pub rows: Rows,
    pub as_of: u64,
    pub quiet_until: u64,
}

/// In place of [`Validity::moves`], which never comes as far: there is more to do for a small answer than to copy it, and who asks is given its entry.
const ENTRY: u64 = u64::MAX;

impl Kept {
    pub fn new(entry: &Arc<Entry>, validity: &Arc<Validity>) -> Self {
        if !entry.rows.is_inline() {
            return Kept(Given::Entry(entry.clone()));
        }
        Kept(Given::Small {
            checked: AtomicU64::new(entry.stamp.moves),
            copy: Copied { rows: entry.rows.clone(), as_of: entry.as_of, quiet_until: entry.quiet_until },
            entry: entry.clone(),
            validity: validity.clone(),
        })
    }
}

impl Given {
    #[inline]
    pub fn rows(&self) -> &Rows {
        match self {
            Given::Copied(copy) | Given::Small { copy, .. } => &copy.rows,
            Given::Entry(entry) => &entry.rows,
        }
    }

    pub fn as_of(&self) -> u64 {
        match self {
            Given::Copied(copy) | Given::Small { copy, .. } => copy.as_of,
            Given::Entry(entry) => entry.as_of,
        }
    }

    /// None of a copy.
    pub fn entry(&self) -> Option<&Arc<Entry>> {
        match self {
            Given::Entry(entry) | Given::Small { entry, .. } => Some(entry),
            Given::Copied(_) => None,
        }
    }

    /// True when it may be given, and nothing else is to be done. False says nothing: [`Validity::objection`] does.
    #[inline]
    pub fn is_good(&self, validity: &Validity, now: u64) -> bool {
        match self {
            Given::Copied(copy) => now < copy.quiet_until && now < validity.proven_until(),
            Given::Entry(entry) | Given::Small { entry, .. } => entry.is_good(validity, now),
        }
    }
}

impl Clone for Given {
    #[inline]
    fn clone(&self) -> Self {
        match self {
            Given::Small { checked, copy, entry, validity } => {
                let moves = validity.moves();
                let seen = checked.load(Ordering::Relaxed);
                if seen != moves {
                    // Whoever is given the entry judges it, and who comes after him finds that here.
                    if seen == ENTRY || !entry.is_checked(moves) {
                        return Given::Entry(entry.clone());
                    }
                    checked.store(moves, Ordering::Relaxed);
                }
                Given::Copied(copy.clone())
            }
            Given::Entry(entry) => Given::Entry(entry.clone()),
            Given::Copied(copy) => Given::Copied(copy.clone()),
        }
    }
}

/// quick_cache (S3-FIFO, so that a scan does not empty it), weighed in the bytes that the process pays.
pub(super) struct Places(Cache<u128, Given, ByBytes, KeyIsHash>);

/// What quick_cache pays for a place, in bytes: a slot of its slab, and its share of an index that was just made twice as large.
const PLACE: u64 = SLOT + 24;
const SLOT: u64 = size_of::<Given>() as u64 + 40;

/// S3-FIFO remembers what it evicted, each in a place like any other: one for so many bytes.
const BYTES_A_GHOST: u64 = 2048;

/// A part of the memory holds so many of the largest answers at least.
const PARTS_OF_LARGEST: u64 = 2;

impl Places {
    /// `bytes`: of everything, as the process pays it; `largest`: of the rows of an answer.
    pub fn new(bytes: u64, largest: usize) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
        Places::of_parts(bytes, largest, 4 * cores)
    }

    /// In so many parts, each with a lock of its own, or fewer: a part takes no answer that is larger than itself.
    fn of_parts(bytes: u64, largest: usize, most: usize) -> Self {
        let ghosts = bytes / BYTES_A_GHOST;
        let capacity = bytes - ghosts * PLACE;
        let fit = usize::try_from(capacity / (PARTS_OF_LARGEST * with_holes(largest)).max(1)).unwrap_or(usize::MAX).max(1);
        // quick_cache makes a power of two of it, the next one.
        let parts = 1 << most.next_power_of_two().min(fit).ilog2();
        let options = OptionsBuilder::new()
            // Of these, the half.
            .estimated_items_capacity(usize::try_from(2 * ghosts).unwrap_or(usize::MAX).max(16))
            .ghost_allocation(0.5)
            .weight_capacity(capacity)
            .shards(parts)
            .build()
            .expect("a capacity and an estimate are all that it needs");
        Places(Cache::with_options(options, ByBytes, KeyIsHash, DefaultLifecycle::default()))
    }

    #[inline]
    pub fn get(&self, key: u128) -> Option<Given> {
        self.0.get(&key)
    }

    /// The entry, whatever a hit would need of it. It keeps everybody else out for a moment: once its quiet is over, [`Places::get`] gives it to who asks.
    pub fn entry(&self, key: u128, now: u64) -> Option<Arc<Entry>> {
        let mut found = None;
        self.0.remove_if(&key, |given| {
            found = given.entry().cloned();
            if let Given::Small { checked, copy, .. } = given
                && now >= copy.quiet_until
            {
                checked.store(ENTRY, Ordering::Relaxed);
            }
            false
        });
        found
    }

    /// Whether it is there then: what outweighs a part is not.
    pub fn put(&self, key: u128, kept: Kept) -> bool {
        self.0.insert(key, kept.0);
        self.0.contains_key(&key)
    }

    pub fn remove_if(&self, key: u128, is_meant: impl FnOnce(&Entry) -> bool) {
        self.0.remove_if(&key, |given| given.entry().is_none_or(|entry| is_meant(entry)));
    }

    pub fn remove_all(&self, is_meant: impl Fn(&Entry) -> bool) {
        self.0.retain(|_, given| !given.entry().is_none_or(|entry| is_meant(entry)));
    }

    pub fn clear(&self) {
        self.0.clear();
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// By the weigher's count, with the places that hold no answer.
    pub fn bytes(&self) -> u64 {
        let places = self.0.memory_used().entries as u64 / SLOT;
        self.0.weight() + places.saturating_sub(self.0.len() as u64) * PLACE
    }
}

#[derive(Clone)]
struct ByBytes;

impl Weighter<u128, Given> for ByBytes {
    fn weight(&self, _: &u128, given: &Given) -> u64 {
        // A copy is heavier than any cache, which then does not take it.
        given.entry().map_or(u64::MAX, |entry| entry.weight() + PLACE)
    }
}

/// A key is a hash already.
#[derive(Clone, Default)]
struct KeyIsHash;

#[derive(Default)]
struct Folded(u64);

impl BuildHasher for KeyIsHash {
    type Hasher = Folded;

    fn build_hasher(&self) -> Folded {
        Folded(0)
    }
}

impl Hasher for Folded {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.0 = self.0.rotate_left(8) ^ u64::from(*byte));
    }

    #[allow(clippy::cast_possible_truncation, reason = "both halves are used")]
    fn write_u128(&mut self, key: u128) {
        self.0 = key as u64;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::store::declared::Tag;
    use crate::store::validity::Validity;

    fn entry(text: &str, validity: &Validity) -> Arc<Entry> {
        let tags = [Tag::new("user:1")];
        let stamp = validity.stamp(&tags);
        Arc::new(Entry::new(Rows::of_text(text), stamp, &tags, stamp.at, Duration::ZERO, (60_000, 60_000)))
    }

    /// Were it kept, no tag and no glob would find it: it has none.
    #[test]
    fn a_copy_that_was_given_is_never_kept() {
        let validity = Arc::new(Validity::new(false));
        let places = Places::new(1 << 20, 1024);
        places.put(1, Kept::new(&entry("a", &validity), &validity));
        let given = places.get(1).unwrap();
        assert!(matches!(given, Given::Copied(_)));
        // `places.put(2, given)` is no program; and what quick_cache itself is handed it refuses.
        places.0.insert(1, given.clone());
        places.0.insert(2, given);
        assert!(places.get(1).is_none() && places.get(2).is_none());
        assert_eq!(places.len(), 0);
    }

    /// However many cores ask for a part of their own.
    #[test]
    fn the_largest_answer_has_room_in_a_part() {
        let validity = Arc::new(Validity::new(false));
        for most in [1, 8, 100, 1024] {
            let places = Places::of_parts(100 << 20, 1 << 20, most);
            assert!(places.put(1, Kept::new(&entry(&"a".repeat((1 << 20) - 64), &validity), &validity)), "{most}");
            assert!(!places.put(2, Kept::new(&entry(&"a".repeat(100 << 20), &validity), &validity)), "{most}");
        }
        assert_eq!(Places::of_parts(100 << 20, 1 << 20, 8).0.num_shards(), 8);
    }

    /// The slots of answers, of ghosts and of nothing, and the index over all of them.
    #[test]
    fn what_quick_cache_itself_takes_is_within_the_bytes() {
        let validity = Arc::new(Validity::new(false));
        for (bytes, length) in [(64_u64 << 10, 5), (1 << 20, 5), (1 << 20, 5000), (4 << 20, 50)] {
            let places = Places::new(bytes, 1024);
            places.put(0, Kept::new(&entry("a", &validity), &validity));
            assert_eq!(places.0.memory_used().entries as u64, SLOT, "one answer, one slot");
            let (mut most, fills) = (0, 10 * bytes / entry(&"a".repeat(length), &validity).weight());
            for at in 1..=fills {
                // As they are read: not all of them once.
                places.get(xxhash_rust::xxh3::xxh3_128(&(at / 3).to_le_bytes()));
                places.put(xxhash_rust::xxh3::xxh3_128(&at.to_le_bytes()), Kept::new(&entry(&"a".repeat(length), &validity), &validity));
                if at % (fills / 100 + 1) == 0 {
                    let entries = std::cell::Cell::new(0);
                    places.0.retain(|_, given| {
                        entries.set(entries.get() + given.entry().unwrap().weight());
                        true
                    });
                    let paid = places.0.memory_used().total() as u64 + entries.get();
                    assert!(paid <= bytes && places.bytes() <= bytes, "{paid} or {} of {bytes}, answers of {length}", places.bytes());
                    most = most.max(paid);
                }
            }
            assert!(most > bytes / 10 * 8, "{most} of {bytes}, answers of {length}");
        }
    }
}
