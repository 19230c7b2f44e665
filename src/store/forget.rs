//! Forgetting on purpose, in every live instance: tags, globs, everything.

use std::time::{Duration, Instant};

use crate::model::QualifiedName;
use crate::postgres::statement;
use crate::store::backplane::{forget_glob, matcher};
use crate::store::declared::Tag;
use crate::store::redis_link::{Link, escaped};
use crate::store::timed::Failed;
use crate::store::{Store, StoreError, chance};

/// Who heard of an invalidation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Told {
    /// Tags that got a new token.
    pub tags: u64,
    /// Instances that were listening, this one included.
    pub instances: usize,
    /// Those that said, within two seconds, that they have forgotten.
    pub acknowledged: usize,
}

/// How long a trigger may wait for its table, in whose way it stands meanwhile.
const LOCK_PATIENCE: Duration = Duration::from_secs(1);

/// How long instances have to say so.
const PATIENCE: Duration = Duration::from_secs(2);

/// A text that stands for itself in a glob.
pub fn escape_glob(text: &str) -> String {
    escaped(text)
}

impl Store {
    /// Forgets what is kept under these tags, and counts who did.
    ///
    /// # Errors
    /// [`StoreError::InvalidationRefused`] when Redis cannot be told.
    pub async fn forget_tags(&self, tags: &[&str]) -> Result<Told, StoreError> {
        let tags: Vec<Tag> = tags.iter().map(|tag| Tag::new(*tag)).collect();
        self.0.forget(&tags);
        let link = self.redis()?;
        let ack = format!("{:016x}", chance::token());
        let instances = link.bump(&tags, None, None, Some(&ack)).await.map_err(|_| StoreError::InvalidationRefused)?;
        Ok(Told { tags: tags.len() as u64, instances, acknowledged: acknowledged(link, &ack, instances).await })
    }

    /// Forgets what is kept under every tag that matches: `*`, `?`, `[…]` and `\` as in Redis, the whole tag. Redis is walked in steps.
    pub async fn forget_glob(&self, glob: &str) -> Result<Told, StoreError> {
        let compiled = matcher(glob).map_err(|error| StoreError::misuse(format!("{glob:?} is no glob: {error}")))?;
        forget_glob(&self.0.validity, &self.0.l1, &compiled);
        let link = self.redis()?;
        let refused = |_| StoreError::InvalidationRefused;
        // Before the walk for what is in memory, and after it for what came from Redis meanwhile.
        link.tell(None, &format!("G {glob}")).await.map_err(refused)?;
        let (mut cursor, mut tags) = (0, 0);
        loop {
            let (next, keys) = link.scan(cursor, &link.pattern(&format!("t:{glob}"))).await.map_err(refused)?;
            let found: Vec<Tag> = keys.iter().filter_map(|key| link.tag_of_key(std::str::from_utf8(key).ok()?)).map(Tag::new).collect();
            for found in found.chunks(100) {
                link.bump(found, None, None, None).await.map_err(refused)?;
            }
            tags += found.len() as u64;
            cursor = next;
            if cursor == 0 {
                break;
            }
        }
        let ack = format!("{:016x}", chance::token());
        let instances = link.tell(Some(&ack), &format!("G {glob}")).await.map_err(refused)?;
        Ok(Told { tags, instances, acknowledged: acknowledged(link, &ack, instances).await })
    }

    /// From now on every statement that changes this table, whoever sends it, makes what is kept under these tags old: within two seconds, by a
    /// statement-level trigger that writes the outbox. For tables that others change. Without tags: no longer.
    ///
    /// # Errors
    /// [`StoreError::Database`] with SQLSTATE `55P03` when others held the table for a second: who waits for its lock keeps out all who come after.
    pub async fn watch_table(&self, table: &QualifiedName, tags: &[&str]) -> Result<(), StoreError> {
        let began = Instant::now();
        let deadline = began + self.0.config.query_timeout;
        // The trigger's function comes with the outbox.
        self.0.prepare_outbox(deadline).await.map_err(Failed::error)?;
        let mut lease = self.0.pool.acquire(deadline).await?;
        lease.busy();
        let limit = deadline.saturating_duration_since(Instant::now()).as_millis().max(1);
        let sql = format!(
            "BEGIN; SET LOCAL lock_timeout = {}; SET LOCAL statement_timeout = {limit}; {}; COMMIT",
            LOCK_PATIENCE.as_millis(),
            statement::cache_trigger(table, tags, !tags.is_empty())
        );
        let done = tokio::time::timeout_at(deadline.into(), lease.client().batch_execute(&sql)).await;
        match done {
            Ok(Ok(())) => {
                lease.idle();
                Ok(())
            }
            // It may stand in a transaction that failed.
            Ok(Err(error)) => {
                lease.discard();
                Err(StoreError::of(&error))
            }
            Err(_) => {
                lease.discard();
                Err(StoreError::DeadlineExceeded { waiting_for: "the table", after: began.elapsed() })
            }
        }
    }

    /// How many answers of this namespace are kept in Redis.
    pub async fn count_kept(&self) -> Result<u64, StoreError> {
        let (link, mut cursor, mut count) = (self.redis()?, 0, 0);
        loop {
            let (next, keys) = link.scan(cursor, &link.pattern("v:*")).await.map_err(|_| StoreError::InvalidationRefused)?;
            count += keys.len() as u64;
            cursor = next;
            if cursor == 0 {
                return Ok(count);
            }
        }
    }

    /// Removes every kept answer of this namespace from Redis, and from the memory of every live instance. Gives how many keys went.
    pub async fn flush(&self) -> Result<(u64, Told), StoreError> {
        let link = self.redis()?;
        let refused = |_| StoreError::InvalidationRefused;
        let forget = || {
            self.0.validity.invalidate_all();
            self.0.l1.clear();
        };
        // Before the walk, so that nothing loaded until now is kept behind it; and after it for what came from Redis meanwhile.
        forget();
        link.tell(None, "A").await.map_err(refused)?;
        let (mut cursor, mut gone) = (0, 0);
        loop {
            // Values only: tokens and marks of writes under way stay, and so does what they protect.
            let (next, keys) = link.scan(cursor, &link.pattern("v:*")).await.map_err(refused)?;
            for keys in keys.chunks(100) {
                gone += link.unlink(keys).await.map_err(refused)?;
            }
            cursor = next;
            if cursor == 0 {
                break;
            }
        }
        forget();
        let ack = format!("{:016x}", chance::token());
        let instances = link.tell(Some(&ack), "A").await.map_err(refused)?;
        Ok((gone, Told { tags: 0, instances, acknowledged: acknowledged(link, &ack, instances).await }))
    }

    fn redis(&self) -> Result<&Link, StoreError> {
        self.0.link.as_deref().ok_or(StoreError::InvalidationRefused)
    }
}

async fn acknowledged(link: &Link, ack: &str, instances: usize) -> usize {
    let until = Instant::now() + PATIENCE;
    let mut count = 0;
    while count < instances && Instant::now() < until {
        count = link.acknowledged(ack).await.unwrap_or(count);
        if count < instances {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    count
}
