//! Writing: past every cache, and heard by all of them.
//!
//! Before COMMIT the write's tags become pending in Redis; after it they get new tokens and everybody is told. If Redis cannot take the first, the
//! tags are committed in the outbox with the write itself. So a crash between any two steps leaves either a mark that ends by itself, or a row.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio_postgres::types::{ToSql, Type};

use crate::model::{Failure, QueryKind};
use crate::store::declared::{Declaration, Tag};
use crate::store::fetch::Call;
use crate::store::outbox::{ADD, ADD_WHEN_SLOW, Outbox};
use crate::store::params::Params;
use crate::store::rows::Rows;
use crate::store::timed::{Answer, Failed, Flight};
use crate::store::{Declared, Inner, Store, StoreError, chance, outbox_table};

/// How far an invalidation has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Invalidation {
    /// Redis has it: a second from now nobody reads what was before.
    Applied,
    /// Redis has not heard how it ended: two seconds from now nobody reads what was before. The database has its tags: committed with the write where
    /// Redis did not answer before COMMIT either. Where it did, the tags have been pending there since before COMMIT and stay so, nothing under them is
    /// used or kept, and the row follows the write in a transaction of its own, for a Redis that loses its memory. Should the database not take
    /// that row either, this process remembers it and tells Redis as soon as it can; if it ends before, the mark in Redis ends what was before.
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

/// That a write's tags are pending in Redis, and for whom; None: Redis could not be told.
pub(super) struct Mark(Option<u64>);

impl Mark {
    /// What the write's own transaction leaves in the outbox.
    pub fn outbox_statement(&self) -> &'static str {
        if self.0.is_some() { ADD_WHEN_SLOW } else { ADD }
    }
}

