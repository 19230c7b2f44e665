//! One load for many askers: in the process by a map of loads under way, between processes by a lease in Redis.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::watch;

use crate::store::config::StoreConfig;
use crate::store::declared::{Declaration, Tag};
use crate::store::entry::{Entry, Packed, lifetimes, wall_ms};
use crate::store::fetch::{Fetched, Source};
use crate::store::metrics::Miss;
use crate::store::params::Params;
use crate::store::redis_link::{HeldLease, LEASE_MS, Lease, Link, Look, Token, Unavailable};
use crate::store::retry::Limits;
use crate::store::rows::Rows;
use crate::store::timed::{Answer, Failed, Flight};
use crate::store::validity::{Stamp, YOUNG_MS, now_ms};
use crate::store::{Inner, StoreError, chance};

/// One question, with what was known before it was asked.
#[derive(Clone)]
pub(super) struct Ask {
    pub declared: Arc<Declaration>,
    pub params: Params,
    pub key: u128,
    pub tags: Vec<Tag>,
    pub stamp: Stamp,
    pub ttl: Option<Duration>,
    pub retries: u32,
    /// What Redis has said already.
    pub looked: Option<Result<Look, Unavailable>>,
    /// Where a caller wants to know it: what each step took.
    pub spans: Option<Spans>,
}

/// Layers in the order in which they were asked, and what each took.
pub(super) type Spans = Arc<Mutex<Vec<(&'static str, Duration)>>>;

impl Ask {
    fn span(&self, layer: &'static str, began: Instant) {
        if let Some(spans) = &self.spans {
            spans.lock().unwrap_or_else(PoisonError::into_inner).push((layer, began.elapsed()));
        }
    }
}

/// What a load brought.
#[derive(Clone)]
pub(super) struct Loaded {
    pub entry: Arc<Entry>,
    pub source: Source,
}

type Outcome = Result<Loaded, StoreError>;

/// Loads under way, by key.
#[derive(Default)]
pub(super) struct Loads(Mutex<UnderWay>);

#[derive(Default)]
struct UnderWay {
    by_key: HashMap<u128, Arc<Load>>,
    /// Askers that look into Redis by themselves.
    looking: usize,
}

/// So many may look into Redis by themselves, which is quicker than a task of its own; beyond that, who wants the same shares one look.
const LOOKING: usize = 8;

/// A place among those.
struct Looking<'a>(&'a Loads);

impl Loads {
    /// None: there is a load of this key to join, or enough look already.
    fn look(&self, key: u128) -> Option<Looking<'_>> {
        let mut under_way = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if under_way.looking >= LOOKING || under_way.by_key.contains_key(&key) {
            return None;
        }
        under_way.looking += 1;
        Some(Looking(self))
    }
}

impl Drop for Looking<'_> {
    fn drop(&mut self) {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner).looking -= 1;
    }
}

pub(super) struct Load {
    stamp: Stamp,
    outcome: watch::Receiver<Option<Outcome>>,
}

/// How long after its statement's limit a load may still be waited for.
const MARGIN: Duration = Duration::from_secs(5);

impl Inner {
    /// What Redis has, if it may be used; else what it said is noted.
    pub(super) async fn take(&self, ask: &mut Ask, has_stale: bool, deadline: Instant) -> Option<Fetched> {
        let looked = Instant::now();
        // Who has less time than Redis may take waits for a load, which goes on without him.
        let link = self.link.as_deref().filter(|link| !has_stale && looked + link.deadline < deadline)?;
        let _place = self.loads.look(ask.key)?;
        // Whether somebody loads it is seen by who then wants to.
        let look = link.look(ask.key, &ask.tags, false).await;
        ask.span("l2", looked);
        match look.map(|look| (self.judge(link, ask.key, &look), look)) {
            Ok((Ok(packed), _)) => return Some(Fetched::new(self.take_from_redis(ask, packed, looked), Source::L2)),
            Ok((_, look)) => ask.looked = Some(Ok(look)),
            Err(unavailable) => ask.looked = Some(Err(unavailable)),
        }
        None
    }

