//! Connections: deadpool's pool, with what it leaves to its users. A floor that is kept warm, an age at which connections end, a bound on who
//! waits, and no connection handed out that still works for somebody who left.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::{Duration, Instant};

use anyhow::Result;
use deadpool_postgres::{Connect, Hook, Manager, ManagerConfig, Object, PoolError, QueueMode, RecyclingMethod};
use tokio::task::{AbortHandle, JoinHandle};
use tokio_postgres::Config;

use crate::postgres::{self, Address, Connected, Route, connector};
use crate::store::StoreError;
use crate::store::config::PoolConfig;
use crate::store::metrics::Histogram;

/// A pool of connections to one address.
#[derive(Clone)]
pub struct Pool(Arc<Inner>);

struct Inner {
    pool: deadpool_postgres::Pool,
    address: Address,
    route: Route,
    /// What every transaction sets for itself behind a pooler, where sessions set nothing: `; SELECT set_config(…)`.
    settings: String,
    config: PoolConfig,
    waiting: AtomicUsize,
    /// Leases that are out.
    in_use: AtomicUsize,
    peak_in_use: AtomicUsize,
    refused: AtomicU64,
    drained: AtomicU64,
    discarded: AtomicU64,
    wait: Histogram,
    closed: AtomicBool,
    keeper: std::sync::OnceLock<AbortHandle>,
    /// Opened by the keeper, for the pool to take.
    ready: Ready,
}

type Ready = Arc<Mutex<Vec<Connected>>>;

/// What a pool is doing, and did since it was made.
#[derive(Clone, Debug, Default, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct PoolStatus {
    pub max: usize,
    pub open: usize,
    pub idle: usize,
    pub in_use: usize,
    pub peak_in_use: usize,
    pub waiting: usize,
    /// Callers that were refused because too many waited.
    pub refused: u64,
    /// Connections that were left busy and became free in time; and those that did not.
    pub drained: u64,
    pub discarded: u64,
    pub waits: u64,
    pub wait_ms_p50: Option<f64>,
    pub wait_ms_p99: Option<f64>,
    pub wait_ms_max: Option<f64>,
}

/// How old a connection may become differs from one to the next, so that they do not all end at once.
struct Opener {
    address: Address,
    connector: tokio_postgres_rustls::MakeRustlsConnect,
    ready: Ready,
}

impl Connect for Opener {
    fn connect(&self, _: &Config) -> Pin<Box<dyn Future<Output = Result<Connected, tokio_postgres::Error>> + Send + '_>> {
        if let Some(ready) = self.ready.lock().unwrap_or_else(PoisonError::into_inner).pop() {
            return Box::pin(std::future::ready(Ok(ready)));
        }
        Box::pin(postgres::open(&self.address, &self.connector))
    }
}

impl Pool {
    /// Makes the pool and its keeper. Connections are made when they are needed, and by the keeper up to the floor; a server that is down is no error here.
    pub fn new(address: &Address, route: Route, config: PoolConfig) -> Result<Self> {
        let mut address = address.clone();
        let mut settings = String::new();
        if route != Route::Direct {
            address = address.with_options_as_settings()?;
            let literal = |text: &str| format!("'{}'", text.replace('\'', "''"));
            // By the function, which reads a list as the start of a session does: SET would take it for one name.
            let set = |(name, value): &(String, String)| format!("set_config({}, {}, true)", literal(name), literal(value));
            if !address.session.is_empty() {
                settings = format!("; SELECT {}", address.session.iter().map(set).collect::<Vec<_>>().join(", "));
            }
        } else {
            // A pooler refuses such parameters; there, each transaction sets its own limit.
            let limit = config.statement_timeout.as_millis();
            let mut options = address.config.get_options().map(str::to_string).unwrap_or_default();
            options.push_str(&format!(" -c statement_timeout={limit} -c idle_in_transaction_session_timeout={limit}"));
            for (name, value) in &address.session {
                options.push_str(&format!(" -c {name}={}", value.replace('\\', "\\\\").replace(' ', "\\ ")));
            }
            address.config.options(options.trim_start());
        }
        let ready = Ready::default();
        let opener = Opener { connector: connector(&address)?, address: address.clone(), ready: ready.clone() };
        let manager = Manager::from_connect(address.config.clone(), opener, ManagerConfig { recycling_method: RecyclingMethod::Fast });
        let lifetime = config.max_lifetime;
        let pool = deadpool_postgres::Pool::builder(manager)
            .max_size(config.max)
            // The most recently used first: the others grow idle and end.
            .queue_mode(QueueMode::Lifo)
            .pre_recycle(Hook::sync_fn(move |client, metrics| {
                let jitter = Arc::as_ptr(&client.statement_cache).addr() as u64 / 64 % 100;
                match metrics.age() > lifetime.mul_f64(1.0 - jitter as f64 / 1000.0) {
                    true => Err(deadpool_postgres::HookError::message("it is old")),
                    false => Ok(()),
                }
            }))
            .build()?;
        let inner = Inner {
            pool,
            address,
            route,
            settings,
            config,
            waiting: AtomicUsize::new(0),
            in_use: AtomicUsize::new(0),
            peak_in_use: AtomicUsize::new(0),
            refused: AtomicU64::new(0),
            drained: AtomicU64::new(0),
            discarded: AtomicU64::new(0),
            wait: Histogram::default(),
            closed: AtomicBool::new(false),
            keeper: std::sync::OnceLock::new(),
            ready,
        };
        let pool = Pool(Arc::new(inner));
        let keeper = tokio::spawn(keep(Arc::downgrade(&pool.0)));
        let _ = pool.0.keeper.set(keeper.abort_handle());
        Ok(pool)
    }

