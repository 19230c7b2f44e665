//! The outbox: tags that a write could not tell Redis stand in a table, committed with the write. Every instance reads it a few times a second, by
//! a connection of its own, forgets what the rows name and tells Redis, once for all.

use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio_postgres::Client;
use tokio_postgres::types::Type;

use crate::model::Failure;
use crate::postgres::{self, Address};
use crate::store::chance;
use crate::store::declared::Tag;
use crate::store::redis_link::Link;
use crate::store::validity::{Validity, now_ms};

const EVERY: Duration = Duration::from_millis(300);
const LIMIT: Duration = Duration::from_millis(1000);

pub(super) const ADD: &str = include_str!("queries/outbox_add.sql");
pub(super) const ADD_WHEN_SLOW: &str = include_str!("queries/outbox_add_when_slow.sql");

pub(super) struct Outbox {
    validity: Arc<Validity>,
    /// What Redis has yet to be told, by its mark; nothing where there is no Redis.
    left: Mutex<BTreeMap<String, Vec<Tag>>>,
    has_redis: bool,
    /// It was more than is worth remembering: then everything there is old.
    overflow: AtomicBool,
}

/// More than this is not remembered one by one.
const MOST: usize = 10_000;

/// Where reading has come to.
struct Progress {
    next: String,
    seen: HashSet<i64>,
}

impl Outbox {
    pub fn new(validity: Arc<Validity>, has_redis: bool) -> Self {
        Outbox { validity, left: Mutex::default(), has_redis, overflow: AtomicBool::new(false) }
    }

    /// Makes the table and the trigger's function where they are missing.
    pub async fn prepare(address: &Address) -> Result<()> {
        let client = postgres::connect(address).await?;
        let there = client.query_typed("SELECT 1 WHERE to_regclass('candlefish.cache_outbox') IS NOT NULL", &[]).await?;
        if there.is_empty() {
            // Two instances that start together would both make it.
            let sql = format!("BEGIN; SELECT pg_advisory_xact_lock(6312026); {}; COMMIT", include_str!("queries/outbox.sql"));
            client.batch_execute(&sql).await.map_err(|error| postgres::sql_failure(error.into())).context("make the outbox of the data layer").map_err(|error| {
                let message = format!("{error:#}");
                Failure::new("no_outbox", message).hint("Have src/store/queries/outbox.sql run once by a role that may, and SELECT, INSERT and DELETE on candlefish.cache_outbox granted.")
            })?;
        }
        Ok(())
    }

    /// Tags that a committed write could leave nowhere else.
    pub fn leave(&self, tags: Vec<Tag>) {
        self.remember(format!("{:016x}", chance::token()), tags);
    }

    fn remember(&self, mark: String, tags: Vec<Tag>) {
        if !self.has_redis {
            return;
        }
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        if left.len() >= MOST {
            left.clear();
            self.overflow.store(true, Ordering::SeqCst);
        }
        left.insert(mark, tags);
    }

    /// True when Redis knows all that is known here: while it does not, what it has may be older than a write that is long pending.
    pub fn is_told(&self) -> bool {
        !self.overflow.load(Ordering::SeqCst) && self.left.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// Tells Redis what it has yet to hear.
    pub async fn tell_what_is_left(&self, link: &Link) {
        if self.overflow.load(Ordering::SeqCst) {
            if link.end_epoch().await.is_ok() {
                self.overflow.store(false, Ordering::SeqCst);
            }
            return;
        }
        let left: Vec<(String, Vec<Tag>)> =
            self.left.lock().unwrap_or_else(PoisonError::into_inner).iter().map(|(mark, tags)| (mark.clone(), tags.clone())).collect();
        for (mark, tags) in left {
            if link.bump(&tags, None, Some(mark.clone()), None).await.is_err() {
                return;
            }
            self.left.lock().unwrap_or_else(PoisonError::into_inner).remove(&mark);
        }
    }

    /// Reads and replays, for ever.
    pub async fn run(self: Arc<Self>, address: Address, link: Option<Arc<Link>>) {
        let mut progress = Progress { next: "0".to_string(), seen: HashSet::new() };
        let mut client: Option<Client> = None;
        let mut rounds = 0_u32;
        loop {
            let round = async {
                let connected = match client.take() {
                    Some(client) if !client.is_closed() => client,
                    _ => postgres::connect(&address).await?,
                };
                self.replay(&connected, &mut progress).await?;
                if rounds.is_multiple_of(600) {
                    connected.batch_execute(include_str!("queries/outbox_prune.sql")).await?;
                }
                anyhow::Ok(connected)
            };
            // A round that failed leaves `replayed` where it was, and everything that relies on it unproven.
            client = tokio::time::timeout(LIMIT, round).await.ok().and_then(Result::ok);
            rounds = rounds.wrapping_add(1);
            if let Some(link) = &link {
                self.tell_what_is_left(link).await;
            }
            tokio::time::sleep(EVERY).await;
        }
    }

    async fn replay(&self, client: &Client, progress: &mut Progress) -> Result<()> {
        let asked = now_ms();
        let rows = client.query_typed(include_str!("queries/outbox_read.sql"), &[(&progress.next, Type::TEXT)]).await?;
        let mut seen = HashSet::new();
        for row in &rows {
            progress.next = row.try_get("next")?;
            let Some(id) = row.try_get::<_, Option<i64>>("id")? else { continue };
            seen.insert(id);
            if progress.seen.contains(&id) {
                continue;
            }
            let tags: Vec<Tag> = row.try_get::<_, Vec<String>>("tags")?.into_iter().map(Tag::new).collect();
            tags.iter().for_each(|tag| self.validity.invalidate(tag.hash));
            self.remember(id.to_string(), tags);
        }
        progress.seen = seen;
        self.validity.replayed_until(asked);
        Ok(())
    }
}