    /// The answer of a load that is under way, if it is new enough; else of one begun now. A stale answer is given when that fails or takes long.
    pub(super) async fn join(self: &Arc<Self>, ask: Ask, stale: Option<Arc<Entry>>, deadline: Instant) -> Result<Fetched, StoreError> {
        let declared = ask.declared.clone();
        // Who has little time left is given the stale answer before it is over.
        let left = deadline.saturating_duration_since(Instant::now());
        let patience = declared.query.patience.min(left.mul_f64(0.8));
        let (load, joined) = self.start(ask, false);
        let mut outcome = load.outcome.clone();
        let mut end = std::pin::pin!(ended(&mut outcome));
        let outcome = match &stale {
            None => end.await,
            Some(entry) => match tokio::time::timeout(patience, &mut end).await {
                Ok(outcome) => outcome,
                Err(_) => match self.stale(entry.clone()) {
                    Some(loaded) => return Ok(Fetched::new(loaded.entry, loaded.source)),
                    None => end.await,
                },
            },
        };
        match outcome {
            Ok(loaded) => {
                let source = match loaded.source {
                    Source::Database if joined => {
                        declared.metrics.coalesced.fetch_add(1, Ordering::Relaxed);
                        Source::Coalesced
                    }
                    source => source,
                };
                Ok(Fetched::new(loaded.entry, source))
            }
            Err(error) => match stale.filter(|_| error.is_outage()).and_then(|entry| self.stale(entry)) {
                Some(loaded) => Ok(Fetched::new(loaded.entry, loaded.source)),
                None => Err(error),
            },
        }
    }

    /// Begins a load, in a task of its own: it goes on when its first asker leaves. True: one was under way. `ahead`: to refresh what is still good.
    pub(super) fn start(self: &Arc<Self>, ask: Ask, ahead: bool) -> (Arc<Load>, bool) {
        let mut loads = self.loads.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(load) = loads.by_key.get(&ask.key) {
            // None joins a load that is older than an invalidation, or than the promise.
            let is_running = load.outcome.has_changed().is_ok() && load.outcome.borrow().is_none();
            let is_good = self.validity.objection(&load.stamp, now_ms()).is_none() && !self.validity.is_globbed(&load.stamp);
            if is_running && is_good {
                return (load.clone(), true);
            }
        }
        let (sender, outcome) = watch::channel(None);
        let load = Arc::new(Load { stamp: ask.stamp, outcome });
        loads.by_key.insert(ask.key, load.clone());
        drop(loads);
        let (inner, mine) = (self.clone(), load.clone());
        tokio::spawn(async move {
            let outcome = inner.clone().carry(&ask, ahead).await;
            let mut loads = inner.loads.0.lock().unwrap_or_else(PoisonError::into_inner);
            if loads.by_key.get(&ask.key).is_some_and(|load| Arc::ptr_eq(load, &mine)) {
                loads.by_key.remove(&ask.key);
            }
            drop(loads);
            // Who asked may be gone.
            let _ = sender.send(Some(outcome));
        });
        (load, false)
    }