    pub fn route(&self) -> Route {
        self.0.route
    }

    /// What ends a transaction that went well.
    pub(super) fn end_of_transaction(&self) -> &'static str {
        if self.0.config.read_only { "ROLLBACK" } else { "COMMIT" }
    }

    /// What a transaction's BEGIN is followed by.
    pub(super) fn settings(&self) -> &str {
        &self.0.settings
    }

    pub fn address(&self) -> &Address {
        &self.0.address
    }

    pub fn config(&self) -> &PoolConfig {
        &self.0.config
    }

    /// A connection that is free for use, at the latest at `deadline`.
    pub async fn acquire(&self, deadline: Instant) -> Result<Lease, StoreError> {
        let inner = &self.0;
        let began = Instant::now();
        let deadline = deadline.min(began + inner.config.acquire_timeout);
        let place = Place::take(inner)?;
        let mut get = std::pin::pin!(inner.pool.get());
        let got = match futures_util::poll!(&mut get) {
            Poll::Ready(got) => Ok(got),
            Poll::Pending => tokio::time::timeout_at(deadline.into(), get).await,
        };
        drop(place);
        let object = match got {
            Ok(Ok(object)) => object,
            Ok(Err(PoolError::Backend(error))) => {
                return Err(StoreError::Unreachable(postgres::describe(&error, &inner.address, inner.config.acquire_timeout)));
            }
            Ok(Err(error)) => return Err(StoreError::misuse(format!("the pool: {error}"))),
            Err(_) => return Err(StoreError::DeadlineExceeded { waiting_for: "a connection", after: began.elapsed() }),
        };
        inner.wait.record(began.elapsed());
        let in_use = inner.in_use.fetch_add(1, Ordering::Relaxed) + 1;
        inner.peak_in_use.fetch_max(in_use, Ordering::Relaxed);
        Ok(Lease { object: Some(object), pool: inner.clone(), idle: true })
    }

    pub fn status(&self) -> PoolStatus {
        let inner = &self.0;
        let status = inner.pool.status();
        let wait = inner.wait.summary();
        PoolStatus {
            max: status.max_size,
            open: status.size,
            idle: status.available,
            in_use: status.size.saturating_sub(status.available),
            peak_in_use: inner.peak_in_use.load(Ordering::Relaxed),
            waiting: inner.waiting.load(Ordering::Relaxed),
            refused: inner.refused.load(Ordering::Relaxed),
            drained: inner.drained.load(Ordering::Relaxed),
            discarded: inner.discarded.load(Ordering::Relaxed),
            waits: wait.count,
            wait_ms_p50: wait.p50_ms,
            wait_ms_p99: wait.p99_ms,
            wait_ms_max: wait.max_ms,
        }
    }

    /// Connections in use now: cheap enough to be asked many times a second.
    pub fn in_use(&self) -> usize {
        let status = self.0.pool.status();
        status.size.saturating_sub(status.available)
    }

    /// Waits and the peak are counted anew from here: a load test's warm-up is over.
    pub fn restart_peaks(&self) {
        let inner = &self.0;
        inner.peak_in_use.store(inner.in_use.load(Ordering::Relaxed), Ordering::Relaxed);
        inner.wait.clear();
    }

    /// Ends every connection; who waits is refused.
    pub fn close(&self) {
        self.0.closed.store(true, Ordering::Relaxed);
        self.0.pool.close();
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Some(keeper) = self.keeper.get() {
            keeper.abort();
        }
    }
}

