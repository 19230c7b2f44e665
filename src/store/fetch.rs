//! Reading: memory, Redis, one load for all who ask, and stale rows where they are allowed.

use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use bytes::BytesMut;
use tokio_postgres::types::{IsNull, ToSql};
use xxhash_rust::xxh3::xxh3_128_with_seed;

use crate::model::QueryKind;
use crate::store::declared::Declaration;
use crate::store::entry::Entry;
use crate::store::kept::Given;
use crate::store::load::{Ask, Loaded, Spans};
use crate::store::metrics::Miss;
use crate::store::params::encode;
use crate::store::rows::Rows;
use crate::store::validity::now_ms;
use crate::store::{Declared, Inner, Store, StoreError};

/// What one call may say about itself.
#[derive(Clone, Copy, Debug, Default)]
pub struct Call<'a> {
    /// Instead of the declared one, for what this call itself has loaded; an answer that is kept already lives as long as it was given.
    pub ttl: Option<Duration>,
    /// Asks the database, whatever is kept; what it says is not kept either.
    pub fresh: bool,
    /// Part of the key: whose answer this is where the database tells callers apart (row security, `search_path`). Never the whole key.
    pub scope: &'a str,
    /// When the caller needs the answer; else the store's `query_timeout` from now.
    pub deadline: Option<Instant>,
    /// Tries beyond the first, of what is safe to try again; else the store's.
    pub retries: Option<u32>,
    /// Notes what each layer took, in [`Fetched::trace`].
    pub trace: bool,
}

/// Where an answer came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// This process's memory.
    L1,
    /// Redis.
    L2,
    Database,
    /// A load that somebody else had begun.
    Coalesced,
    /// Kept past its time, because the database is slow or down: fresh until so long ago.
    Stale {
        since: Duration,
    },
}

/// Rows, and where they came from.
#[derive(Clone)]
pub struct Fetched {
    given: Given,
    pub source: Source,
    /// A span a layer, in the order in which they were asked: `l1`, `l2`, `lease` (another instance loads it), `pool`, `database`; `wait` for a load that
    /// somebody else had begun. Empty unless the call asked for it.
    pub trace: Vec<(&'static str, Duration)>,
}

impl Call<'_> {
    /// Nothing is said.
    const PLAIN: Call<'static> = Call { ttl: None, fresh: false, scope: "", deadline: None, retries: None, trace: false };
}

impl Fetched {
    #[inline]
    pub(super) fn new(entry: Arc<Entry>, source: Source) -> Self {
        Fetched { given: Given::Entry(entry), source, trace: Vec::new() }
    }

    #[inline]
    pub fn rows(&self) -> &Rows {
        self.given.rows()
    }

    /// The rows are at least as new as this.
    pub fn as_of(&self) -> SystemTime {
        SystemTime::now() - self.age()
    }

    pub fn age(&self) -> Duration {
        Duration::from_millis(now_ms().saturating_sub(self.given.as_of()))
    }
}

impl std::fmt::Debug for Fetched {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Fetched({:?}, {:?})", self.source, self.rows())
    }
}

thread_local! {
    static BUFFER: RefCell<BytesMut> = RefCell::new(BytesMut::with_capacity(256));
    static TICK: Cell<u32> = const { Cell::new(0) };
}

/// One in so many hits of memory is timed: the clock would cost as much as the hit.
const SAMPLE: u32 = 128;

