//! The data layer that an application links: PostgreSQL through a pool, with a memory cache (L1) and a shared one in Redis (L2) in front of it.
//!
//! ```no_run
//! use candlefish::model::{ParamType, Query};
//! use candlefish::postgres::Address;
//! use candlefish::store::{Store, StoreConfig};
//!
//! const USER: Query = Query::cached("user", "SELECT id, email FROM users WHERE id = $1", &[ParamType::Int8]).tags(&["user:{1}"]);
//! const SET_EMAIL: Query =
//!     Query::write("set email", "UPDATE users SET email = $2 WHERE id = $1", &[ParamType::Int8, ParamType::Text]).tags(&["user:{1}"]);
//!
//! # async fn example() -> anyhow::Result<()> {
//! let address = Address::parse("postgresql://app@localhost:6432/shop", "example")?;
//! let store = Store::open(StoreConfig::new(address).redis("redis://localhost:6379")).await?;
//! let (user, set_email) = (store.declare(USER)?, store.declare(SET_EMAIL)?);
//!
//! let fetched = store.fetch(&user, &[&7_i64]).await?;
//! let email: &str = fetched.rows().row(0).named("email")?;
//! println!("{email}, from {:?}, {:?} old", fetched.source, fetched.age());
//!
//! let written = store.write(&set_email, &[&7_i64, &"new@example.org"]).await?;
//! println!("{} row, {:?}", written.affected, written.invalidation);
//! # Ok(())
//! # }
//! ```
//!
//! # What may be given when, and who proves it
//!
//! A write gives back `Applied` or `Pending`. **No read is older than 1 s after `Applied`, or 2 s after `Pending`**, in any process; and in the
//! process that wrote, none is older than an applied write. An answer marked [`Source::Stale`] may be older, where its query allows grace; never older
//! than an invalidation that is known.
//!
//! 1. *A tag has a token in Redis*: 64 random bits, neither a clock nor a count. An entry in L2 carries the tokens that its tags had **before** its
//!    rows were selected. It is used only if they are the tokens that the tags have now, read in the same round trip; lost, evicted, rolled back or
//!    changed tokens are all a miss. Proved by [`redis_link::Link::look`] and [`load`]'s `judge`.
//! 2. *A write marks its tags pending before COMMIT, and gives them new tokens after it.* While a tag is pending nothing under it is used or kept.
//!    A writer that dies leaves a mark that ends after its COMMIT can no longer come. Proved by `begin.lua`, `bump.lua`.
//! 3. *A load is kept only if its tags' tokens are still those of before* (`keep.lua`), so a slow read cannot bring back what a write made old.
//! 4. *L1 is used only under a current [`validity::Stamp`]*, taken before the load: no tag has moved, the epoch is the same, and the instance heard
//!    its own heartbeat through the channel of invalidations less than 0.7 s ago. Redis delivers in order or hangs up; a gap in the count, a silence
//!    or a reconnection ends the epoch. A process that was stopped has no fresh heartbeat either. That the connection for
//!    values is given up and made anew ends nothing: what counts is what the one that hears has heard.
//! 5. *Without that proof an answer is used for 0.8 s from when its load began*: then its age alone keeps the promise. So memory still shields the
//!    database while Redis is down.
//! 6. *What Redis could not take stands in the outbox*, committed with the write; or right after it, where Redis took the mark and then not the token:
//!    until then, and without that row too, the mark keeps what was before from being used. No row goes before Redis has been told of it, or has
//!    nothing left that is so old; every instance replays it three times a second, and uses nothing
//!    from L1 or L2 when its last reading is 1.5 s old, and nothing from L2 while Redis has yet to be told of a row. That reading is one short query by
//!    a connection of its own; behind a pooler whose servers are all busy it waits like any other, and while it waits for a second, answers are used
//!    within their grace only. Queries that matter then want a grace, and the pooler a `reserve_pool_size`.
//! 7. *A server's epoch is bound to its run id*: after a restart or a failover, whoever connects first makes a new one, before anything is read.
//!    Entries of another epoch are not used, and for a second nothing is kept, because the marks of writes under way may be lost. A write that takes
//!    longer than half a second leaves a row in the outbox as well.
//! 8. *`required` queries never touch L1, and never join a load that is older than they are.* Their writes fail before COMMIT when Redis cannot be
//!    told.
//!
//! What remains: within the second after Redis lost its memory, a writer that dies between COMMIT and telling, whose COMMIT itself took over half
//! a second, leaves an entry that ends with its time to live.
//!
//! # For a load generator
//!
//! [`StoreConfig::layers`] says which layers answer: [`Layers::Pooled`] (every call asks the database, through the pool; without writes it needs no
//! outbox, and so no right to make one), [`Layers::L2`], [`Layers::Cached`]. [`Store::fetch`] says where each answer came from ([`Fetched::source`]),
//! [`Store::write`] writes with tags, [`Store::transaction`] runs several statements as one. Values may be texts and numbers of a script:
//! [`Argument`](crate::postgres::Argument) becomes what the statement wants. Before the measured time take a [`Store::status`] and call
//! [`Pool::restart_peaks`]; after it take another: `after.l1().since(&before.l1())` is what memory did meanwhile, `l2()` the same of Redis,
//! `after.pool` has the peak and the waits. Connections and tasks live in the runtime that opened the store or first asked it; a store may be asked
//! from any. The counts are the store's and the query's.
//!
//! # How it is built
//!
//! ```text
//! fetch  → key → l1 → load (one for all askers) → redis_link.look → lease → timed (one flight) on a pool's connection → keep → l1
//! write  → redis_link.begin → timed (one flight: the statement, the outbox, COMMIT) → redis_link.bump
//! always → backplane (hears Redis) · outbox (reads the table) · pool's keeper
//! ```

