//! An answer that is kept: in memory as [`Entry`], in Redis as one value with a header that says whose it is and whether it is whole.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::store::chance;
use crate::store::config::StoreConfig;
use crate::store::declared::{Declaration, Tag};
use crate::store::metrics::Miss;
use crate::store::rows::Rows;
use crate::store::validity::{Stamp, Validity, now_ms};

/// An answer in memory; never changed. What every hit looks at comes first, beside the count of its owners.
#[repr(C)]
pub(super) struct Entry {
    /// [`Validity::moves`] when it was last found current.
    checked: AtomicU64,
    /// In [`now_ms`]: until then there is nothing to do for it, neither is it old nor to be refreshed.
    pub quiet_until: u64,
    pub rows: Rows,
    pub stamp: Stamp,
    /// In [`now_ms`]: when it is no longer fresh, when refreshing ahead begins.
    fresh_until: u64,
    refresh: u64,
    /// When the load began, when the answer is of no use at all.
    pub as_of: u64,
    pub useful_until: u64,
    refreshing: AtomicBool,
    /// The texts of its tags, each after its length as two bytes: for globs.
    tags: Box<[u8]>,
}

/// From here on an allocator finds few entries of a size, and few holes that fit.
const LARGE: usize = 64 << 10;

impl Entry {
    /// `remaining`: for how long it is fresh yet, and of use.
    pub fn new(rows: Rows, stamp: Stamp, tags: &[Tag], as_of: u64, load: Duration, remaining: (u64, u64)) -> Self {
        let now = now_ms();
        let (fresh, useful) = remaining;
        let ahead = refresh_ahead(load, fresh);
        let mut texts = Vec::with_capacity(tags.iter().map(|tag| tag.text.len() + 2).sum());
        for tag in tags {
            texts.extend_from_slice(&u16::try_from(tag.text.len()).unwrap_or(u16::MAX).to_le_bytes());
            texts.extend_from_slice(&tag.text.as_bytes()[..tag.text.len().min(usize::from(u16::MAX))]);
        }
        let (fresh_until, refresh) = (now + fresh, now + fresh - ahead);
        Entry {
            checked: AtomicU64::new(stamp.moves),
            quiet_until: refresh,
            rows,
            stamp,
            as_of,
            refresh,
            fresh_until,
            useful_until: now + useful,
            refreshing: AtomicBool::new(false),
            tags: texts.into(),
        }
    }

    /// Of an answer that is given once and not kept.
    pub fn unkept(rows: Rows, stamp: Stamp, as_of: u64) -> Self {
        Entry {
            checked: AtomicU64::new(stamp.moves),
            quiet_until: 0,
            rows,
            stamp,
            fresh_until: 0,
            refresh: 0,
            as_of,
            useful_until: 0,
            refreshing: AtomicBool::new(false),
            tags: Box::default(),
        }
    }

    /// True when it may be given, and nothing else is to be done. False says nothing: [`Validity::objection`] does.
    #[inline]
    pub fn is_good(&self, validity: &Validity, now: u64) -> bool {
        self.is_checked(validity.moves()) && now < self.quiet_until && now < validity.proven_until()
    }

    /// True when it was found current after the last of these moves.
    pub fn is_checked(&self, moves: u64) -> bool {
        self.checked.load(Ordering::Relaxed) == moves
    }

    /// Why it may not be given as fresh.
    pub fn objection(&self, validity: &Validity, now: u64) -> Option<Miss> {
        let moves = validity.moves();
        if let Some(objection) = validity.objection(&self.stamp, now) {
            return Some(objection);
        }
        self.checked.store(moves, Ordering::Relaxed);
        (now >= self.fresh_until).then_some(Miss::Expired)
    }

    /// For how long it has not been fresh, in milliseconds.
    pub fn stale_for(&self, now: u64) -> u64 {
        now.saturating_sub(self.fresh_until)
    }

    /// It ended already.
    pub fn ended(mut self, at: u64) -> Self {
        (self.fresh_until, self.quiet_until) = (at, self.quiet_until.min(at));
        self
    }

    /// True for the first who asks once it is time to refresh.
    pub fn begin_refresh(&self, now: u64) -> bool {
        now >= self.refresh && !self.refreshing.swap(true, Ordering::Relaxed)
    }

    pub fn tags(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = &self.tags[..];
        std::iter::from_fn(move || {
            let (length, after) = rest.split_first_chunk::<2>()?;
            let (text, after) = after.split_at(usize::from(u16::from_le_bytes(*length)).min(after.len()));
            rest = after;
            Some(text)
        })
    }

