//! Writing: past every cache, and heard by all of them.
//!
//! Before COMMIT the write's tags become pending in Redis; after it they get new tokens and everybody is told. If Redis cannot take the first, the
//! tags are committed in the outbox with the write itself. So a crash between any two steps leaves either a mark that ends by itself, or a row.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio_postgres::types::{ToSql, Type};

use crate::model::QueryKind;
use crate::store::declared::{Declaration, Tag};
use crate::store::fetch::Call;
use crate::store::outbox::{ADD, ADD_WHEN_SLOW};
use crate::store::params::Params;
use crate::store::rows::Rows;
use crate::store::timed::{Answer, Failed, Flight};
use crate::store::{Declared, Inner, Store, StoreError, chance};

/// How far an invalidation has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Invalidation {
    /// Redis has it: a second from now nobody reads what was before.
    Applied,
    /// The database has it, committed with the write: two seconds from now nobody reads what was before.
    Pending,
}

/// A write that is committed.
#[derive(Clone, Debug)]
pub struct Written {
    pub affected: u64,
    /// What RETURNING gave.
    pub rows: Rows,
    pub invalidation: Invalidation,
}

/// How much longer than the statement a mark of a pending write lives: the COMMIT, and the way there.
const MARK_MARGIN: Duration = Duration::from_secs(10);

impl Store {
    /// Runs a declared write in a transaction of its own, and makes everything kept under its tags old.
    ///
    /// # Errors
    /// [`StoreError::OutcomeUnknown`] when it was sent and nobody knows whether it is committed; every other error means that nothing was changed.
    pub async fn write(&self, query: &Declared, params: &[&(dyn ToSql + Sync)]) -> Result<Written, StoreError> {
        self.write_with(query, params, &Call::default()).await
    }

    /// The same, with what this call says about itself (its deadline and retries).
    pub async fn write_with(&self, query: &Declared, params: &[&(dyn ToSql + Sync)], call: &Call<'_>) -> Result<Written, StoreError> {
        let declared = &query.0;
        if declared.query.kind != QueryKind::Write {
            return Err(StoreError::misuse(format!("query {:?} is declared as a read", declared.query.name)));
        }
        let params = declared.params(params)?;
        let mut tags = declared.tags(&params);
        tags.sort_by(|a, b| a.text.cmp(&b.text));
        tags.dedup();
        let deadline = call.deadline.unwrap_or(Instant::now() + self.0.config.query_timeout);
        let retries = call.retries.unwrap_or(self.0.config.retries);
        let mut attempt = 0;
        loop {
            let failed = match self.0.attempt(declared, &params, &tags, deadline).await {
                Ok(written) => {
                    self.0.budget.succeeded();
                    if written.invalidation == Invalidation::Pending {
                        declared.metrics.pending_writes.fetch_add(1, Ordering::Relaxed);
                    }
                    return Ok(written);
                }
                Err(failed) => failed,
            };
            attempt += 1;
            let Some(pause) = self.0.budget.pause(&declared.query, &failed, attempt, retries, deadline) else {
                declared.metrics.errors.fetch_add(1, Ordering::Relaxed);
                return Err(match failed {
                    Failed::NotDone(error) => error,
                    Failed::Unknown(why) => StoreError::OutcomeUnknown(why),
                });
            };
            declared.metrics.retries.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(pause).await;
        }
    }

    /// Makes everything kept under these tags old, everywhere. For changes that were made elsewhere and are committed.
    pub async fn invalidate(&self, tags: &[&str]) -> Result<Invalidation, StoreError> {
        let tags: Vec<Tag> = tags.iter().map(|tag| Tag::new(*tag)).collect();
        self.0.forget(&tags);
        if let Some(link) = &self.0.link
            && link.bump(&tags, None, None, None).await.is_ok()
        {
            return Ok(Invalidation::Applied);
        }
        self.0.leave_in_outbox(&tags).await?;
        Ok(Invalidation::Pending)
    }
}

impl Inner {
    /// This process forgets at once.
    pub(super) fn forget(&self, tags: &[Tag]) {
        tags.iter().for_each(|tag| self.validity.invalidate(tag.hash));
    }

    async fn attempt(&self, declared: &Declaration, params: &Params, tags: &[Tag], deadline: Instant) -> Result<Written, Failed> {
        let written = |answer: Answer, invalidation| Written { affected: answer.affected, rows: answer.rows, invalidation };
        #[cfg(debug_assertions)]
        let tags = if self.config.sabotage == crate::store::Sabotage::NoInvalidation { &[] } else { tags };
        let lease = self.pool.acquire(deadline).await.map_err(Failed::NotDone)?;
        let mut flight = Flight { pool: &self.pool, declared, params, deadline, limit: usize::MAX, also: None };
        if tags.is_empty() {
            return Ok(written(flight.run_on(lease).await?, Invalidation::Applied));
        }
        let writer = chance::token();
        let limit = declared.query.timeout.min(self.config.pool.statement_timeout).min(deadline.saturating_duration_since(Instant::now()));
        // The connection is at hand before the mark is set: the mark's time is the statement's, not the queue's.
        let began = match &self.link {
            Some(link) => link.begin(tags, writer, limit + MARK_MARGIN).await.is_ok(),
            None => false,
        };
        if !began && declared.query.required {
            return Err(Failed::NotDone(StoreError::InvalidationRefused));
        }
        self.forget(tags);
        let texts = tags.iter().map(|tag| tag.text.to_string()).collect();
        flight.also = Some((if began { ADD_WHEN_SLOW } else { ADD }, texts));
        let outcome = flight.run_on(lease).await;
        self.forget(tags);
        match outcome {
            Ok(answer) if began => {
                let told = match &self.link {
                    Some(link) => link.bump(tags, Some(writer), None, None).await.is_ok(),
                    None => false,
                };
                if told {
                    return Ok(written(answer, Invalidation::Applied));
                }
                // It is committed, and its tags are pending where they are known at all. The outbox makes sure for a Redis that forgot them.
                if self.leave_in_outbox(tags).await.is_err() {
                    self.outbox.leave(tags.to_vec());
                }
                Ok(written(answer, Invalidation::Pending))
            }
            Ok(answer) => Ok(written(answer, Invalidation::Pending)),
            Err(Failed::NotDone(error)) => {
                if let Some(link) = self.link.as_ref().filter(|_| began) {
                    // Nothing was changed: the tags need not stay pending. If Redis does not hear it, they do so until their limit.
                    let _ = link.bump(tags, Some(writer), None, None).await;
                }
                Err(Failed::NotDone(error))
            }
            // It may yet be committed: the tags stay pending until it cannot be any more; or the outbox has them, with the write.
            Err(unknown) => Err(unknown),
        }
    }

    /// Commits the tags to the outbox by themselves.
    pub(super) async fn leave_in_outbox(&self, tags: &[Tag]) -> Result<(), StoreError> {
        let deadline = Instant::now() + Duration::from_secs(2);
        let mut lease = self.pool.acquire(deadline).await?;
        lease.busy();
        let texts: Vec<&str> = tags.iter().map(|tag| &*tag.text).collect();
        let added = tokio::time::timeout_at(deadline.into(), lease.client().execute_typed(ADD, &[(&texts, Type::TEXT_ARRAY)])).await;
        match added {
            Ok(Ok(_)) => {
                lease.idle();
                Ok(())
            }
            Ok(Err(error)) => Err(StoreError::of(&error)),
            Err(_) => Err(StoreError::DeadlineExceeded { waiting_for: "the outbox", after: Duration::from_secs(2) }),
        }
    }
}