    /// Redis, then the database; what comes is kept in both, if nothing changed meanwhile.
    async fn carry(self: Arc<Self>, ask: &Ask, ahead: bool) -> Outcome {
        let deadline = Instant::now() + ask.declared.query.timeout.min(self.config.query_timeout) + MARGIN;
        let Some(link) = self.link.as_ref() else {
            let (entry, _) = self.load_entry(ask, deadline, Life::Full).await?;
            self.l1.insert(ask.key, &entry, &self.validity);
            return Ok(Loaded { entry, source: Source::Database });
        };
        let who = chance::token();
        let mut pause = Duration::from_millis(2);
        let mut counted = ahead;
        let mut looked_before = ask.looked.clone();
        let (leased, tokens) = loop {
            let looked = Instant::now();
            let look = match looked_before.take() {
                Some(look) => look,
                None => {
                    let look = link.look(ask.key, &ask.tags, true).await;
                    ask.span("l2", looked);
                    look
                }
            };
            let Ok(look) = look else {
                if !counted {
                    ask.declared.metrics.l2.miss(Miss::Unavailable);
                }
                break (false, None);
            };
            match self.judge(link, ask.key, &look) {
                // Who refreshes ahead looks for what another has brought since.
                Ok(packed) if !ahead || packed.is_young() => {
                    if counted {
                        let entry = Arc::new(self.unpacked(ask, packed));
                        self.l1.insert(ask.key, &entry, &self.validity);
                        return Ok(Loaded { entry, source: Source::L2 });
                    }
                    return Ok(Loaded { entry: self.take_from_redis(ask, packed, looked), source: Source::L2 });
                }
                Ok(_) => {}
                Err(cause) => {
                    if !counted {
                        ask.declared.metrics.l2.miss(cause);
                    }
                }
            }
            counted = true;
            // Others load it: their answer comes here sooner than one of our own. Not past an invalidation, which their load may not know.
            if Instant::now() >= deadline {
                let waited = ask.declared.query.timeout.min(self.config.query_timeout) + MARGIN;
                return Err(StoreError::DeadlineExceeded { waiting_for: "another instance's load", after: waited });
            }
            if look.is_leased && !self.validity.is_outdated(&ask.stamp) {
                tokio::time::sleep(pause).await;
                ask.span("lease", looked);
                pause = (pause * 2).min(Duration::from_millis(25));
                continue;
            }
            match self.lease(link, ask, who, look.value.as_ref()).await {
                Ok(Lease::Mine(tokens)) => break (true, known(&tokens)),
                Ok(Lease::Others(tokens)) if self.validity.is_outdated(&ask.stamp) => break (false, known(&tokens)),
                Ok(Lease::LookAgain) => {}
                Ok(Lease::Others(_)) => tokio::time::sleep(pause).await,
                Err(_) => {
                    break (false, None);
                }
            }
        };
        let epoch = link.epoch();
        // Without tokens nobody knows whether somebody is writing: what is loaded then is used while it is young.
        let life = if tokens.is_some() { Life::Full } else { Life::Young };
        let loading = self.load_entry(ask, deadline, life);
        let loaded = if leased { renewing(link, ask.key, loading).await } else { loading.await };
        let (entry, packed) = match loaded {
            Ok(loaded) => loaded,
            Err(error) => {
                if leased {
                    let _ = link.keep(ask.key, b"", 1, who, &[], &[]).await;
                }
                return self.stale_from_redis(ask, link, error).await;
            }
        };
        let mut is_current = true;
        match tokens {
            Some(tokens) if self.must_not_keep(ask, link, epoch) => {
                is_current = false;
                let _ = link.keep(ask.key, b"", 1, who, &[], &[]).await;
                drop(tokens);
            }
            Some(tokens) if self.fits(&packed.rows) => {
                let life = packed.useful_until.saturating_sub(wall_ms());
                let value = Packed { epoch, tokens: tokens.clone(), ..packed }.pack(ask.key);
                // Not kept for want of Redis is no harm; not kept because a token changed is news.
                is_current = self.keep(ask, link, &value, life, who, &tokens).await != Ok(false);
            }
            _ if leased => drop(link.keep(ask.key, b"", 1, who, &[], &[]).await),
            _ => {}
        }
        if is_current && self.fits(&entry.rows) {
            self.l1.insert(ask.key, &entry, &self.validity);
        } else {
            ask.declared.metrics.not_stored.fetch_add(1, Ordering::Relaxed);
        }
        Ok(Loaded { entry, source: Source::Database })
    }

