//! The memory cache: quick_cache (S3-FIFO, so that a scan does not empty it), weighed in the bytes that the process pays.

use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use globset::GlobMatcher;
use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{OptionsBuilder, Weighter};

use crate::store::entry::Entry;
use crate::store::metrics::Miss;
use crate::store::validity::{Stamp, Validity};

pub(super) struct L1 {
    cache: Option<Cache<u128, Arc<Entry>, ByBytes, KeyIsHash>>,
    /// A mark of each key that was kept, by its hash: tells an evicted entry from one that never was.
    seen: Box<[AtomicU32]>,
}

/// What a key and its place cost beside the entry: the slab's slot, the index, and the ghosts that S3-FIFO keeps of what it evicted.
const PLACE: u64 = 112;

const SEEN: usize = 1 << 16;

#[derive(Clone)]
struct ByBytes;

impl Weighter<u128, Arc<Entry>> for ByBytes {
    fn weight(&self, _: &u128, entry: &Arc<Entry>) -> u64 {
        entry.weight() + PLACE
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
    pub fn get(&self, key: u128) -> Option<Arc<Entry>> {
        self.cache.as_ref()?.get(&key)
    }

    /// Why there is no entry.
    pub fn absence(&self, key: u128) -> Miss {
        let (place, mark) = mark(key);
        if self.seen[place].load(Ordering::Relaxed) == mark { Miss::Evicted } else { Miss::Cold }
    }

    /// Keeps an entry, unless something it depends on changed since its stamp.
    pub fn insert(&self, key: u128, entry: &Arc<Entry>, validity: &Validity) {
        let Some(cache) = &self.cache else { return };
        if validity.is_outdated(&entry.stamp) {
            return;
        }
        cache.insert(key, entry.clone());
        let (place, mark) = mark(key);
        self.seen[place].store(mark, Ordering::Relaxed);
        // A glob takes away what it finds: either it found this entry, or it had begun before this look.
        if validity.is_globbed(&entry.stamp) {
            self.remove(key, &entry.stamp);
        }
    }

    pub fn remove(&self, key: u128, stamp: &Stamp) {
        if let Some(cache) = &self.cache {
            cache.remove_if(&key, |entry| entry.stamp.at <= stamp.at);
        }
    }

    /// Takes away every entry with a tag that matches.
    pub fn remove_glob(&self, glob: &GlobMatcher) {
        if let Some(cache) = &self.cache {
            cache.retain(|_, entry| !entry.tags().any(|tag| glob_matches(glob, tag)));
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