mod backplane;
mod chance;
mod config;
mod declared;
mod entry;
mod error;
mod fetch;
mod fleet;
mod forget;
mod kept;
mod l1;
mod load;
mod metrics;
mod outbox;
mod outbox_table;
mod params;
mod pool;
mod redis_link;
mod retry;
mod rows;
mod status;
mod timed;
mod transaction;
mod validity;
mod write;

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use anyhow::{Context as _, Result};

pub use chance::token as random_token;
#[cfg(debug_assertions)]
pub use config::Sabotage;
pub use config::{Announce, Layers, PoolConfig, StoreConfig};
pub use declared::Declared;
pub use error::StoreError;
pub use fetch::{Call, Fetched, Source};
pub use fleet::{Fleet, FleetPlace, Instance, InstanceQuery, REDIS_REFUSED, RedisFacts, clear_namespace, clear_namespaces};
pub use forget::{Told, escape_glob};
pub use metrics::{Buckets, CallStatus, Latency, LayerStatus, MissesByCause, QueryStatus};
pub use outbox_table::{OutboxRemoval, make_outbox, remove_outbox};
pub use pool::{Lease, Pool, PoolStatus};
pub use rows::{Row, Rows};
pub use status::{Explanation, StoreStatus, TagState, prometheus, resident_bytes};
/// What values of parameters and columns can be.
pub use tokio_postgres::types::{FromSql, ToSql};
pub use transaction::{Committed, Isolation, Transaction, TransactionOptions};
pub use write::{Invalidation, Written};

use crate::model::{Failure, Query};
use crate::postgres;
use backplane::Backplane;
use declared::Declaration;
use l1::L1;
use load::Loads;
use metrics::CallMetrics;
use outbox::Outbox;
use pool::TaskGuard;
use redis_link::Link;
use retry::Budget;
use validity::Validity;

/// The data layer. Cheap to clone; everything ends with its last clone.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

pub(crate) struct Inner {
    /// Tells this store from every other of the process.
    id: u64,
    config: StoreConfig,
    pool: Pool,
    validity: Arc<Validity>,
    l1: Arc<L1>,
    link: Option<Arc<Link>>,
    outbox: Arc<Outbox>,
    /// The outbox's table is there.
    outbox_ready: tokio::sync::OnceCell<()>,
    loads: Loads,
    budget: Budget,
    calls: CallMetrics,
    /// Writes whose news Redis could not be told at once.
    pending_writes: AtomicU64,
    declared: Mutex<Vec<Arc<Declaration>>>,
    opened: Instant,
    _tasks: Vec<TaskGuard>,
}

