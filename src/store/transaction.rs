//! Several statements as one transaction: past every cache, retried as a whole where that is safe, and its tags are made old with its COMMIT.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Mutex;
use tokio_postgres::types::{ToSql, Type};

use crate::model::QueryKind;
use crate::store::declared::{Declaration, Tag};
use crate::store::pool::Lease;
use crate::store::timed::{Answer, Failed, Flight, Trouble};
use crate::store::write::{Invalidation, in_order};
use crate::store::{Declared, Inner, Rows, Store, StoreError};

/// How a transaction runs.
#[derive(Clone, Copy, Debug, Default)]
pub struct TransactionOptions {
    pub isolation: Isolation,
    pub read_only: bool,
    /// Of everything together: waits, statements, tries. Else the store's `query_timeout` from now.
    pub deadline: Option<Instant>,
    /// Tries of the whole beyond the first, after a serialization failure, a deadlock, or a connection lost before COMMIT was sent; else the store's.
    pub retries: Option<u32>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Isolation {
    #[default]
    ReadCommitted,
    RepeatableRead,
    Serializable,
}

/// A transaction that is open. What it reads it reads in the database; what it writes nobody sees before its end. Of no more use after that.
#[derive(Clone)]
pub struct Transaction(Arc<Mutex<Option<Open>>>);

struct Open {
    inner: Arc<Inner>,
    lease: Lease,
    deadline: Instant,
    began: Instant,
    tags: Vec<Tag>,
    required: bool,
    wrote: bool,
    /// The first statement that failed: PostgreSQL takes no more of this transaction, whatever its caller makes of the error.
    failed: Option<StoreError>,
}

/// A transaction that is committed.
#[derive(Clone, Debug)]
pub struct Committed<T> {
    pub value: T,
    /// How far the news of its writes have come.
    pub invalidation: Invalidation,
    /// Tries beyond the first.
    pub retries: u32,
}

impl Store {
    /// Runs `work` in a transaction and commits it. `work` runs again, from its beginning, when the transaction failed to serialize or met a
    /// deadlock, or its connection broke before COMMIT, and once where [`Transaction::invalidate`] is the first to need the outbox; so it must change nothing but the database. When `work` gives an error, everything is
    /// rolled back.
    ///
    /// ```no_run
    /// # use candlefish::store::{Declared, Store, StoreError, TransactionOptions};
    /// # async fn example(store: Store, take: Declared, give: Declared) -> Result<(), StoreError> {
    /// let done = store.transaction(TransactionOptions::default(), |t| {
    ///     let (take, give) = (&take, &give);
    ///     async move {
    ///         t.run(take, &[&1_i64, &5_i64]).await?;
    ///         t.run(give, &[&2_i64, &5_i64]).await
    ///     }
    /// });
    /// println!("{:?}", done.await?.invalidation);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// `work`'s own; [`StoreError::OutcomeUnknown`] when COMMIT was sent and no answer came; [`StoreError::InvalidationRefused`], with nothing
    /// changed, when a `required` write's news cannot be told to Redis.
    pub async fn transaction<T, E: From<StoreError>, W: Future<Output = Result<T, E>>>(
        &self,
        options: TransactionOptions,
        work: impl Fn(Transaction) -> W,
    ) -> Result<Committed<T>, E> {
        let began = Instant::now();
        let outcome = self.until_committed(options, work).await;
        self.0.calls.record(began, &outcome);
        outcome
    }

