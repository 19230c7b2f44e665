//! One statement with a limit that the server itself keeps, in one flight: nothing to cancel, nothing left behind for the next client.
//!
//! Through a pooler the flight is `BEGIN; SET LOCAL statement_timeout` | the statement, unnamed and typed | `COMMIT`, sent together. Directly, a
//! statement whose limit is the connection's own goes alone, prepared; one with less time goes the same way as through a pooler.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use futures_util::TryStreamExt as _;
use tokio_postgres::types::Type;
use tokio_postgres::{Error, RowStream, Statement};

use crate::model::QueryKind;
use crate::postgres::Route;
use crate::store::StoreError;
use crate::store::declared::Declaration;
use crate::store::params::Params;
use crate::store::pool::{Lease, Pool};
use crate::store::rows::{Rows, RowsBuilder};

/// What one statement gave.
pub(super) struct Answer {
    pub rows: Rows,
    pub affected: u64,
}

/// How one statement is sent.
pub(super) struct Flight<'a> {
    pub pool: &'a Pool,
    pub declared: &'a Declaration,
    pub params: &'a Params,
    pub deadline: Instant,
    /// The most bytes of an answer.
    pub limit: usize,
    /// A second statement of the same transaction, after the first: its text and its one parameter, a list of texts.
    pub also: Option<(&'a str, Vec<String>)>,
}

/// Where a flight ended that failed.
pub(super) enum Failed {
    /// The server has nothing of it, or took it back.
    NotDone(StoreError),
    /// Sent, and no word came back.
    Unknown(String),
}

impl Failed {
    /// What its caller is told.
    pub fn error(self) -> StoreError {
        match self {
            Failed::NotDone(error) => error,
            Failed::Unknown(why) => StoreError::OutcomeUnknown(why),
        }
    }
}

