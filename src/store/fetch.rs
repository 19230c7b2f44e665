//! Reading: memory, Redis, one load for all who ask, and stale rows where they are allowed.

use std::cell::{Cell, RefCell};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use bytes::BytesMut;
use tokio_postgres::types::ToSql;
use xxhash_rust::xxh3::xxh3_128;

use crate::model::QueryKind;
use crate::store::declared::Declaration;
use crate::store::entry::Entry;
use crate::store::load::{Ask, Loaded, Spans};
use crate::store::metrics::Miss;
use crate::store::rows::Rows;
use crate::store::validity::now_ms;
use crate::store::{Declared, Inner, Store, StoreError};

/// What one call may say about itself.
#[derive(Clone, Copy, Debug, Default)]
pub struct Call<'a> {
    /// Instead of the declared one.
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
    entry: Arc<Entry>,
    pub source: Source,
    /// A span a layer, in the order in which they were asked: `l1`, `l2`, `lease` (another instance loads it), `pool`, `database`; `wait` for a load that
    /// somebody else had begun. Empty unless the call asked for it.
    pub trace: Vec<(&'static str, Duration)>,
}

impl Fetched {
    pub(super) fn new(entry: Arc<Entry>, source: Source) -> Self {
        Fetched { entry, source, trace: Vec::new() }
    }

    pub fn rows(&self) -> &Rows {
        &self.entry.rows
    }

    /// The rows are at least as new as this.
    pub fn as_of(&self) -> SystemTime {
        SystemTime::now() - self.age()
    }

    pub fn age(&self) -> Duration {
        Duration::from_millis(now_ms().saturating_sub(self.entry.as_of))
    }
}

impl std::fmt::Debug for Fetched {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Fetched({:?}, {:?})", self.source, self.entry.rows)
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
    pub async fn fetch(&self, query: &Declared, params: &[&(dyn ToSql + Sync)]) -> Result<Fetched, StoreError> {
        self.fetch_with(query, params, &Call::default()).await
    }

    /// The same, with what this call says about itself.
    pub async fn fetch_with(&self, query: &Declared, params: &[&(dyn ToSql + Sync)], call: &Call<'_>) -> Result<Fetched, StoreError> {
        let declared = &query.0;
        let mut stale = None;
        let mut key = 0;
        if declared.kept && !call.fresh {
            let is_sample = TICK.with(|tick| {
                tick.set(tick.get().wrapping_add(1));
                tick.get().is_multiple_of(SAMPLE)
            });
            let began = (is_sample || call.trace).then(Instant::now);
            key = key_of(declared, params, call.scope)?;
            if !declared.query.required {
                let now = now_ms();
                match self.0.look_in_memory(declared, key, now) {
                    Memory::Hit(entry) => {
                        declared.metrics.l1.hits.count();
                        let mut fetched = Fetched::new(entry, Source::L1);
                        if let Some(began) = began {
                            declared.metrics.l1.latency.record(began.elapsed());
                            if is_sample {
                                self.0.calls.latency.record_for(began.elapsed(), u64::from(SAMPLE));
                            }
                            if call.trace {
                                fetched.trace.push(("l1", began.elapsed()));
                            }
                        }
                        if fetched.entry.begin_refresh(now) {
                            self.refresh(query, params, call, key);
                        }
                        return Ok(fetched);
                    }
                    Memory::Miss(cause, kept) => {
                        declared.metrics.l1.miss(cause);
                        stale = kept;
                    }
                }
            }
        }
        // In a box: the way of a hit stays small.
        Box::pin(async {
            let began = Instant::now();
            let outcome = self.miss(query, params, call, key, stale).await;
            self.0.calls.record(began, &outcome);
            outcome
        })
        .await
    }

    async fn miss(
        &self,
        query: &Declared,
        params: &[&(dyn ToSql + Sync)],
        call: &Call<'_>,
        key: u128,
        stale: Option<Arc<Entry>>,
    ) -> Result<Fetched, StoreError> {
        let began = Instant::now();
        let mut ask = self.ask(query, params, call, key)?;
        ask.spans = call.trace.then(Spans::default);
        let spans = ask.spans.clone();
        let deadline = call.deadline.unwrap_or(began + self.0.config.query_timeout);
        let kept = query.0.kept && !call.fresh;
        let end = tokio::time::timeout_at(deadline.into(), async {
            match (kept, query.0.query.required) {
                (true, false) => self.0.join(ask, stale).await,
                (true, true) => self.0.clone().checked(&ask, deadline).await,
                (false, _) => self.0.uncached(&ask, deadline).await,
            }
        });
        let mut fetched = end.await.unwrap_or(Err(StoreError::DeadlineExceeded { waiting_for: "the answer", after: began.elapsed() }))?;
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
        if query.0.query.kind == QueryKind::Write {
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

/// What memory says.
pub(super) enum Memory {
    Hit(Arc<Entry>),
    /// Why not; and what there was, when it may yet do as a stale answer.
    Miss(Miss, Option<Arc<Entry>>),
}

impl Inner {
    #[inline]
    pub(super) fn look_in_memory(&self, declared: &Declaration, key: u128, now: u64) -> Memory {
        let Some(entry) = self.l1.get(key) else { return Memory::Miss(self.l1.absence(key), None) };
        let objection = self.validity.objection(&entry.stamp, now);
        if objection.is_none() && now < entry.fresh_until {
            return Memory::Hit(entry);
        }
        // What is old stays until a load takes its place: who asks meanwhile is told the same cause.
        let useful = now < entry.useful_until && !declared.query.grace.is_zero() && self.validity.allows_stale(&entry.stamp);
        Memory::Miss(objection.unwrap_or(Miss::Expired), useful.then_some(entry))
    }

    /// A stale answer, if it may be given now.
    pub(super) fn stale(&self, entry: Arc<Entry>) -> Option<Loaded> {
        let now = now_ms();
        let since = Duration::from_millis(now.saturating_sub(entry.fresh_until));
        (now < entry.useful_until && self.validity.allows_stale(&entry.stamp)).then_some(Loaded { entry, source: Source::Stale { since } })
    }
}

/// The key of one call: over everything that can change the answer. Nothing is allocated.
#[inline]
pub(super) fn key_of(declared: &Declaration, params: &[&(dyn ToSql + Sync)], scope: &str) -> Result<u128, StoreError> {
    BUFFER.with_borrow_mut(|buffer| {
        buffer.clear();
        buffer.extend_from_slice(&declared.fingerprint);
        buffer.extend_from_slice(&(scope.len() as u64).to_le_bytes());
        buffer.extend_from_slice(scope.as_bytes());
        declared.encode(params, buffer)?;
        Ok(xxh3_128(buffer))
    })
}