    async fn until_committed<T, E: From<StoreError>, W: Future<Output = Result<T, E>>>(
        &self,
        options: TransactionOptions,
        work: impl Fn(Transaction) -> W,
    ) -> Result<Committed<T>, E> {
        let inner = &self.0;
        let deadline = options.deadline.unwrap_or(Instant::now() + inner.config.query_timeout);
        let most = options.retries.unwrap_or(inner.config.retries);
        let limits = inner.limits(Instant::now(), deadline, most);
        let mut retries = 0;
        loop {
            let (error, failed) = match inner.begin(options, deadline).await {
                Err(failed) => (None, failed),
                Ok(open) => {
                    let transaction = Transaction(Arc::new(Mutex::new(Some(open))));
                    let result = work(transaction.clone()).await;
                    let mut open = transaction.0.lock().await.take().expect("only this takes it");
                    match (result, open.failed.take()) {
                        (Ok(_), None) if open.lacks_outbox() => {
                            // Making it takes a connection, and nobody waits for one while he holds another.
                            open.rollback().await;
                            match inner.prepare_outbox(deadline).await {
                                Ok(()) => continue,
                                Err(failed) => (None, failed),
                            }
                        }
                        (Ok(value), None) => match open.commit().await {
                            Ok(invalidation) => {
                                inner.budget.succeeded();
                                return Ok(Committed { value, invalidation, retries });
                            }
                            Err(failed) => (None, failed),
                        },
                        (Err(error), None) => {
                            open.rollback().await;
                            return Err(error);
                        }
                        (result, Some(failed)) => {
                            open.rollback().await;
                            (result.err(), Failed::NotDone(failed))
                        }
                    }
                }
            };
            retries += 1;
            let pause = match &failed {
                Failed::NotDone(error) if error.is_away() => limits.wait_for_server(),
                _ => inner.budget.pause_if(may_pass(&failed), retries, most, deadline),
            };
            let Some(pause) = pause else {
                // What `work` made of the statement's error is what its caller waits for.
                return Err(error.unwrap_or_else(|| E::from(failed.error())));
            };
            tokio::time::sleep(pause).await;
        }
    }
}

/// True when the same transaction may end otherwise, and nothing of this one remains.
fn may_pass(failed: &Failed) -> bool {
    match failed {
        Failed::NotDone(StoreError::Database { sqlstate, .. }) => {
            // A plan that a change of its tables made old is prepared anew.
            matches!(sqlstate.as_str(), "40001" | "40P01" | "0A000" | "26000" | "57P01" | "57P02" | "57P03") || sqlstate.starts_with("08")
        }
        Failed::NotDone(StoreError::ConnectionLost(_) | StoreError::Unreachable(_)) => true,
        _ => false,
    }
}

impl Transaction {
    /// Runs one declared statement, a read or a write, in this transaction. A write's tags become old with the COMMIT.
    pub async fn run(&self, query: &Declared, params: &[&(dyn ToSql + Sync)]) -> Result<Rows, StoreError> {
        self.execute(query, params).await.map(|(rows, _)| rows)
    }

    /// The same, with how many rows the statement returned or changed.
    pub async fn execute(&self, query: &Declared, params: &[&(dyn ToSql + Sync)]) -> Result<(Rows, u64), StoreError> {
        let mut open = self.0.lock().await;
        let open = open.as_mut().ok_or_else(ended)?;
        let declared = open.inner.own(query)?;
        let encoded = declared.params(params)?;
        if let Some(failed) = &open.failed {
            return Err(failed.clone());
        }
        if declared.query.kind == QueryKind::Write {
            open.tags.extend(declared.tags(&encoded));
            open.required |= declared.query.required;
            open.wrote = true;
        }
        let began = Instant::now();
        // So it stays when this future is dropped on the way: nobody knows then what the transaction holds.
        open.failed = Some(StoreError::misuse("a statement of this transaction was given up"));
        match open.send(declared, &encoded).await {
            Ok(answer) => {
                open.failed = None;
                declared.metrics.database.record(began.elapsed());
                Ok((answer.rows, answer.affected))
            }
            Err(error) => {
                declared.metrics.errors.fetch_add(1, Ordering::Relaxed);
                open.failed = Some(error.clone());
                Err(error)
            }
        }
    }

