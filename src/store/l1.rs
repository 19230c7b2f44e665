//! The memory cache: what is kept, what is taken away, and why something is not there.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use globset::GlobMatcher;

use crate::store::entry::Entry;
use crate::store::kept::{Given, Kept, Places};
use crate::store::metrics::Miss;
use crate::store::validity::{Stamp, Validity};

pub(super) struct L1 {
    /// None: it is off.
    places: Option<Places>,
    /// A mark of each key that was kept, by its hash: tells an evicted entry from one that never was.
    seen: Box<[AtomicU32]>,
}

const SEEN: usize = 1 << 16;

impl L1 {
    /// `bytes`: 0 turns it off; `largest`: bytes of the rows of an answer.
    pub fn new(bytes: u64, largest: usize) -> Self {
        L1 { places: (bytes > 0).then(|| Places::new(bytes, largest)), seen: (0..SEEN).map(|_| AtomicU32::new(0)).collect() }
    }

    pub fn is_on(&self) -> bool {
        self.places.is_some()
    }

    #[inline]
    pub fn get(&self, key: u128) -> Option<Given> {
        self.places.as_ref()?.get(key)
    }

    /// The entry, whatever a hit would need of it.
    pub fn entry(&self, key: u128, now: u64) -> Option<Arc<Entry>> {
        self.places.as_ref()?.entry(key, now)
    }

    /// Why there is no entry.
    pub fn absence(&self, key: u128) -> Miss {
        let (place, mark) = mark(key);
        if self.seen[place].load(Ordering::Relaxed) == mark { Miss::Evicted } else { Miss::Cold }
    }

    /// Keeps an entry, unless something it depends on changed since its stamp.
    pub fn insert(&self, key: u128, entry: &Arc<Entry>, validity: &Arc<Validity>) {
        let Some(places) = &self.places else { return };
        if validity.is_outdated(&entry.stamp) {
            return;
        }
        if !places.put(key, Kept::new(entry, validity)) {
            return;
        }
        let (place, mark) = mark(key);
        self.seen[place].store(mark, Ordering::Relaxed);
        // A glob takes away what it finds: either it found this entry, or it had begun before this look.
        if validity.is_globbed(&entry.stamp) {
            self.remove(key, &entry.stamp);
        }
    }

    pub fn remove(&self, key: u128, stamp: &Stamp) {
        if let Some(places) = &self.places {
            places.remove_if(key, |entry| entry.stamp.at <= stamp.at);
        }
    }

    /// Takes away every entry with a tag that matches.
    pub fn remove_glob(&self, glob: &GlobMatcher) {
        if let Some(places) = &self.places {
            places.remove_all(|entry| entry.tags().any(|tag| glob_matches(glob, tag)));
        }
    }

    pub fn clear(&self) {
        if let Some(places) = &self.places {
            places.clear();
        }
    }

    pub fn len(&self) -> usize {
        self.places.as_ref().map_or(0, Places::len)
    }

    /// By the weigher's count.
    pub fn bytes(&self) -> u64 {
        self.places.as_ref().map_or(0, Places::bytes)
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::store::declared::Tag;
    use crate::store::rows::Rows;

    fn entry(text: &str, tag: &Tag, validity: &Validity) -> Arc<Entry> {
        let tags = std::slice::from_ref(tag);
        let stamp = validity.stamp(tags);
        Arc::new(Entry::new(Rows::of_text(text), stamp, tags, stamp.at, Duration::ZERO, (60_000, 60_000)))
    }

    fn is_copied(found: Option<Given>) -> bool {
        matches!(found.unwrap(), Given::Copied(_))
    }

    #[test]
    fn a_small_answer_is_copied_while_nothing_moves_and_judged_by_its_entry_after_that() {
        let validity = Arc::new(Validity::new(false));
        let (own, other) = (Tag::new("user:1"), Tag::new("user:2"));
        let l1 = L1::new(1 << 20, 1024);
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
        let l1 = L1::new(1 << 20, 1024);
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
