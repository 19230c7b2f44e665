//! Whether what an instance holds may still be used: the fence between reads and invalidations.
//!
//! Every tag falls into one of 65,536 slots, a version each; an invalidation moves the versions of its tags, two tags of one slot at worst forget
//! each other. A load takes a [`Stamp`] of its tags' versions *before* it asks anybody. What it brings is used only as long as the stamp is
//! current: no version moved, the epoch is the same, and the instance can prove that it has heard of every invalidation that matters.
//!
//! Every such move is also counted: where the count is what it was when an entry was last found current, nothing of it can have moved.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use rustix::time::{ClockId, clock_gettime};

use crate::model::Query;
use crate::store::declared::Tag;
use crate::store::metrics::Miss;

const SLOTS: usize = 1 << 16;

/// The longest since the instance last proved that it hears Redis, in milliseconds. With it, and what an entry's reader takes, no read is
/// older than a second after a write is `Applied`.
pub(super) const HEARD_MS: u64 = 700;

/// The same for the outbox, and a write that is `Pending`: two seconds.
pub(super) const REPLAYED_MS: u64 = 1500;

/// An answer younger than this may be given without any proof: it is within the promise by its age alone.
pub(super) const YOUNG_MS: u64 = 800;

/// On lines of its own: every hit reads it, and what shares it counts its owners right before it.
#[repr(align(128))]
pub(super) struct Validity {
    slots: Box<[AtomicU32]>,
    /// Moves when anything may have been missed: nothing of before is used.
    epoch: AtomicU32,
    /// Counts the moves of versions and of the epoch, each after it was made.
    moves: AtomicU64,
    /// Moves with every glob.
    globs: AtomicU64,
    /// Until when, in [`now_ms`], every invalidation through Redis is known here: the time at which the last heartbeat that came back was sent.
    heard: AtomicU64,
    /// The same for the outbox.
    replayed: AtomicU64,
    /// False: there is no Redis, so nothing is said there.
    has_redis: bool,
}

/// What a load knew before it began.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(super) struct Stamp {
    /// When, in [`now_ms`]: what the load brings is at least as new.
    pub at: u64,
    /// [`Validity::moves`] of before.
    pub moves: u64,
    epoch: u32,
    tags: u8,
    slots: [u16; Query::MAX_TAGS],
    versions: [u32; Query::MAX_TAGS],
    globs: u64,
}

impl Validity {
    pub fn new(has_redis: bool) -> Self {
        Validity {
            slots: (0..SLOTS).map(|_| AtomicU32::new(0)).collect(),
            epoch: AtomicU32::new(1),
            moves: AtomicU64::new(0),
            globs: AtomicU64::new(0),
            heard: AtomicU64::new(0),
            replayed: AtomicU64::new(0),
            has_redis,
        }
    }

    /// To be taken before the first question of a load.
    pub fn stamp(&self, tags: &[Tag]) -> Stamp {
        let mut stamp = Stamp {
            at: now_ms(),
            moves: self.moves(),
            epoch: self.epoch.load(Ordering::SeqCst),
            globs: self.globs.load(Ordering::SeqCst),
            tags: 0,
            slots: [0; Query::MAX_TAGS],
            versions: [0; Query::MAX_TAGS],
        };
        for (at, tag) in tags.iter().take(Query::MAX_TAGS).enumerate() {
            let slot = slot(tag.hash);
            stamp.slots[at] = slot;
            stamp.versions[at] = self.slots[usize::from(slot)].load(Ordering::SeqCst);
            stamp.tags += 1;
        }
        stamp
    }

    /// The stamp of what came from Redis. What the outbox says is known there only as of its last reading: the answer is young no longer than that proves.
    pub fn stamp_of_shared(&self, stamp: Stamp) -> Stamp {
        let known = self.replayed.load(Ordering::Acquire) + REPLAYED_MS - YOUNG_MS;
        Stamp { at: stamp.at.min(known), ..stamp }
    }

    /// How often anything has moved. What is found current *after* this was asked stays so as long as this stays the same.
    #[inline]
    pub fn moves(&self) -> u64 {
        self.moves.load(Ordering::SeqCst)
    }

    /// Until when, in [`now_ms`], everything that was said is known here, whatever the entry.
    #[inline]
    pub fn proven_until(&self) -> u64 {
        let replayed = self.replayed.load(Ordering::Acquire) + REPLAYED_MS;
        if self.has_redis { replayed.min(self.heard.load(Ordering::Acquire) + HEARD_MS) } else { replayed }
    }

    /// Why what was loaded under this stamp may not be used now; None: it may. A glob is not looked at here: it takes its entries away itself.
    pub fn objection(&self, stamp: &Stamp, now: u64) -> Option<Miss> {
        if self.is_outdated(stamp) {
            return Some(Miss::Invalidated);
        }
        (!self.is_proven(stamp, now)).then_some(Miss::Unproven)
    }