    /// A hit of Redis, counted, and kept in memory too.
    fn take_from_redis(&self, ask: &Ask, packed: Packed, looked: Instant) -> Arc<Entry> {
        ask.declared.metrics.l2.hits.count();
        ask.declared.metrics.l2.latency.record(looked.elapsed());
        let entry = Arc::new(self.unpacked(ask, packed));
        self.l1.insert(ask.key, &entry, &self.validity);
        entry
    }

    /// The right to load. Where Redis did not answer in time it may have been given all the same, and nobody else would load until it ends by itself.
    async fn lease(&self, link: &Arc<Link>, ask: &Ask, who: u64, seen: Option<&Bytes>) -> Result<Lease, Unavailable> {
        let lease = link.lease(ask.key, &ask.tags, who, seen).await;
        if lease.as_ref().is_err_and(|unavailable| *unavailable == Unavailable::Unheard) {
            link.give_back(ask.key, who);
        }
        lease
    }

    fn must_not_keep(&self, ask: &Ask, link: &Link, epoch: u64) -> bool {
        #[cfg(debug_assertions)]
        if self.config.sabotage == crate::store::Sabotage::NoFence {
            return false;
        }
        link.epoch() != epoch || self.validity.is_outdated(&ask.stamp) || self.validity.is_globbed(&ask.stamp)
    }

    async fn keep(&self, ask: &Ask, link: &Link, value: &[u8], life: u64, who: u64, tokens: &[u64]) -> Result<bool, Unavailable> {
        #[cfg(debug_assertions)]
        if self.config.sabotage == crate::store::Sabotage::NoFence {
            return link.keep_unfenced(ask.key, value, life, &ask.tags).await;
        }
        link.keep(ask.key, value, life, who, &ask.tags, tokens).await
    }

    fn fits(&self, rows: &Rows) -> bool {
        rows.as_bytes().len() <= self.config.max_entry_bytes
    }

    /// What Redis has, if it may be used; else why not.
    fn judge(&self, link: &Link, key: u128, look: &Look) -> Result<Packed, Miss> {
        let value = look.value.clone().ok_or(Miss::Cold)?;
        let packed = Packed::unpack(key, value, self.config.max_answer_bytes).ok_or(Miss::Damaged)?;
        if packed.epoch != link.epoch() || known(&look.tokens).as_ref() != Some(&packed.tokens) {
            return Err(Miss::Invalidated);
        }
        if packed.fresh_until <= wall_ms() {
            return Err(Miss::Expired);
        }
        // Back from an outage, Redis has not heard what was written meanwhile until somebody has told it.
        (self.validity.is_replayed(now_ms()) && self.outbox.is_told()).then_some(packed).ok_or(Miss::Unproven)
    }

    /// A stale answer from Redis in place of this error, where one is allowed.
    async fn stale_from_redis(&self, ask: &Ask, link: &Link, error: StoreError) -> Outcome {
        if !error.is_outage() || ask.declared.query.grace.is_zero() {
            return Err(error);
        }
        let Ok(look) = link.look(ask.key, &ask.tags, false).await else { return Err(error) };
        let packed = look.value.clone().and_then(|value| Packed::unpack(ask.key, value, self.config.max_answer_bytes));
        match packed {
            Some(packed)
                if self.outbox.is_told() && packed.epoch == link.epoch() && known(&look.tokens).as_ref() == Some(&packed.tokens) =>
            {
                self.stale(Arc::new(self.unpacked(ask, packed))).ok_or(error)
            }
            _ => Err(error),
        }
    }