impl Store {
    /// The rows of a declared read: from memory, from Redis, or from the database.
    ///
    /// # Errors
    /// Those of the database and of the way to it. Redis has none here: without it a read is slower, and never fails.
    #[inline]
    pub fn fetch<'a>(
        &'a self,
        query: &'a Declared,
        params: &'a [&'a (dyn ToSql + Sync)],
    ) -> impl Future<Output = Result<Fetched, StoreError>> + Send + 'a {
        self.fetch_with(query, params, &Call::PLAIN)
    }

    /// The same, with what this call says about itself.
    #[inline]
    pub async fn fetch_with(&self, query: &Declared, params: &[&(dyn ToSql + Sync)], call: &Call<'_>) -> Result<Fetched, StoreError> {
        let mut missed = Missed::default();
        match self.hit(query, params, call, &mut missed) {
            Some(given) => Ok(Fetched { given, source: Source::L1, trace: missed.trace }),
            None => self.boxed_miss(query, params, call, missed).await,
        }
    }

    /// The way of a hit. It waits for nothing, allocates nothing, and is short: while memory is slow the processor begins with the next. What is found is
    /// moved as little as can be, for the same reason.
    #[inline(always)]
    fn hit(&self, query: &Declared, params: &[&(dyn ToSql + Sync)], call: &Call<'_>, missed: &mut Missed) -> Option<Given> {
        let declared = &*query.0;
        // Another store's declaration is refused there too.
        if !declared.kept || call.fresh || declared.store != self.0.id {
            return None;
        }
        let is_sample = is_sample();
        let began = (is_sample || call.trace).then(Instant::now);
        // Who misses encodes again, and says what does not fit.
        let key = key_of(declared, params, call.scope).ok()?;
        if declared.query.required {
            missed.key = key;
            return None;
        }
        let now = now_ms();
        let mut found = self.0.l1.get(key);
        if !found.as_ref().is_some_and(|given| given.is_good(&self.0.validity, now)) {
            missed.key = key;
            found = Some(Given::Entry(self.look_closer(query, params, call, missed, found, now)?));
        }
        declared.metrics.l1.hits.count();
        if let Some(began) = began {
            self.note_hit(declared, began, is_sample, call.trace.then_some(missed));
        }
        found
    }

    /// What was found in memory and cannot be given without a second thought.
    #[cold]
    fn look_closer(
        &self,
        query: &Declared,
        params: &[&(dyn ToSql + Sync)],
        call: &Call<'_>,
        missed: &mut Missed,
        found: Option<Given>,
        now: u64,
    ) -> Option<Arc<Entry>> {
        let found = match found {
            Some(Given::Entry(entry) | Given::Small { entry, .. }) => Some(entry),
            Some(Given::Copied(_)) => self.0.l1.entry(missed.key, now),
            None => None,
        };
        match self.0.judge_memory(&query.0, missed.key, found, now) {
            Memory::Hit(entry) => {
                if entry.begin_refresh(now) {
                    self.refresh(query, params, call, missed.key);
                }
                Some(entry)
            }
            Memory::Miss(cause, stale) => {
                query.0.metrics.l1.miss(cause);
                missed.stale = stale;
                None
            }
        }
    }

    #[cold]
    fn note_hit(&self, declared: &Declaration, began: Instant, is_sample: bool, traced: Option<&mut Missed>) {
        declared.metrics.l1.latency.record(began.elapsed());
        if is_sample {
            self.0.calls.latency.record_for(began.elapsed(), u64::from(SAMPLE));
        }
        if let Some(traced) = traced {
            traced.trace.push(("l1", began.elapsed()));
        }
    }

    /// In a box, made elsewhere: the way of a hit stays small.
    #[cold]
    #[inline(never)]
    fn boxed_miss<'a>(
        &'a self,
        query: &'a Declared,
        params: &'a [&'a (dyn ToSql + Sync)],
        call: &'a Call<'_>,
        missed: Missed,
    ) -> Pin<Box<dyn Future<Output = Result<Fetched, StoreError>> + Send + 'a>> {
        Box::pin(self.miss(query, params, call, missed))
    }

    async fn miss(&self, query: &Declared, params: &[&(dyn ToSql + Sync)], call: &Call<'_>, missed: Missed) -> Result<Fetched, StoreError> {
        let began = Instant::now();
        let outcome = self.load(query, params, call, missed, began).await;
        self.0.calls.record(began, &outcome);
        outcome
    }

    async fn load(
        &self,
        query: &Declared,
        params: &[&(dyn ToSql + Sync)],
        call: &Call<'_>,
        missed: Missed,
        began: Instant,
    ) -> Result<Fetched, StoreError> {
        let Missed { key, stale, .. } = missed;
        let mut ask = self.ask(query, params, call, key)?;
        ask.spans = call.trace.then(Spans::default);
        let spans = ask.spans.clone();
        let deadline = call.deadline.unwrap_or(began + self.0.config.query_timeout);
        let kept = query.0.kept && !call.fresh;
        let late = || StoreError::DeadlineExceeded { waiting_for: "the answer", after: began.elapsed() };
        // What has a limit of its own at every step needs no clock over all of them.
        let mut fetched = match (kept, query.0.query.required) {
            (false, _) => self.0.uncached(&ask, deadline).await?,
            (true, true) => {
                let checked = self.0.clone().checked(&ask, deadline);
                tokio::time::timeout_at(deadline.into(), checked).await.map_err(|_| late())??
            }
            (true, false) => match self.0.take(&mut ask, stale.is_some(), deadline).await {
                Some(fetched) => fetched,
                None => tokio::time::timeout_at(deadline.into(), self.0.join(ask, stale, deadline)).await.map_err(|_| late())??,
            },
        };
        if let Source::Stale { .. } = fetched.source {
            query.0.metrics.stale.fetch_add(1, Ordering::Relaxed);
        }
        if let Some(spans) = spans {
            fetched.trace = std::mem::take(&mut *spans.lock().unwrap_or_else(PoisonError::into_inner));
            // Somebody else's load, or a stale answer while one goes on.
            if fetched.trace.is_empty() {
                fetched.trace.push(("wait", began.elapsed()));
            }
        }
        Ok(fetched)
    }

    fn ask(&self, query: &Declared, params: &[&(dyn ToSql + Sync)], call: &Call<'_>, key: u128) -> Result<Ask, StoreError> {
        if self.0.own(query)?.query.kind == QueryKind::Write {
            return Err(StoreError::misuse(format!("query {:?} writes: use Store::write", query.0.query.name)));
        }
        let params = query.0.params(params)?;
        // What is not kept depends on nothing.
        let tags = if query.0.kept && !call.fresh { query.0.tags(&params) } else { Vec::new() };
        let stamp = self.0.validity.stamp(&tags);
        let retries = call.retries.unwrap_or(self.0.config.retries);
        Ok(Ask { declared: query.0.clone(), params, key, tags, stamp, ttl: call.ttl, retries, looked: None, spans: None })
    }

    /// Loads anew in the background what is about to end.
    fn refresh(&self, query: &Declared, params: &[&(dyn ToSql + Sync)], call: &Call<'_>, key: u128) {
        if let Ok(ask) = self.ask(query, params, call, key) {
            query.0.metrics.refreshed_ahead.fetch_add(1, Ordering::Relaxed);
            self.0.start(ask, true);
        }
    }
}

