//! The store's settings. The defaults are the strategy's numbers.

use std::fmt;
use std::time::Duration;

use crate::postgres::{Address, Route};

/// What a store is opened with. `Debug` shows no secret.
#[derive(Clone)]
pub struct StoreConfig {
    /// PostgreSQL, or the pooler in front of it. A role that it sets for its sessions needs INSERT on `candlefish.cache_outbox` to write with tags.
    pub address: Address,
    /// What stands in between; None asks the server.
    pub route: Option<Route>,
    /// Which layers answer.
    pub layers: Layers,
    pub pool: PoolConfig,
    /// `redis://…`; None: no shared cache.
    pub redis: Option<String>,
    /// The start of every key in Redis. Stores that share a Redis and not a database must not share it.
    pub namespace: String,
    /// Changes with the shape of the tables: entries of another epoch are not used.
    pub schema_epoch: u64,
    /// Bytes of the memory cache, as the process pays them; 0 turns it off.
    pub l1_bytes: u64,
    /// The longest that anything waits for Redis.
    pub l2_deadline: Duration,
    /// Larger answers, in bytes, are not kept.
    pub max_entry_bytes: usize,
    /// Larger answers, in bytes, are refused.
    pub max_answer_bytes: usize,
    /// The share of a time to live that is left to chance, so that entries made together do not end together.
    pub jitter: f64,
    /// The longest that a call takes, when its caller gives no deadline.
    pub query_timeout: Duration,
    /// How often the instance describes itself in Redis; what it leaves lives five times as long.
    pub status_interval: Duration,
    /// Where and as whom it does so; None: in its own namespace, under a name of its own.
    pub announce: Option<Announce>,
    /// Tries of what is safe to try again, beyond the first.
    pub retries: u32,
    /// Ways to be wrong, for the proof that the checker sees them. Only debug builds have them.
    #[cfg(debug_assertions)]
    #[doc(hidden)]
    pub sabotage: Sabotage,
}

/// How an instance is seen that is no part of an application, such as a load test's: its keys are its own, and who watches the application sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announce {
    /// The namespace that is watched.
    pub namespace: String,
    /// What its name begins with; what it leaves in the outbox says so too.
    pub name: String,
}

/// Which layers answer, of those that a store has. Writes tell all of them, whatever is said here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Layers {
    /// The pool alone: every call asks the database.
    Pooled,
    /// Redis, then the database; memory keeps nothing.
    L2,
    /// Memory, Redis (when there is one), then the database.
    #[default]
    Cached,
}

/// What a debug build can be told to leave out.
#[cfg(debug_assertions)]
#[doc(hidden)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sabotage {
    #[default]
    None,
    /// A load is stored whatever was invalidated meanwhile.
    NoFence,
    /// Writes tell nobody.
    NoInvalidation,
}

#[derive(Clone, Debug)]
pub struct PoolConfig {
    /// The most connections.
    pub max: usize,
    /// Kept open while idle.
    pub min: usize,
    /// A connection above `min` that was idle so long is closed.
    pub idle_timeout: Duration,
    /// A connection ends at this age; up to a tenth earlier, by chance.
    pub max_lifetime: Duration,
    /// The longest wait for a connection; the caller's deadline may be shorter.
    pub acquire_timeout: Duration,
    /// How many callers may wait; the next is refused at once.
    pub max_waiting: usize,
    /// The longest that any statement may run.
    pub statement_timeout: Duration,
    /// How long a call waits for a server that is away, a restart or a failover, before it fails; its deadline may be shorter.
    pub reconnect_timeout: Duration,
    /// How long a connection that a caller left busy may take to become free again; else it is closed.
    pub drain_timeout: Duration,
    /// Every statement stands in a transaction that PostgreSQL holds to reading, and that is rolled back: whatever it hides, nothing of it remains.
    pub read_only: bool,
}

impl StoreConfig {
    pub fn new(address: Address) -> Self {
        StoreConfig {
            address,
            route: None,
            layers: Layers::default(),
            pool: PoolConfig::default(),
            redis: None,
            namespace: "candlefish".to_string(),
            schema_epoch: 0,
            l1_bytes: 100 << 20,
            l2_deadline: Duration::from_millis(15),
            max_entry_bytes: 1 << 20,
            max_answer_bytes: 64 << 20,
            jitter: 0.1,
            query_timeout: Duration::from_secs(60),
            status_interval: Duration::from_secs(5),
            announce: None,
            retries: 3,
            #[cfg(debug_assertions)]
            sabotage: Sabotage::None,
        }
    }

    /// Where the store itself connects, for its outbox: as the user who logs in, without the settings of the application's sessions, which
    /// through a pooler would reach the next client.
    pub(super) fn own_address(&self) -> Address {
        let mut address = self.address.without_options();
        address.session.clear();
        address
    }

    /// With the shared cache at this URL.
    pub fn redis(mut self, url: impl Into<String>) -> Self {
        self.redis = Some(url.into());
        self
    }

    /// With these layers alone.
    pub fn layers(mut self, layers: Layers) -> Self {
        self.layers = layers;
        self
    }
}

impl Default for PoolConfig {
    fn default() -> Self {
        PoolConfig {
            max: 20,
            min: 5,
            idle_timeout: Duration::from_secs(30),
            max_lifetime: Duration::from_secs(30 * 60),
            acquire_timeout: Duration::from_secs(60),
            max_waiting: 1000,
            statement_timeout: Duration::from_secs(30),
            reconnect_timeout: Duration::from_secs(5),
            drain_timeout: Duration::from_millis(250),
            read_only: false,
        }
    }
}

impl fmt::Debug for StoreConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreConfig")
            .field("address", &self.address.shown())
            .field("redis", &self.redis.as_ref().map(|_| "***"))
            .field("namespace", &self.namespace)
            .field("layers", &self.layers)
            .field("pool", &self.pool)
            .field("l1_bytes", &self.l1_bytes)
            .finish_non_exhaustive()
    }
}