    /// Makes these tags old with the COMMIT.
    pub async fn invalidate(&self, tags: &[&str]) -> Result<(), StoreError> {
        let mut open = self.0.lock().await;
        let open = open.as_mut().ok_or_else(ended)?;
        open.tags.extend(tags.iter().map(|tag| Tag::new(*tag)));
        open.wrote = true;
        Ok(())
    }
}

fn ended() -> StoreError {
    StoreError::misuse("the transaction has ended")
}

impl Open {
    async fn send(&self, declared: &Declaration, params: &crate::store::params::Params) -> Result<Answer, StoreError> {
        let limit = self.inner.config.max_answer_bytes;
        let flight = Flight { pool: &self.inner.pool, declared, params, deadline: self.deadline, limit, also: None };
        match tokio::time::timeout_at(self.deadline.into(), flight.within(&self.lease)).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(Trouble::Ours(error))) => Err(error),
            Ok(Err(Trouble::Wire(error))) => {
                // Tried again as a whole, if it is, it finds the statement new.
                flight.is_outdated(self.lease.client(), &error);
                Err(StoreError::of(&error))
            }
            Err(_) => Err(self.late("PostgreSQL")),
        }
    }

    fn late(&self, waiting_for: &'static str) -> StoreError {
        StoreError::DeadlineExceeded { waiting_for, after: self.began.elapsed() }
    }

    /// Tags of no declared write were made old: nobody foresaw that the outbox would be needed.
    fn lacks_outbox(&self) -> bool {
        !self.tags.is_empty() && !self.inner.outbox_ready.initialized()
    }

    async fn commit(mut self) -> Result<Invalidation, Failed> {
        let inner = self.inner.clone();
        #[cfg(debug_assertions)]
        if inner.config.sabotage == crate::store::Sabotage::NoInvalidation {
            self.tags.clear();
        }
        let tags = in_order(std::mem::take(&mut self.tags));
        if tags.is_empty() {
            self.send_commit(None).await?;
            return Ok(Invalidation::Applied);
        }
        let left = self.deadline.saturating_duration_since(Instant::now());
        let mark = match inner.mark(&tags, self.required, left).await {
            Ok(mark) => mark,
            Err(failed) => {
                self.rollback().await;
                return Err(failed);
            }
        };
        let outcome = self.send_commit(Some((mark.outbox_statement(), inner.outbox_row(&tags)))).await;
        inner.settle(outcome, &tags, mark).await.map(|((), invalidation)| invalidation)
    }

    /// The outbox's row and COMMIT in one flight.
    async fn send_commit(mut self, also: Option<(&str, Vec<String>)>) -> Result<(), Failed> {
        let client = self.lease.client();
        let added = async {
            match &also {
                Some((sql, texts)) => client.execute_typed(sql, &[(texts, Type::TEXT_ARRAY)]).await.map(drop),
                None => Ok(()),
            }
        };
        let ended = async {
            let (added, committed) = tokio::join!(biased; added, client.batch_execute(self.inner.pool.end_of_transaction()));
            // COMMIT of a transaction that failed is a ROLLBACK, and no error.
            added.and(committed)
        };
        match tokio::time::timeout_at(self.deadline.into(), ended).await {
            Ok(Ok(())) => {
                self.lease.idle();
                Ok(())
            }
            Ok(Err(error)) => {
                if error.as_db_error().is_some() && !self.lease.client().is_closed() {
                    self.lease.idle();
                }
                Err(self.unless_unknown(StoreError::of(&error)))
            }
            Err(_) => Err(self.unless_unknown(self.late("COMMIT"))),
        }
    }

    /// COMMIT was sent: without its answer nobody knows, unless there was nothing to commit.
    fn unless_unknown(&self, error: StoreError) -> Failed {
        let answered = match &error {
            StoreError::Database { sqlstate, .. } => !(sqlstate.starts_with("57P") || sqlstate.starts_with("08")),
            _ => false,
        };
        if answered || !self.wrote { Failed::NotDone(error) } else { Failed::Unknown(error.to_string()) }
    }

    async fn rollback(mut self) {
        // What does not end in time is ended when the lease is dropped: drained, or closed.
        let ended = tokio::time::timeout(self.inner.config.pool.drain_timeout, self.lease.client().batch_execute("ROLLBACK")).await;
        if let Ok(Ok(())) = ended {
            self.lease.idle();
        }
    }
}

impl Inner {
    /// True when a write is declared whose tags others must hear of.
    fn may_tell(&self) -> bool {
        let declared = self.declared.lock().unwrap_or_else(PoisonError::into_inner);
        declared.iter().any(|declared| declared.query.kind == QueryKind::Write && !declared.query.tags.is_empty())
    }

    async fn begin(self: &Arc<Self>, options: TransactionOptions, deadline: Instant) -> Result<Open, Failed> {
        let began = Instant::now();
        let read_only = options.read_only || self.config.pool.read_only;
        // Before it holds a connection: behind a pooler all of them may be held by those who wait for one more.
        if !read_only && self.may_tell() {
            self.prepare_outbox(deadline).await?;
        }
        let mut lease = self.pool.acquire(deadline).await.map_err(Failed::NotDone)?;
        let left = deadline.saturating_duration_since(Instant::now());
        let limit = left.min(self.config.pool.statement_timeout).max(Duration::from_millis(1)).as_millis();
        let isolation = match options.isolation {
            Isolation::ReadCommitted => "READ COMMITTED",
            Isolation::RepeatableRead => "REPEATABLE READ",
            Isolation::Serializable => "SERIALIZABLE",
        };
        let access = if read_only { "READ ONLY" } else { "READ WRITE" };
        let sql = format!(
            "BEGIN ISOLATION LEVEL {isolation} {access}; SET LOCAL statement_timeout = {limit}; SET LOCAL idle_in_transaction_session_timeout = {limit}{}",
            self.pool.settings()
        );
        lease.busy();
        let open = Open { inner: self.clone(), lease, deadline, began, tags: Vec::new(), required: false, wrote: false, failed: None };
        match tokio::time::timeout_at(deadline.into(), open.lease.client().batch_execute(&sql)).await {
            Ok(Ok(())) => Ok(open),
            Ok(Err(error)) => Err(Failed::NotDone(StoreError::of(&error))),
            Err(_) => Err(Failed::NotDone(open.late("PostgreSQL"))),
        }
    }
}