/// What a call that memory does not answer goes on with.
#[derive(Default)]
struct Missed {
    key: u128,
    /// Of a hit, where it was asked for.
    trace: Vec<(&'static str, Duration)>,
    /// What may yet do as a stale answer.
    stale: Option<Arc<Entry>>,
}

/// What memory says.
pub(super) enum Memory {
    Hit(Arc<Entry>),
    /// Why not; and what there was, when it may yet do as a stale answer.
    Miss(Miss, Option<Arc<Entry>>),
}

impl Inner {
    /// The declaration, if it is of this store: another's has the key of another database or role.
    pub(super) fn own<'a>(&self, query: &'a Declared) -> Result<&'a Declaration, StoreError> {
        if query.0.store == self.id {
            return Ok(&query.0);
        }
        Err(StoreError::misuse(format!("query {:?} is declared with another store", query.0.query.name)))
    }

    pub(super) fn look_in_memory(&self, declared: &Declaration, key: u128, now: u64) -> Memory {
        self.judge_memory(declared, key, self.l1.entry(key, now), now)
    }

    fn judge_memory(&self, declared: &Declaration, key: u128, found: Option<Arc<Entry>>, now: u64) -> Memory {
        let Some(entry) = found else { return Memory::Miss(self.l1.absence(key), None) };
        let Some(objection) = entry.objection(&self.validity, now) else { return Memory::Hit(entry) };
        // What is old stays until a load takes its place: who asks meanwhile is told the same cause.
        let useful = now < entry.useful_until && !declared.query.grace.is_zero() && self.validity.allows_stale(&entry.stamp);
        Memory::Miss(objection, useful.then_some(entry))
    }

    /// A stale answer, if it may be given now.
    pub(super) fn stale(&self, entry: Arc<Entry>) -> Option<Loaded> {
        let now = now_ms();
        let since = Duration::from_millis(entry.stale_for(now));
        (now < entry.useful_until && self.validity.allows_stale(&entry.stamp)).then_some(Loaded { entry, source: Source::Stale { since } })
    }
}