    /// What it costs, in bytes: its buffers and itself, as an allocator rounds them.
    pub fn weight(&self) -> u64 {
        let rounded = |bytes: usize| (bytes + 8).next_multiple_of(16).max(32);
        // A shared buffer has a header of its own, two counters stand before the entry.
        let shared = if self.rows.is_inline() { 0 } else { rounded(self.rows.as_bytes().len()) + 48 };
        let bytes = rounded(size_of::<Self>() + 16) + shared + rounded(self.tags.len());
        with_holes(bytes)
    }
}

/// What so many bytes cost. Sizes of every kind come and go, and leave holes that the allocator cannot fill: so much more is what a process was seen
/// to pay.
pub(super) fn with_holes(bytes: usize) -> u64 {
    let holes = if bytes < LARGE { bytes / 8 } else { bytes / 2 };
    (bytes + holes) as u64
}

/// So many times as long as its last load took, a new one begins before the end, at the latest: it may be slower than the last, and ends in time.
const LOADS_AHEAD: f64 = 2.0;

/// How long before its end an answer is loaded anew, in milliseconds. As in XFetch the slower the load, the earlier, by chance; XFetch draws with every
/// call, so that a hot key is early. Here chance is drawn once for each copy, so that instances do not begin together, and comes on top of what a load
/// needs.
fn refresh_ahead(load: Duration, fresh: u64) -> u64 {
    let ahead = load.as_secs_f64() * 1000.0 * (LOADS_AHEAD - (1.0 - chance::unit()).ln());
    (ahead.min(1e9) as u64).min(fresh / 2)
}

/// How long an answer is fresh, and of use, in milliseconds: from its declaration, with jitter.
pub(super) fn lifetimes(config: &StoreConfig, declared: &Declaration, ttl: Option<Duration>, is_empty: bool) -> (u64, u64) {
    let query = &declared.query;
    let ttl = ttl.unwrap_or(query.ttl);
    let ttl = if is_empty { ttl.min(query.negative_ttl) } else { ttl };
    let fresh = ttl.mul_f64(1.0 - config.jitter.clamp(0.0, 1.0) * chance::unit());
    let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX / 4).min(u64::MAX / 4);
    (millis(fresh), millis(fresh + query.grace))
}

/// An entry as Redis keeps it: a header, the tokens of its tags, and the rows. Every number little-endian.
///
/// `magic 4 | checksum of all that follows 8 | epoch 8 | as of 8 | fresh until 8 | useful until 8 | load, µs 4 | tags 1 | compressed 1 |
/// tokens 8 each | rows`. Times are milliseconds since 1970: the end of a life is the same wherever it is read.
pub(super) struct Packed {
    pub epoch: u64,
    pub tokens: Vec<u64>,
    pub as_of: u64,
    pub fresh_until: u64,
    pub useful_until: u64,
    pub load_micros: u32,
    pub rows: Rows,
}

const MAGIC: &[u8; 4] = b"cfe1";
const HEADER: usize = 50;
/// Smaller values are not worth compressing.
const COMPRESS_FROM: usize = 2048;

impl Packed {
    /// True in the first half of its life. Nothing is refreshed ahead in that: who is about to do so finds that another has.
    pub fn is_young(&self) -> bool {
        wall_ms() < self.as_of.midpoint(self.fresh_until)
    }

    /// `key`: under which it will stand; the checksum is of the value there and nowhere else.
    pub fn pack(&self, key: u128) -> Bytes {
        let rows = self.rows.as_bytes();
        // Kept compressed only where that saves a fifth.
        let compressed =
            (rows.len() >= COMPRESS_FROM).then(|| lz4_flex::compress_prepend_size(rows)).filter(|small| small.len() <= rows.len() / 5 * 4);
        let body = compressed.as_deref().unwrap_or(rows);
        let mut bytes = BytesMut::with_capacity(HEADER + 8 * self.tokens.len() + body.len());
        bytes.put_slice(MAGIC);
        bytes.put_u64_le(0);
        for number in [self.epoch, self.as_of, self.fresh_until, self.useful_until] {
            bytes.put_u64_le(number);
        }
        bytes.put_u32_le(self.load_micros);
        bytes.put_u8(u8::try_from(self.tokens.len()).unwrap_or(u8::MAX));
        bytes.put_u8(u8::from(compressed.is_some()));
        self.tokens.iter().for_each(|token| bytes.put_u64_le(*token));
        bytes.put_slice(body);
        let checksum = checksum(key, &bytes[12..]);
        bytes[4..12].copy_from_slice(&checksum.to_le_bytes());
        bytes.freeze()
    }