    /// A read that is `required`: every use is checked in Redis, nobody joins an older load, and memory keeps nothing.
    pub(super) async fn checked(self: Arc<Self>, ask: &Ask, deadline: Instant) -> Result<Fetched, StoreError> {
        let Some(link) = self.link.as_ref() else { return self.uncached(ask, deadline).await };
        let looked = Instant::now();
        let look = link.look(ask.key, &ask.tags, false).await;
        ask.span("l2", looked);
        let Ok(look) = look else {
            ask.declared.metrics.l2.miss(Miss::Unavailable);
            return self.uncached(ask, deadline).await;
        };
        match self.judge(link, ask.key, &look) {
            Ok(packed) => {
                ask.declared.metrics.l2.hits.count();
                ask.declared.metrics.l2.latency.record(looked.elapsed());
                return Ok(Fetched::new(Arc::new(self.unpacked(ask, packed)), Source::L2));
            }
            Err(cause) => ask.declared.metrics.l2.miss(cause),
        }
        let who = chance::token();
        let mut held = None;
        let tokens = match self.lease(link, ask, who, look.value.as_ref()).await {
            Ok(Lease::Mine(tokens)) => {
                held = Some(HeldLease::new(link, ask.key, who));
                known(&tokens)
            }
            Ok(Lease::Others(tokens)) => known(&tokens),
            Ok(Lease::LookAgain) | Err(_) => None,
        };
        let epoch = link.epoch();
        let (entry, packed) = self.load_entry(ask, deadline, Life::Full).await?;
        if let Some(tokens) = tokens.filter(|_| self.fits(&packed.rows) && !self.must_not_keep(ask, link, epoch)) {
            let life = packed.useful_until.saturating_sub(wall_ms());
            let value = Packed { epoch, tokens: tokens.clone(), ..packed }.pack(ask.key);
            if self.keep(ask, link, &value, life, who, &tokens).await.is_ok()
                && let Some(held) = held
            {
                held.end();
            }
        }
        Ok(Fetched::new(entry, Source::Database))
    }

    /// The database, and nothing else.
    pub(super) async fn uncached(&self, ask: &Ask, deadline: Instant) -> Result<Fetched, StoreError> {
        let as_of = now_ms();
        let rows = self.load(ask, deadline).await?.rows;
        Ok(Fetched::new(Arc::new(Entry::unkept(rows, ask.stamp, as_of)), Source::Database))
    }

    /// Asks the database; the answer as memory keeps it, and as Redis does (without its epoch and tokens).
    async fn load_entry(&self, ask: &Ask, deadline: Instant, life: Life) -> Result<(Arc<Entry>, Packed), StoreError> {
        let (as_of, wall, began) = (now_ms(), wall_ms(), Instant::now());
        let rows = self.load(ask, deadline).await?.rows;
        let took = began.elapsed();
        let (fresh, useful) = lifetimes(&self.config, &ask.declared, ask.ttl, rows.is_empty());
        let packed = Packed {
            epoch: 0,
            tokens: Vec::new(),
            as_of: wall,
            fresh_until: wall_ms() + fresh,
            useful_until: wall_ms() + useful,
            load_micros: u32::try_from(took.as_micros()).unwrap_or(u32::MAX),
            rows: rows.clone(),
        };
        let remaining = match life {
            Life::Full => (fresh, useful),
            Life::Young => {
                let young = (ask.stamp.at + YOUNG_MS).saturating_sub(now_ms());
                (fresh.min(young), useful.min(young))
            }
        };
        Ok((Arc::new(Entry::new(rows, ask.stamp, &ask.tags, as_of, took, remaining)), packed))
    }