/// One hit in [`SAMPLE`] is, on each thread.
fn is_sample() -> bool {
    TICK.with(|tick| {
        tick.set(tick.get().wrapping_add(1));
        tick.get().is_multiple_of(SAMPLE)
    })
}

/// The key of one call: over everything that can change the answer. Nothing is allocated.
///
/// The fingerprint, then each parameter, then the scope, one step each. Each is hashed by itself, from where it was just written: of a text in one piece
/// the hash would read across what was written piece by piece, and the processor waits with such a read until all that was written before is in
/// memory, that of the hits before included.
#[inline]
pub(super) fn key_of(declared: &Declaration, params: &[&(dyn ToSql + Sync)], scope: &str) -> Result<u128, StoreError> {
    declared.check_count(params)?;
    BUFFER.with_borrow_mut(|buffer| {
        let mut key = declared.fingerprint;
        for (at, (param, param_type)) in params.iter().zip(&declared.types).enumerate() {
            buffer.clear();
            key = match encode(*param, param_type, buffer).map_err(|error| declared.misfit(at, &*error))? {
                IsNull::No => step(key, buffer),
                // As far from every value as two values are from each other.
                IsNull::Yes => key.rotate_left(41) ^ 0x6d0f_27bd_9c1e_84a3_58f2_c36b_07ad_e915,
            };
        }
        Ok(if scope.is_empty() { key } else { step(key, scope.as_bytes()) })
    })
}

/// Two keys that differ stay as different as two hashes, whatever comes after.
#[inline]
#[allow(clippy::cast_possible_truncation, reason = "any half of a hash")]
fn step(key: u128, value: &[u8]) -> u128 {
    key.rotate_left(41) ^ xxh3_128_with_seed(value, key as u64)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::model::{ParamType, Query};

    #[test]
    fn keys_differ_wherever_calls_do() {
        const TWO: Query = Query::cached("two", "SELECT 1 WHERE $1 = $2", &[ParamType::Text, ParamType::Text]);
        let two = Declaration::new(TWO, &[b"db"], 1).unwrap();
        let texts = [None, Some(""), Some("a"), Some("ab"), Some("b"), Some("abc"), Some("c")];
        let mut keys = HashSet::new();
        for scope in ["", "a", "b"] {
            for first in texts {
                for second in texts {
                    assert!(keys.insert(key_of(&two, &[&first, &second], scope).unwrap()), "{first:?} {second:?} {scope:?}");
                }
            }
        }
        let other = Declaration::new(TWO, &[b"other db"], 1).unwrap();
        assert!(keys.insert(key_of(&other, &[&"a", &"b"], "").unwrap()));
        let number = |param| Declaration::new(Query { params: param, sql: "SELECT $1", ..TWO }, &[b"db"], 1).unwrap();
        let (long, short) = (number(&[ParamType::Int8]), number(&[ParamType::Int4]));
        let numbers: HashSet<u128> = (0..100_000_i64).map(|n| key_of(&long, &[&n], "").unwrap()).collect();
        let halves: HashSet<u64> = numbers.iter().flat_map(|key| [*key as u64, (key >> 64) as u64]).collect();
        assert_eq!((numbers.len(), halves.len()), (100_000, 200_000), "each half is a hash by itself");
        assert!(!numbers.contains(&key_of(&short, &[&7_i32], "").unwrap()));
        assert!(key_of(&long, &[], "").is_err() && key_of(&long, &[&7_i32], "").is_err());
    }
}