    /// None: it is damaged, of another key, or of another format. `limit`: the most bytes that rows may take once they are decompressed.
    pub fn unpack(key: u128, bytes: Bytes, limit: usize) -> Option<Self> {
        let mut rest = bytes.strip_prefix(MAGIC)?;
        if rest.len() < HEADER - 4 || rest.get_u64_le() != checksum(key, &bytes[12..]) {
            return None;
        }
        let [epoch, as_of, fresh_until, useful_until] = std::array::from_fn(|_| rest.get_u64_le());
        let load_micros = rest.get_u32_le();
        let (tags, compressed) = (rest.get_u8(), rest.get_u8());
        if rest.len() < 8 * usize::from(tags) {
            return None;
        }
        let tokens = (0..tags).map(|_| rest.get_u64_le()).collect();
        let body = match compressed {
            0 => bytes.slice_ref(rest),
            _ => {
                let (length, _) = rest.split_first_chunk::<4>()?;
                if u32::from_le_bytes(*length) as usize > limit {
                    return None;
                }
                Bytes::from(lz4_flex::decompress_size_prepended(rest).ok()?)
            }
        };
        // Not a part of the reply that it came in, which would be held with it.
        let body = if compressed == 0 { Bytes::copy_from_slice(&body) } else { body };
        Some(Packed { epoch, tokens, as_of, fresh_until, useful_until, load_micros, rows: Rows::from_bytes(body)? })
    }
}

#[allow(clippy::cast_possible_truncation, reason = "both halves are used")]
fn checksum(key: u128, bytes: &[u8]) -> u64 {
    xxh3_64_with_seed(bytes, (key as u64) ^ ((key >> 64) as u64))
}

/// Milliseconds since 1970.
pub(super) fn wall_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packed(text: &str) -> Packed {
        Packed { epoch: 7, tokens: vec![1, u64::MAX], as_of: 1, fresh_until: 2, useful_until: 3, load_micros: 4, rows: Rows::of_text(text) }
    }

    #[test]
    fn an_entry_is_looked_at_closely_once_after_each_move_and_never_given_past_its_own() {
        let validity = Validity::new(false);
        let (own, other) = ([Tag::new("user:1")], Tag::new("user:2"));
        let stamp = validity.stamp(&own);
        let now = stamp.at;
        validity.replayed_until(now);
        let entry = Entry::new(Rows::of_text("a"), stamp, &own, now, Duration::ZERO, (60_000, 60_000));
        assert!(entry.is_good(&validity, now));
        validity.invalidate(other.hash);
        assert!(!entry.is_good(&validity, now));
        assert_eq!(entry.objection(&validity, now), None);
        assert!(entry.is_good(&validity, now), "it was found current since");
        assert!(!entry.is_good(&validity, now + 2000), "unproven");
        validity.replayed_until(now + 70_000);
        assert!(!entry.is_good(&validity, now + 70_000), "its time is over");
        assert_eq!(entry.objection(&validity, now + 70_000), Some(Miss::Expired));
        validity.invalidate(own[0].hash);
        assert!(!entry.is_good(&validity, now));
        assert_eq!(entry.objection(&validity, now), Some(Miss::Invalidated));
        assert!(!entry.is_good(&validity, now), "an objection is no proof");
    }

    #[test]
    fn a_new_load_has_the_time_that_the_last_one_took_and_as_much_again() {
        let draws = |load: u64, fresh: u64| (0..1000).map(move |_| refresh_ahead(Duration::from_millis(load), fresh));
        assert!(draws(100, 60_000).all(|ahead| ahead >= 200));
        // Not all at once; and not twice as often, even where a load takes most of a life.
        assert!(draws(100, 60_000).max() > draws(100, 60_000).min().map(|least| least + 100));
        assert!(draws(900, 1000).all(|ahead| ahead == 500) && draws(0, 1000).all(|ahead| ahead == 0));
    }

    #[test]
    fn what_is_packed_comes_out_the_same_and_smaller_where_that_pays() {
        for text in ["short".to_string(), "long ".repeat(2000), (0..4000).map(|_| char::from(33 + (chance::token() % 90) as u8)).collect()]
        {
            let bytes = packed(&text).pack(7);
            let again = Packed::unpack(7, bytes.clone(), 1 << 20).unwrap();
            assert_eq!((again.epoch, again.tokens, again.rows), (7, vec![1, u64::MAX], Rows::of_text(&text)));
            assert_eq!(bytes.len() < text.len(), text.starts_with("long"));
        }
        assert!(Packed::unpack(8, packed("another's").pack(7), 1 << 20).is_none(), "what stands under another key is refused");
        assert!(Packed::unpack(7, packed(&"long ".repeat(2000)).pack(7), 100).is_none(), "a bomb is refused");
    }

    proptest::proptest! {
        #[test]
        fn what_is_damaged_is_refused(at in 0_usize..10_000, bit in 0_u8..8, cut in 0_usize..10) {
            let mut bytes = packed("some text").pack(7).to_vec();
            let at = at % bytes.len();
            bytes[at] ^= 1 << bit;
            bytes.truncate(bytes.len() - cut.min(bytes.len()));
            proptest::prop_assert!(Packed::unpack(7, bytes.into(), 1 << 20).is_none());
        }
    }
}