impl Store {
    /// Connects to PostgreSQL, makes the outbox where it is missing, and begins to hear Redis. A Redis that is down is no error.
    ///
    /// # Errors
    /// PostgreSQL cannot be reached, or lets this role neither use nor make the outbox; the URL of Redis cannot be read.
    pub async fn open(config: StoreConfig) -> Result<Self> {
        load::check(&config)?;
        let route = match config.route {
            Some(route) => route,
            None => postgres::route(&config.own_address()).await.context("find out whether a pooler answers")?,
        };
        // Who keeps nothing needs the outbox only once it writes.
        let keeps = config.layers != Layers::Pooled;
        let since = if keeps { Some(Outbox::prepare(config.own_address()).await?) } else { None };
        let outbox_ready = tokio::sync::OnceCell::new_with(since.as_ref().map(|_| ()));
        let link = match &config.redis {
            Some(url) => {
                // The client's own error would show the URL.
                let client =
                    redis::Client::open(url.as_str()).map_err(|_| Failure::new("bad_url", "the address of Redis cannot be read"))?;
                Some(Arc::new(Link::new(client, &config.namespace, config.announce.as_ref(), config.l2_deadline)))
            }
            None => None,
        };
        let validity = Arc::new(Validity::new(link.is_some()));
        let l1 = Arc::new(L1::new(if config.layers == Layers::Cached { config.l1_bytes } else { 0 }, config.max_entry_bytes));
        let outbox = Arc::new(Outbox::new(validity.clone(), link.is_some()));
        let mut tasks = Vec::new();
        if let Some(since) = since {
            tasks.push(TaskGuard(tokio::spawn(outbox.clone().run(config.own_address(), link.clone(), since))));
        }
        if let Some(link) = &link {
            let backplane = Backplane { link: link.clone(), validity: validity.clone(), l1: l1.clone(), outbox: outbox.clone() };
            tasks.push(TaskGuard(tokio::spawn(backplane.run())));
        }
        let pool = Pool::new(&config.address, route, config.pool.clone())?;
        let (loads, budget, calls, declared) = (Loads::default(), Budget::default(), CallMetrics::default(), Mutex::default());
        let inner = Arc::new_cyclic(|inner| {
            tasks.push(TaskGuard(tokio::spawn(status::publish(inner.clone(), config.status_interval))));
            Inner {
                id: chance::token(),
                config,
                pool,
                validity,
                l1,
                link,
                outbox,
                outbox_ready,
                loads,
                budget,
                calls,
                pending_writes: AtomicU64::new(0),
                declared,
                opened: Instant::now(),
                _tasks: tasks,
            }
        });
        Ok(Store(inner))
    }

    /// Checks a query once, and prepares what does not change from call to call. The same query again is the same declaration, and counted as one.
    pub fn declare(&self, query: Query) -> Result<Declared, StoreError> {
        let mut all = self.0.declared.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = all.iter().find(|known| known.query == query) {
            return Ok(Declared(known.clone()));
        }
        let config = &self.0.config;
        let address = &config.address;
        let epoch = config.schema_epoch.to_le_bytes();
        let mut identity: Vec<&[u8]> = vec![
            config.namespace.as_bytes(),
            &epoch,
            address.database().as_bytes(),
            address.user().as_bytes(),
            address.config.get_options().unwrap_or_default().as_bytes(),
        ];
        // The role and the search path of its sessions, and whatever else is set there: each can change the answer.
        identity.extend(address.session.iter().flat_map(|(name, value)| [name.as_bytes(), value.as_bytes()]));
        let mut declaration = Declaration::new(query, &identity, self.0.id)?;
        declaration.kept &= config.layers != Layers::Pooled;
        let declaration = Arc::new(declaration);
        all.push(declaration.clone());
        Ok(Declared(declaration))
    }

    pub fn pool(&self) -> &Pool {
        &self.0.pool
    }

    /// Empties this process's memory, as if it had just started.
    pub fn clear_memory(&self) {
        self.0.l1.clear();
    }

    /// True while Redis answers and its invalidations are heard.
    pub fn has_redis(&self) -> bool {
        self.0.link.as_ref().is_some_and(|link| link.is_up()) && self.0.validity.hears()
    }
}
