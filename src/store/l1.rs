//! The memory cache: quick_cache (S3-FIFO, so that a scan does not empty it), weighed in the bytes that the process pays.

use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use globset::GlobMatcher;
use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{OptionsBuilder, Weighter};

use crate::store::entry::Entry;
use crate::store::metrics::Miss;
use crate::store::rows::Rows;
use crate::store::validity::{Stamp, Validity};

pub(super) struct L1 {
    cache: Option<Cache<u128, Kept, ByBytes, KeyIsHash>>,
    /// A mark of each key that was kept, by its hash: tells an evicted entry from one that never was.
    seen: Box<[AtomicU32]>,
}

/// What a key and its place cost beside the entry: the slab's slot, the index, and the ghosts that S3-FIFO keeps of what it evicted.
const PLACE: u64 = size_of::<Kept>() as u64 + 104;

const SEEN: usize = 1 << 16;

/// In place of [`Validity::moves`], which never comes as far: there is more to do for a small answer than to copy it, and who asks is given its entry.
const ENTRY: u64 = u64::MAX;

/// What stands under a key. The cache clones it for who asks, while it keeps writers out: so a clone is what he takes away with him.
pub(super) enum Kept {
    Entry(Arc<Entry>),
    /// Beside a small entry, what a hit needs of it: where memory is slow, the entry is a second place to wait for, and to count oneself among its owners
    /// a wait that nothing else can be done in.
    Small {
        checked: AtomicU64,
        copy: Copied,
        entry: Arc<Entry>,
        validity: Arc<Validity>,
    },
    /// A clone of a small one that nothing has moved since it was found current.
    Copied(Copied),
}

/// A small answer, current at the time of the look; it may be given until [`Entry::quiet_until`].
#[derive(Clone)]
pub(super) struct Copied {
    pub rows: Rows,
    pub as_of: u64,
    pub quiet_until: u64,
}

impl Kept {
    fn new(entry: &Arc<Entry>, validity: &Arc<Validity>) -> Self {
        if !entry.rows.is_inline() {
            return Kept::Entry(entry.clone());
        }
        Kept::Small {
            checked: AtomicU64::new(entry.stamp.moves),
            copy: Copied { rows: entry.rows.clone(), as_of: entry.as_of, quiet_until: entry.quiet_until },
            entry: entry.clone(),
            validity: validity.clone(),
        }
    }

    #[inline]
    pub fn rows(&self) -> &Rows {
        match self {
            Kept::Copied(copy) | Kept::Small { copy, .. } => &copy.rows,
            Kept::Entry(entry) => &entry.rows,
        }
    }

    pub fn as_of(&self) -> u64 {
        match self {
            Kept::Copied(copy) | Kept::Small { copy, .. } => copy.as_of,
            Kept::Entry(entry) => entry.as_of,
        }
    }

    /// None of a copy.
    fn entry(&self) -> Option<&Arc<Entry>> {
        match self {
            Kept::Entry(entry) | Kept::Small { entry, .. } => Some(entry),
            Kept::Copied(_) => None,
        }
    }

    /// True when it may be given, and nothing else is to be done. False says nothing: [`Validity::objection`] does.
    #[inline]
    pub fn is_good(&self, validity: &Validity, now: u64) -> bool {
        match self {
            Kept::Copied(copy) => now < copy.quiet_until && now < validity.proven_until(),
            Kept::Entry(entry) | Kept::Small { entry, .. } => entry.is_good(validity, now),
        }
    }
}

impl Clone for Kept {
    #[inline]
    fn clone(&self) -> Self {
        match self {
            Kept::Small { checked, copy, entry, validity } => {
                let moves = validity.moves();
                let seen = checked.load(Ordering::Relaxed);
                if seen != moves {
                    // Whoever is given the entry judges it, and who comes after him finds that here.
                    if seen == ENTRY || !entry.is_checked(moves) {
                        return Kept::Entry(entry.clone());
                    }
                    checked.store(moves, Ordering::Relaxed);
                }
                Kept::Copied(copy.clone())
            }
            Kept::Entry(entry) => Kept::Entry(entry.clone()),
            Kept::Copied(copy) => Kept::Copied(copy.clone()),
        }
    }
}

#[derive(Clone)]
struct ByBytes;

impl Weighter<u128, Kept> for ByBytes {
    fn weight(&self, _: &u128, kept: &Kept) -> u64 {
        kept.entry().map_or(0, |entry| entry.weight()) + PLACE
    }
}

impl L1 {
    /// `bytes`: 0 turns it off.
    pub fn new(bytes: u64) -> Self {
        let cache = (bytes > 0).then(|| {
            let options = OptionsBuilder::new()
                .estimated_items_capacity(usize::try_from(bytes / 512).unwrap_or(usize::MAX).max(16))
                .weight_capacity(bytes)
                .build()
                .expect("a capacity and an estimate are all that it needs");
            Cache::with_options(options, ByBytes, KeyIsHash, DefaultLifecycle::default())
        });
        L1 { cache, seen: (0..SEEN).map(|_| AtomicU32::new(0)).collect() }
    }

    pub fn is_on(&self) -> bool {
        self.cache.is_some()
    }

    #[inline]
    pub fn get(&self, key: u128) -> Option<Kept> {
        self.cache.as_ref()?.get(&key)
    }