/// A place among those who wait; given back however the wait ends.
struct Place<'a>(&'a AtomicUsize);

impl<'a> Place<'a> {
    fn take(inner: &'a Inner) -> Result<Self, StoreError> {
        let waiting = inner.waiting.fetch_add(1, Ordering::Relaxed);
        let place = Place(&inner.waiting);
        // Those who find a connection free pass through here too.
        if waiting >= inner.config.max_waiting && waiting >= inner.config.max_waiting + inner.pool.status().available {
            inner.refused.fetch_add(1, Ordering::Relaxed);
            return Err(StoreError::PoolExhausted { waiting });
        }
        Ok(place)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A connection in use. Marked busy while a query is under way; dropped in that state it is drained, or closed, before anybody else gets it.
pub struct Lease {
    object: Option<Object>,
    pool: Arc<Inner>,
    idle: bool,
}

impl Lease {
    pub(super) fn client(&self) -> &deadpool_postgres::ClientWrapper {
        self.object.as_ref().expect("a lease has its connection until it is dropped")
    }

    pub(super) fn busy(&mut self) {
        self.idle = false;
    }

    pub(super) fn idle(&mut self) {
        self.idle = true;
    }

    /// Closes the connection: its state is not known.
    pub(super) fn discard(mut self) {
        if let Some(object) = self.object.take() {
            self.pool.discarded.fetch_add(1, Ordering::Relaxed);
            drop(Object::take(object));
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.pool.in_use.fetch_sub(1, Ordering::Relaxed);
        let Some(object) = self.object.take() else { return };
        if self.idle || object.is_closed() {
            return;
        }
        let pool = self.pool.clone();
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn(drain(object, pool))),
            Err(_) => drop(Object::take(object)),
        }
    }
}

/// Waits until what runs there has ended, and ends what transaction is open. Meanwhile the connection still counts in the pool.
async fn drain(object: Object, pool: Arc<Inner>) {
    if pool.route == Route::Direct
        && let Err(_error) = postgres::cancel(&object, &pool.address).await
    {
        // It may end by itself; if not in time, the connection is closed.
    }
    match tokio::time::timeout(pool.config.drain_timeout, object.batch_execute("ROLLBACK")).await {
        Ok(Ok(())) => {
            pool.drained.fetch_add(1, Ordering::Relaxed);
        }
        _ => {
            pool.discarded.fetch_add(1, Ordering::Relaxed);
            drop(Object::take(object));
        }
    }
}

/// Keeps the floor warm and lets the others end: once a second, as long as there is a pool.
async fn keep(pool: std::sync::Weak<Inner>) {
    loop {
        {
            let Some(inner) = pool.upgrade() else { return };
            if inner.closed.load(Ordering::Relaxed) {
                return;
            }
            let status = inner.pool.status();
            let mut spare = status.size.saturating_sub(inner.config.min);
            inner.pool.retain(|client, metrics| {
                let old = client.is_closed() || metrics.age() > inner.config.max_lifetime;
                let unused = spare > 0 && metrics.last_used() > inner.config.idle_timeout;
                spare -= usize::from(unused && !old);
                !(old || unused)
            });
            let missing = inner.config.min.min(inner.config.max).saturating_sub(inner.pool.status().size);
            if missing > 0 {
                warm(&inner, missing).await;
            }
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// Opens so many connections, beside the pool: whoever wants an idle one meanwhile has it. Then the pool takes them, at once.
async fn warm(inner: &Inner, missing: usize) {
    let Ok(connector) = connector(&inner.address) else { return };
    let limit = Duration::from_secs(5);
    let openings = (0..missing).map(|_| tokio::time::timeout(limit, postgres::open(&inner.address, &connector)));
    // A server that is down is met by the next caller, with its reason.
    let opened: Vec<Connected> = futures_util::future::join_all(openings).await.into_iter().flatten().flatten().collect();
    let count = opened.len();
    inner.ready.lock().unwrap_or_else(PoisonError::into_inner).extend(opened);
    // The idle ones are held for that moment, else the pool would give them again.
    let taken = (0..inner.pool.status().available + count).map(|_| tokio::time::timeout(Duration::from_millis(100), inner.pool.get()));
    drop(futures_util::future::join_all(taken).await);
    inner.ready.lock().unwrap_or_else(PoisonError::into_inner).clear();
}

/// What a spawned task is ended with.
pub(super) struct TaskGuard(pub JoinHandle<()>);

impl Drop for TaskGuard {
    fn drop(&mut self) {
        self.0.abort();
    }
}