impl Flight<'_> {
    /// Runs it on this connection.
    pub async fn run_on(&self, mut lease: Lease) -> Result<Answer, Failed> {
        let began = Instant::now();
        let left = self.deadline.saturating_duration_since(began);
        if left.is_zero() {
            return Err(Failed::NotDone(StoreError::DeadlineExceeded { waiting_for: "a connection", after: began.elapsed() }));
        }
        if lease.client().is_closed() {
            return Err(Failed::NotDone(StoreError::ConnectionLost("it was closed while idle".to_string())));
        }
        let most = self.declared.query.timeout.min(self.pool.config().statement_timeout);
        let limit = left.min(most);
        let alone = self.pool.route() == Route::Direct
            && limit >= self.pool.config().statement_timeout
            && self.also.is_none()
            && !self.pool.config().read_only;
        lease.busy();
        // The server's own limit comes first; past it by this much, the server or the way to it is gone.
        let patience = limit + Duration::from_millis(500);
        // Who reads waits no longer than until the deadline; of a write everybody wants to know how it ended.
        let patience = if self.declared.query.kind == QueryKind::Write { patience } else { patience.min(left) };
        let work = async {
            match (alone, self.pool.route()) {
                (true, _) => self.prepared(&lease).await,
                // In a box: the way of a statement alone, which is copied as it is built up, stays small.
                (false, _) => match Box::pin(self.transaction(&lease, limit)).await {
                    // The server has taken all of it back.
                    Err(Trouble::Wire(error)) if self.is_outdated(lease.client(), &error) => {
                        Box::pin(self.transaction(&lease, limit)).await
                    }
                    sent => sent,
                },
            }
        };
        match tokio::time::timeout_at((began + patience).into(), work).await {
            Ok(Ok(answer)) => {
                if lease.client().is_closed() {
                    return Ok(answer);
                }
                // tokio-postgres asks for the names of types that are not PostgreSQL's own by named statements, which a pooler may carry to another server.
                let strays = matches!(self.pool.route(), Route::Pooled { prepared: false, .. })
                    && answer.rows.columns().any(|(_, column_type)| column_type == Type::UNKNOWN);
                match strays {
                    true => lease.discard(),
                    false => lease.idle(),
                }
                Ok(answer)
            }
            Ok(Err(Trouble::Wire(error))) => {
                if error.as_db_error().is_some() && !lease.client().is_closed() {
                    // Its transaction is over: every part of the flight has been answered.
                    lease.idle();
                }
                Err(self.failed(&error))
            }
            Ok(Err(Trouble::Ours(error))) => {
                // Too large an answer was read to its end all the same.
                lease.idle();
                Err(Failed::NotDone(error))
            }
            Err(_) => {
                let error = StoreError::DeadlineExceeded { waiting_for: "PostgreSQL", after: began.elapsed() };
                Err(match self.declared.query.kind {
                    QueryKind::Write => Failed::Unknown(error.to_string()),
                    _ => Failed::NotDone(error),
                })
            }
        }
    }

    fn failed(&self, error: &Error) -> Failed {
        let told = StoreError::of(error);
        match (&told, self.declared.query.kind) {
            (StoreError::ConnectionLost(why), QueryKind::Write) => Failed::Unknown(why.clone()),
            // The server says so as it goes; the COMMIT may have gone before.
            (StoreError::Database { sqlstate, message }, QueryKind::Write) if sqlstate.starts_with("57P") || sqlstate.starts_with("08") => {
                Failed::Unknown(message.clone())
            }
            _ => Failed::NotDone(told),
        }
    }

    async fn prepared(&self, lease: &Lease) -> Result<Answer, Trouble> {
        let client = lease.client();
        let mut tried = false;
        loop {
            let statement = client.prepare_typed_cached(self.declared.query.sql, &self.declared.types).await?;
            let sent = async { self.collect(client.query_raw(&statement, self.params.encoded()).await?).await }.await;
            match sent {
                // Nothing of it ran.
                Err(Trouble::Wire(error)) if !tried && self.is_outdated(client, &error) => tried = true,
                sent => return sent,
            }
        }
    }

    async fn transaction(&self, lease: &Lease, limit: Duration) -> Result<Answer, Trouble> {
        let client = lease.client();
        let read_only = self.pool.config().read_only;
        let access = if self.declared.query.kind == QueryKind::Write && !read_only { "" } else { " READ ONLY" };
        let limit = limit.as_millis().max(1);
        // Nothing is idle in this transaction: its COMMIT is sent with it.
        let begin = format!("BEGIN{access}; SET LOCAL statement_timeout = {limit}{}", self.pool.settings());
        // Named statements are prepared before, so that all of the flight is sent at once.
        let named = match self.pool.route() {
            Route::Pooled { prepared: true, .. } => self.named(client).await?,
            _ => None,
        };
        let statement = self.send(client, named.as_ref());
        let also = async {
            match &self.also {
                Some((sql, texts)) => client.execute_typed(sql, &[(texts, Type::TEXT_ARRAY)]).await.map(drop),
                None => Ok(()),
            }
        };
        // Polled in this order, each is sent at its first poll: nothing waits for an answer.
        let (began, answer, also, committed) =
            tokio::join!(biased; client.batch_execute(&begin), statement, also, client.batch_execute(self.pool.end_of_transaction()));
        began?;
        let answer = answer?;
        also?;
        committed?;
        Ok(answer)
    }

    /// The statement alone, in the transaction that is open on this connection.
    pub async fn within(&self, lease: &Lease) -> Result<Answer, Trouble> {
        let client = lease.client();
        let named = match self.pool.route() {
            Route::Direct | Route::Pooled { prepared: true, .. } => self.named(client).await?,
            Route::Pooled { .. } => None,
        };
        self.send(client, named.as_ref()).await
    }

    async fn named(&self, client: &deadpool_postgres::ClientWrapper) -> Result<Option<Statement>, Error> {
        if self.declared.unnamed.load(Ordering::Relaxed) {
            return Ok(None);
        }
        client.prepare_typed_cached(self.declared.query.sql, &self.declared.types).await.map(Some)
    }

    /// The tables of the statement have changed since it was prepared. A connection of one's own prepares it anew; behind a pooler every server has
    /// the plan of before under the name that the text has there, so from now on it goes without one.
    pub fn is_outdated(&self, client: &deadpool_postgres::ClientWrapper, error: &Error) -> bool {
        if !error.code().is_some_and(|code| matches!(code.code(), "0A000" | "26000")) {
            return false;
        }
        let _ = client.statement_cache.remove(self.declared.query.sql, &self.declared.types);
        if let Route::Pooled { prepared: true, .. } = self.pool.route() {
            self.declared.unnamed.store(true, Ordering::Relaxed);
        }
        true
    }

    async fn send(&self, client: &deadpool_postgres::ClientWrapper, named: Option<&Statement>) -> Result<Answer, Trouble> {
        let stream = match named {
            Some(named) => client.query_raw(named, self.params.encoded()).await?,
            None => {
                let params = self.params.encoded().into_iter().zip(self.declared.types.iter().cloned());
                client.query_typed_raw(self.declared.query.sql, params).await?
            }
        };
        self.collect(stream).await
    }

    async fn collect(&self, stream: RowStream) -> Result<Answer, Trouble> {
        let mut stream = std::pin::pin!(stream);
        // What a write returns is of a thing done: it is not refused for its size.
        let limit = if self.declared.query.kind == QueryKind::Write { usize::MAX } else { self.limit };
        let mut rows = RowsBuilder::new(limit);
        let mut refused = None;
        while let Some(row) = stream.try_next().await? {
            // Read to its end all the same: the connection stays of use.
            if refused.is_none() {
                refused = rows.push(&row).err();
            }
        }
        let affected = stream.rows_affected().unwrap_or(0);
        let rows = refused.map_or_else(|| rows.finish(), Err).map_err(Trouble::Ours)?;
        Ok(Answer { rows, affected })
    }
}

/// What came between.
pub(super) enum Trouble {
    Wire(Error),
    Ours(StoreError),
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Trouble::Wire(error)
    }
}