/// Each once.
pub(super) fn in_order(mut tags: Vec<Tag>) -> Vec<Tag> {
    tags.sort_by(|a, b| a.text.cmp(&b.text));
    tags.dedup();
    tags
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
        let began = Instant::now();
        let outcome = self.write_until_done(query, params, call).await;
        self.0.calls.record(began, &outcome);
        outcome
    }

    async fn write_until_done(&self, query: &Declared, params: &[&(dyn ToSql + Sync)], call: &Call<'_>) -> Result<Written, StoreError> {
        let declared = self.0.own(query)?;
        if declared.query.kind != QueryKind::Write {
            return Err(StoreError::misuse(format!("query {:?} is declared as a read", declared.query.name)));
        }
        let params = declared.params(params)?;
        let tags = in_order(declared.tags(&params));
        let deadline = call.deadline.unwrap_or(Instant::now() + self.0.config.query_timeout);
        let retries = call.retries.unwrap_or(self.0.config.retries);
        let limits = self.0.limits(Instant::now(), deadline, retries);
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
            let Some(pause) = self.0.budget.pause(&declared.query, &failed, attempt, &limits) else {
                declared.metrics.errors.fetch_add(1, Ordering::Relaxed);
                return Err(failed.error());
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
        if !tags.is_empty() {
            self.prepare_outbox(deadline).await?;
        }
        let lease = self.pool.acquire(deadline).await.map_err(Failed::NotDone)?;
        let mut flight = Flight { pool: &self.pool, declared, params, deadline, limit: usize::MAX, also: None };
        if tags.is_empty() {
            return Ok(written(flight.run_on(lease).await?, Invalidation::Applied));
        }
        let limit = declared.query.timeout.min(self.config.pool.statement_timeout).min(deadline.saturating_duration_since(Instant::now()));
        // The connection is at hand before the mark is set: the mark's time is the statement's, not the queue's.
        let mark = self.mark(tags, declared.query.required, limit).await?;
        flight.also = Some((mark.outbox_statement(), self.outbox_row(tags)));
        let (answer, invalidation) = self.settle(flight.run_on(lease).await, tags, mark).await?;
        Ok(written(answer, invalidation))
    }

    /// What a row of the outbox says: the tags, and whose it is where that is no application's.
    pub(super) fn outbox_row(&self, tags: &[Tag]) -> Vec<String> {
        let whose = self.config.announce.as_ref().map(|announce| outbox_table::mark(&announce.name));
        tags.iter().map(|tag| tag.text.to_string()).chain(whose).collect()
    }

    /// The outbox's table is there, before anything needs it. By a connection of its own: to be called by who holds none.
    pub(super) async fn prepare_outbox(&self, deadline: Instant) -> Result<(), Failed> {
        if self.outbox_ready.initialized() {
            return Ok(());
        }
        let began = Instant::now();
        let ready = self.outbox_ready.get_or_try_init(|| async { Outbox::prepare(self.config.own_address()).await.map(drop) });
        let Ok(ready) = tokio::time::timeout_at(deadline.into(), ready).await else {
            return Err(Failed::NotDone(StoreError::DeadlineExceeded { waiting_for: "the outbox", after: began.elapsed() }));
        };
        ready.map(drop).map_err(|error| {
            Failed::NotDone(match error.downcast::<Failure>() {
                Ok(failure) => StoreError::Unreachable(failure),
                Err(error) => StoreError::misuse(format!("{error:#}")),
            })
        })
    }

    /// Before COMMIT: the tags are pending in Redis for at most `limit` and a margin, when it can be told; and this process forgets.
    pub(super) async fn mark(&self, tags: &[Tag], required: bool, limit: Duration) -> Result<Mark, Failed> {
        let writer = chance::token();
        let began = match &self.link {
            Some(link) => link.begin(tags, writer, limit + MARK_MARGIN).await.is_ok(),
            None => false,
        };
        if !began && required {
            return Err(Failed::NotDone(StoreError::InvalidationRefused));
        }
        self.forget(tags);
        Ok(Mark(began.then_some(writer)))
    }

    /// After COMMIT, or what came instead: Redis and this process learn how it ended.
    pub(super) async fn settle<T>(&self, outcome: Result<T, Failed>, tags: &[Tag], mark: Mark) -> Result<(T, Invalidation), Failed> {
        self.forget(tags);
        match (outcome, mark.0) {
            (Ok(done), Some(writer)) => {
                let told = match &self.link {
                    Some(link) => link.bump(tags, Some(writer), None, None).await.is_ok(),
                    None => false,
                };
                if told {
                    return Ok((done, Invalidation::Applied));
                }
                // It is committed, and its tags are pending where they are known at all. The outbox makes sure for a Redis that forgot them.
                if self.leave_in_outbox(tags).await.is_err() {
                    self.outbox.leave(tags.to_vec());
                }
                self.pending_writes.fetch_add(1, Ordering::Relaxed);
                Ok((done, Invalidation::Pending))
            }
            (Ok(done), None) => {
                self.pending_writes.fetch_add(1, Ordering::Relaxed);
                Ok((done, Invalidation::Pending))
            }
            (Err(Failed::NotDone(error)), writer) => {
                if let (Some(link), Some(writer)) = (&self.link, writer) {
                    // Nothing was changed: the tags need not stay pending. If Redis does not hear it, they do so until their limit.
                    let _ = link.bump(tags, Some(writer), None, None).await;
                }
                Err(Failed::NotDone(error))
            }
            // It may yet be committed: the tags stay pending until it cannot be any more; or the outbox has them, with the write.
            (Err(unknown), _) => Err(unknown),
        }
    }

    /// Commits the tags to the outbox by themselves.
    pub(super) async fn leave_in_outbox(&self, tags: &[Tag]) -> Result<(), StoreError> {
        let deadline = Instant::now() + Duration::from_secs(2);
        self.prepare_outbox(deadline).await.map_err(Failed::error)?;
        let mut lease = self.pool.acquire(deadline).await?;
        lease.busy();
        let added =
            tokio::time::timeout_at(deadline.into(), lease.client().execute_typed(ADD, &[(&self.outbox_row(tags), Type::TEXT_ARRAY)]))
                .await;
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