    /// What Redis had, as memory keeps it.
    fn unpacked(&self, ask: &Ask, packed: Packed) -> Entry {
        let (wall, now) = (wall_ms(), now_ms());
        let remaining = (packed.fresh_until.saturating_sub(wall), packed.useful_until.saturating_sub(wall));
        // No longer than it was declared for, whatever another machine's clock says.
        let most = u64::try_from(ask.ttl.unwrap_or(ask.declared.query.ttl).as_millis()).unwrap_or(u64::MAX / 4);
        let grace = u64::try_from(ask.declared.query.grace.as_millis()).unwrap_or(u64::MAX / 4);
        let remaining = (remaining.0.min(most), remaining.1.min(most.saturating_add(grace)));
        let as_of = now.saturating_sub(wall.saturating_sub(packed.as_of));
        let stamp = self.validity.stamp_of_shared(ask.stamp);
        let entry = Entry::new(packed.rows, stamp, &ask.tags, as_of, Duration::from_micros(packed.load_micros.into()), remaining);
        if packed.fresh_until < wall { entry.ended(now.saturating_sub(wall - packed.fresh_until)) } else { entry }
    }

    pub(super) fn limits(&self, began: Instant, deadline: Instant, retries: u32) -> Limits {
        Limits { retries, deadline, away_until: began + self.config.pool.reconnect_timeout }
    }

    /// Runs the statement, again where that is safe.
    async fn load(&self, ask: &Ask, deadline: Instant) -> Result<Answer, StoreError> {
        let declared = &*ask.declared;
        let flight = Flight { pool: &self.pool, declared, params: &ask.params, deadline, limit: self.config.max_answer_bytes, also: None };
        let mut began = Instant::now();
        let limits = self.limits(began, deadline, ask.retries);
        let mut attempt = 0;
        loop {
            let lease = self.pool.acquire(deadline).await;
            ask.span("pool", began);
            let sent = ask.spans.as_ref().map(|_| Instant::now());
            let outcome = match lease {
                Ok(lease) => flight.run_on(lease).await,
                Err(error) => Err(Failed::NotDone(error)),
            };
            if let Some(sent) = sent {
                ask.span("database", sent);
            }
            let failed = match outcome {
                Ok(answer) => {
                    declared.metrics.database.record(began.elapsed());
                    self.budget.succeeded();
                    return Ok(answer);
                }
                Err(failed) => failed,
            };
            attempt += 1;
            let Some(pause) = self.budget.pause(&declared.query, &failed, attempt, &limits) else {
                declared.metrics.errors.fetch_add(1, Ordering::Relaxed);
                return Err(match failed {
                    Failed::NotDone(error) => error,
                    Failed::Unknown(why) => StoreError::OutcomeUnknown(why),
                });
            };
            declared.metrics.retries.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(pause).await;
            began = Instant::now();
        }
    }
}

async fn ended(outcome: &mut watch::Receiver<Option<Outcome>>) -> Outcome {
    match outcome.wait_for(Option::is_some).await.as_deref() {
        Ok(Some(outcome)) => outcome.clone(),
        _ => Err(StoreError::misuse("a load was given up")),
    }
}

/// How long memory may use what is loaded.
#[derive(Clone, Copy)]
enum Life {
    Full,
    /// Only while its age alone keeps the promise.
    Young,
}

/// Every token, when every tag has one and nobody is writing.
fn known(tokens: &[Token]) -> Option<Vec<u64>> {
    tokens.iter().map(|token| if let Token::Is(token) = token { Some(*token) } else { None }).collect()
}

/// Keeps the lease alive while the load runs.
async fn renewing<T>(link: &Link, key: u128, loading: impl Future<Output = T>) -> T {
    let mut loading = std::pin::pin!(loading);
    let every = Duration::from_millis(LEASE_MS / 2);
    // A tick that is due at once comes with tokio's next millisecond or the one after it: no load waits for that.
    let mut due = tokio::time::interval_at(tokio::time::Instant::now() + every, every);
    loop {
        tokio::select! {
            biased;
            loaded = &mut loading => return loaded,
            _ = due.tick() => link.renew(key).await,
        }
    }
}

/// So that a store without a limit is told apart from a mistake.
pub(super) fn check(config: &StoreConfig) -> Result<(), StoreError> {
    match config.pool.max {
        0 => Err(StoreError::misuse("the pool's largest size is 0")),
        _ => Ok(()),
    }
}
