//! The outbox: tags that a write could not tell Redis stand in a table, committed with the write. Every instance reads it a few times a second, by
//! a connection of its own, forgets what the rows name and tells Redis, once for all.

use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio_postgres::Client;
use tokio_postgres::types::Type;

use crate::postgres::{self, Address};
use crate::store::declared::Tag;
use crate::store::redis_link::{Link, TOKEN_MS};
use crate::store::validity::{Validity, now_ms};
use crate::store::{chance, outbox_table};

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
    /// What was there before this instance has been told too.
    caught_up: AtomicBool,
}

/// More than this is not remembered one by one.
const MOST: usize = 10_000;

/// So many rows of before its own time an instance reads at once, to see that Redis knows them.
const PAGE: i64 = 500;

/// After a silence of this, in milliseconds, rows may have been pruned that were never seen here.
const SILENCE_MS: u64 = 60_000;

/// Rounds between two prunings: three minutes. Longer than [`SILENCE_MS`].
const PRUNE_EVERY: u32 = 600;

/// How old a row is that goes when Redis knows all that is known here; and one that goes in any case: its tags' tokens of before have ended by
/// themselves, and what was kept under them.
const TOLD: Duration = Duration::from_secs(3600);
const TOKENS_ENDED: Duration = Duration::from_millis(TOKEN_MS + 2 * 3600 * 1000);

/// Where reading has come to.
struct Progress {
    /// The transaction from which on rows may not have been seen.
    next: String,
    seen: HashSet<i64>,
    /// When it was read last, in [`now_ms`].
    read: u64,
    /// Every transaction before this one had ended when the last pruning was due.
    ended: Option<String>,
    rounds: u32,
}

/// The rows of before an instance's own time: memory has nothing of before them, but Redis may have.
struct Backlog {
    /// The transaction from which on rows are read anyway.
    before: String,
    /// The last row that was read.
    last: i64,
    is_read: bool,
}

impl Outbox {
    pub fn new(validity: Arc<Validity>, has_redis: bool) -> Self {
        Outbox { validity, left: Mutex::default(), has_redis, overflow: AtomicBool::new(false), caught_up: AtomicBool::new(!has_redis) }
    }

    /// Makes the table and the trigger's function where they are missing. Gives the transaction from which on rows are to be read by who begins now.
    pub async fn prepare(address: Address) -> Result<String> {
        let mut client = postgres::connect(&address).await?;
        outbox_table::make(&mut client, None).await?;
        let now = client.query_typed("SELECT pg_snapshot_xmin(pg_current_snapshot())::text", &[]).await?;
        Ok(now.first().context("the server did not say where it stands")?.try_get(0)?)
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
        let knows_all = self.caught_up.load(Ordering::SeqCst) && !self.overflow.load(Ordering::SeqCst);
        knows_all && self.left.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
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

    /// Reads and replays, for ever. `since`: from where [`Outbox::prepare`] said.
    pub async fn run(self: Arc<Self>, address: Address, link: Option<Arc<Link>>, since: String) {
        let mut progress = Progress { next: since.clone(), seen: HashSet::new(), read: now_ms(), ended: None, rounds: 0 };
        let mut backlog = Backlog { before: since, last: 0, is_read: !self.has_redis };
        let mut client: Option<Client> = None;
        loop {
            let round = async {
                let connected = match client.take() {
                    Some(client) if !client.is_closed() => client,
                    _ => postgres::connect(&address).await?,
                };
                self.replay(&connected, &mut progress).await?;
                self.prune(&connected, &mut progress).await?;
                if !backlog.is_read && self.is_empty() {
                    self.read_backlog(&connected, &mut backlog).await?;
                }
                anyhow::Ok(connected)
            };
            // A round that failed leaves `replayed` where it was, and everything that relies on it unproven.
            client = tokio::time::timeout(LIMIT, round).await.ok().and_then(Result::ok);
            if let Some(link) = &link {
                self.tell_what_is_left(link).await;
            }
            if backlog.is_read {
                self.caught_up.store(true, Ordering::SeqCst);
            } else if client.is_some() && self.is_empty() {
                continue;
            }
            tokio::time::sleep(EVERY).await;
        }
    }

    fn is_empty(&self) -> bool {
        self.left.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    async fn replay(&self, client: &Client, progress: &mut Progress) -> Result<()> {
        let asked = now_ms();
        let rows = client.query_typed(include_str!("queries/outbox_read.sql"), &[(&progress.next, Type::TEXT)]).await?;
        if asked.saturating_sub(progress.read) > SILENCE_MS {
            self.validity.invalidate_all();
        }
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
        (progress.seen, progress.read) = (seen, asked);
        self.validity.replayed_until(asked);
        Ok(())
    }

    /// A page of what was there before; what Redis has been told of it before, by whomever, it is not told again.
    async fn read_backlog(&self, client: &Client, backlog: &mut Backlog) -> Result<()> {
        let sql = include_str!("queries/outbox_backlog.sql");
        let rows = client.query_typed(sql, &[(&backlog.last, Type::INT8), (&backlog.before, Type::TEXT), (&PAGE, Type::INT8)]).await?;
        for row in &rows {
            backlog.last = row.try_get("id")?;
            self.remember(backlog.last.to_string(), row.try_get::<_, Vec<String>>("tags")?.into_iter().map(Tag::new).collect());
        }
        backlog.is_read = rows.len() < usize::try_from(PAGE)?;
        Ok(())
    }

    /// Removes old rows, of transactions that had ended when the last pruning was due: every instance that still reads has seen them.
    async fn prune(&self, client: &Client, progress: &mut Progress) -> Result<()> {
        if progress.rounds.is_multiple_of(PRUNE_EVERY) {
            if let Some(ended) = &progress.ended {
                let age = self.age_to_prune().as_secs_f64();
                client.execute_typed(include_str!("queries/outbox_prune.sql"), &[(ended, Type::TEXT), (&age, Type::FLOAT8)]).await?;
            }
            progress.ended = Some(progress.next.clone());
        }
        progress.rounds = progress.rounds.wrapping_add(1);
        Ok(())
    }

    /// From when on nobody needs a row. Whoever comes new tells Redis what it finds; so what Redis may not have been told stays until nothing there
    /// can be older than it.
    fn age_to_prune(&self) -> Duration {
        if self.has_redis && self.is_told() { TOLD } else { TOKENS_ENDED }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_row_goes_that_redis_may_not_have_been_told_of() {
        let outbox = |has_redis| Outbox::new(Arc::new(Validity::new(has_redis)), has_redis);
        let (with, without) = (outbox(true), outbox(false));
        // What was there before its own time it has not read yet.
        assert_eq!(with.age_to_prune(), TOKENS_ENDED);
        with.caught_up.store(true, Ordering::SeqCst);
        assert_eq!(with.age_to_prune(), TOLD);
        with.leave(vec![Tag::new("user:1")]);
        assert_eq!(with.age_to_prune(), TOKENS_ENDED);
        // Others may have one.
        assert_eq!(without.age_to_prune(), TOKENS_ENDED);
    }
}