    /// The entry, whatever a hit would need of it. It keeps everybody else out for a moment: once its quiet is over, [`L1::get`] gives it to who asks.
    pub fn entry(&self, key: u128, now: u64) -> Option<Arc<Entry>> {
        let mut found = None;
        self.cache.as_ref()?.remove_if(&key, |kept| {
            found = kept.entry().cloned();
            if let Kept::Small { checked, copy, .. } = kept
                && now >= copy.quiet_until
            {
                checked.store(ENTRY, Ordering::Relaxed);
            }
            false
        });
        found
    }

    /// Why there is no entry.
    pub fn absence(&self, key: u128) -> Miss {
        let (place, mark) = mark(key);
        if self.seen[place].load(Ordering::Relaxed) == mark { Miss::Evicted } else { Miss::Cold }
    }

    /// Keeps an entry, unless something it depends on changed since its stamp.
    pub fn insert(&self, key: u128, entry: &Arc<Entry>, validity: &Arc<Validity>) {
        let Some(cache) = &self.cache else { return };
        if validity.is_outdated(&entry.stamp) {
            return;
        }
        cache.insert(key, Kept::new(entry, validity));
        let (place, mark) = mark(key);
        self.seen[place].store(mark, Ordering::Relaxed);
        // A glob takes away what it finds: either it found this entry, or it had begun before this look.
        if validity.is_globbed(&entry.stamp) {
            self.remove(key, &entry.stamp);
        }
    }

    pub fn remove(&self, key: u128, stamp: &Stamp) {
        if let Some(cache) = &self.cache {
            cache.remove_if(&key, |kept| kept.entry().is_some_and(|entry| entry.stamp.at <= stamp.at));
        }
    }

    /// Takes away every entry with a tag that matches.
    pub fn remove_glob(&self, glob: &GlobMatcher) {
        if let Some(cache) = &self.cache {
            cache.retain(|_, kept| !kept.entry().is_some_and(|entry| entry.tags().any(|tag| glob_matches(glob, tag))));
        }
    }

    pub fn clear(&self) {
        if let Some(cache) = &self.cache {
            cache.clear();
        }
    }

    pub fn len(&self) -> usize {
        self.cache.as_ref().map_or(0, Cache::len)
    }

    /// By the weigher's count.
    pub fn bytes(&self) -> u64 {
        self.cache.as_ref().map_or(0, Cache::weight)
    }
}

fn glob_matches(glob: &GlobMatcher, tag: &[u8]) -> bool {
    // A tag that was cut inside a character matches as what is left of it.
    glob.is_match(&*String::from_utf8_lossy(tag))
}

#[allow(clippy::cast_possible_truncation, reason = "any bits of a hash are as good as others")]
fn mark(key: u128) -> (usize, u32) {
    ((key >> 64) as usize % SEEN, ((key >> 96) as u32).max(1))
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

    fn entry(text: &str, tag: &Tag, validity: &Validity) -> Arc<Entry> {
        let tags = std::slice::from_ref(tag);
        let stamp = validity.stamp(tags);
        Arc::new(Entry::new(Rows::of_text(text), stamp, tags, stamp.at, Duration::ZERO, (60_000, 60_000)))
    }

    fn is_copied(found: Option<Kept>) -> bool {
        matches!(found.unwrap(), Kept::Copied(_))
    }

    #[test]
    fn a_small_answer_is_copied_while_nothing_moves_and_judged_by_its_entry_after_that() {
        let validity = Arc::new(Validity::new(false));
        let (own, other) = (Tag::new("user:1"), Tag::new("user:2"));
        let l1 = L1::new(1 << 20);
        let small = entry("a", &own, &validity);
        l1.insert(1, &small, &validity);
        l1.insert(2, &entry(&"a".repeat(200), &own, &validity), &validity);
        assert!(is_copied(l1.get(1)) && !is_copied(l1.get(2)));
        let copy = l1.get(1).unwrap();
        assert_eq!((copy.rows(), copy.as_of()), (&small.rows, small.as_of));
        validity.invalidate(other.hash);
        assert!(!is_copied(l1.get(1)), "somebody has to judge it");
        validity.replayed_until(small.stamp.at);
        assert_eq!(small.objection(&validity, small.stamp.at), None);
        assert!(is_copied(l1.get(1)), "found current since");
        validity.invalidate(own.hash);
        assert_eq!(small.objection(&validity, small.stamp.at), Some(Miss::Invalidated));
        assert!(!is_copied(l1.get(1)), "an objection is no proof");
        assert!(Arc::ptr_eq(&l1.entry(1, small.stamp.at).unwrap(), &small) && l1.len() == 2);
    }

    #[test]
    fn a_copy_is_given_while_it_is_quiet_and_proven_and_then_its_entry() {
        let validity = Arc::new(Validity::new(false));
        let l1 = L1::new(1 << 20);
        let small = entry("a", &Tag::new("user:1"), &validity);
        l1.insert(1, &small, &validity);
        let (now, end) = (small.stamp.at, small.quiet_until);
        validity.replayed_until(now);
        let is_good = |at: u64| l1.get(1).unwrap().is_good(&validity, at);
        assert!(is_good(now) && !is_good(now + 2000), "unproven");
        validity.replayed_until(end);
        assert!(is_good(end - 1) && !is_good(end), "there is more to do than to copy it");
        l1.entry(1, end - 1);
        assert!(is_copied(l1.get(1)));
        // Whoever comes after the first who saw it keeps nobody out.
        l1.entry(1, end);
        assert!(!is_copied(l1.get(1)) && !is_copied(l1.get(1)));
    }
}