    /// True when something that the load depends on is known to have changed since.
    pub fn is_outdated(&self, stamp: &Stamp) -> bool {
        let moved = |at: usize| self.slots[usize::from(stamp.slots[at])].load(Ordering::Acquire) != stamp.versions[at];
        stamp.epoch != self.epoch.load(Ordering::Acquire) || (0..usize::from(stamp.tags)).any(moved)
    }

    /// True when everything that was said until a moment ago is known here.
    fn is_proven(&self, stamp: &Stamp, now: u64) -> bool {
        now < stamp.at + YOUNG_MS || now < self.proven_until()
    }

    /// True when everything that the outbox said until a moment ago is known here.
    pub fn is_replayed(&self, now: u64) -> bool {
        now.saturating_sub(self.replayed.load(Ordering::Acquire)) < REPLAYED_MS
    }

    /// True when what was loaded under this stamp may be given as stale: nothing is known to have changed, and what other instances say is heard.
    /// The outbox is not asked: with the database down, nothing is committed there.
    pub fn allows_stale(&self, stamp: &Stamp) -> bool {
        !self.is_outdated(stamp) && (!self.has_redis || self.hears())
    }

    /// True when a glob has been invalidated since.
    pub fn is_globbed(&self, stamp: &Stamp) -> bool {
        self.globs.load(Ordering::SeqCst) != stamp.globs
    }

    pub fn invalidate(&self, tag_hash: u64) {
        self.slots[usize::from(slot(tag_hash))].fetch_add(1, Ordering::SeqCst);
        self.moves.fetch_add(1, Ordering::SeqCst);
    }

    pub fn invalidate_all(&self) {
        self.epoch.fetch_add(1, Ordering::SeqCst);
        self.moves.fetch_add(1, Ordering::SeqCst);
    }

    /// Before the entries of a glob are taken away.
    pub fn begin_glob(&self) {
        self.globs.fetch_add(1, Ordering::SeqCst);
    }

    pub fn heard_until(&self, at: u64) {
        self.heard.fetch_max(at, Ordering::AcqRel);
    }

    pub fn replayed_until(&self, at: u64) {
        self.replayed.fetch_max(at, Ordering::AcqRel);
    }

    /// True when the instance hears Redis.
    pub fn hears(&self) -> bool {
        now_ms().saturating_sub(self.heard.load(Ordering::Acquire)) < HEARD_MS
    }
}

#[allow(clippy::cast_possible_truncation, reason = "any sixteen bits of a hash are as good as others")]
fn slot(hash: u64) -> u16 {
    hash as u16
}

/// Milliseconds of a clock that only goes forward, to the kernel's tick of a few; cheap enough for every hit. It runs on while the process is
/// stopped.
#[inline]
pub(super) fn now_ms() -> u64 {
    #[cfg(target_os = "linux")]
    let now = clock_gettime(ClockId::MonotonicCoarse);
    #[cfg(not(target_os = "linux"))]
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec.unsigned_abs() * 1000 + now.tv_nsec.unsigned_abs() / 1_000_000
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tags(texts: &[&str]) -> Vec<Tag> {
        texts.iter().map(|text| Tag::new(*text)).collect()
    }

    #[test]
    fn a_stamp_ends_with_its_tags_and_with_the_epoch() {
        let validity = Validity::new(true);
        let (one, other) = (tags(&["user:1", "users"]), tags(&["user:2"]));
        let (stamp, beside) = (validity.stamp(&one), validity.stamp(&other));
        assert_eq!(validity.objection(&stamp, stamp.at), None);
        validity.invalidate(one[1].hash);
        assert_eq!(validity.objection(&stamp, stamp.at), Some(Miss::Invalidated));
        assert_eq!(validity.objection(&beside, beside.at), None);
        validity.invalidate_all();
        assert_eq!(validity.objection(&beside, beside.at), Some(Miss::Invalidated));
    }

    #[test]
    fn past_its_youth_an_entry_needs_proof_from_redis_and_from_the_outbox() {
        let validity = Validity::new(true);
        let stamp = validity.stamp(&tags(&["a"]));
        let later = stamp.at + YOUNG_MS;
        assert_eq!(validity.objection(&stamp, later), Some(Miss::Unproven));
        validity.heard_until(later);
        assert_eq!(validity.objection(&stamp, later), Some(Miss::Unproven));
        validity.replayed_until(later);
        assert_eq!(validity.objection(&stamp, later + HEARD_MS - 1), None);
        assert_eq!(validity.objection(&stamp, later + HEARD_MS), Some(Miss::Unproven));
        let alone = Validity::new(false);
        let stamp = alone.stamp(&[]);
        alone.replayed_until(later);
        assert_eq!(alone.objection(&stamp, later + REPLAYED_MS - 1), None);
        assert_eq!(alone.objection(&stamp, later + REPLAYED_MS), Some(Miss::Unproven));
    }
}
