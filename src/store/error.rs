//! What a caller of the store can meet, told apart by what the caller can do about it.

use std::fmt;
use std::time::Duration;

use crate::model::Failure;
use crate::postgres;

#[derive(Clone, Debug)]
pub enum StoreError {
    /// Too many callers wait for a connection already; nothing was sent. Shed load, or raise the pool's size.
    PoolExhausted { waiting: usize },
    /// The caller's deadline passed. A write whose deadline passed after it was sent is an [`StoreError::OutcomeUnknown`] instead.
    DeadlineExceeded { waiting_for: &'static str, after: Duration },
    /// No connection could be made.
    Unreachable(Failure),
    /// The connection broke under a read, and the retries are used up.
    ConnectionLost(String),
    /// PostgreSQL refused, and nothing of the statement remains.
    Database { sqlstate: String, message: String },
    /// A write was sent and nobody knows whether it was committed. It was not repeated.
    OutcomeUnknown(String),
    /// A write with a `required` tag, and Redis cannot take the invalidation: nothing was changed.
    InvalidationRefused,
    /// The answer is larger than the store takes, in bytes.
    TooLarge { limit: usize },
    /// The declaration and its use disagree; a mistake in the program.
    Misuse(String),
}

impl StoreError {
    /// True when the database was slow, down or out of reach: a stale answer is better than this.
    pub fn is_outage(&self) -> bool {
        match self {
            StoreError::PoolExhausted { .. }
            | StoreError::DeadlineExceeded { .. }
            | StoreError::Unreachable(_)
            | StoreError::ConnectionLost(_) => true,
            // Killed by its timeout, or by a shutdown.
            StoreError::Database { sqlstate, .. } => sqlstate.starts_with("57") || sqlstate.starts_with("53"),
            _ => false,
        }
    }

    /// True when no server could be asked, and one may be back in a moment.
    pub(super) fn is_away(&self) -> bool {
        match self {
            StoreError::Unreachable(failure) => ["target_unreachable", "target_not_ready", "too_many_connections"].contains(&failure.code),
            _ => false,
        }
    }

    pub(super) fn misuse(message: impl Into<String>) -> Self {
        StoreError::Misuse(message.into())
    }

    /// The error of a read, or of a write that was certainly not committed.
    pub(super) fn of(error: &tokio_postgres::Error) -> Self {
        match error.as_db_error() {
            // A pooler's word for a server that it cannot reach: it has sent nothing.
            Some(refusal) if refusal.code().code() == "08P01" && AWAY.iter().any(|words| refusal.message().contains(words)) => {
                StoreError::Unreachable(Failure::new(
                    "target_not_ready",
                    format!("the pooler cannot reach PostgreSQL: {}", refusal.message()),
                ))
            }
            Some(refusal) => StoreError::Database { sqlstate: refusal.code().code().to_string(), message: refusal.message().to_string() },
            None if error.is_closed() || postgres::is_transient(error) => StoreError::ConnectionLost(chain(error)),
            None => StoreError::Misuse(chain(error)),
        }
    }
}

/// What PgBouncer says of a server that it cannot reach, before a client's query has gone anywhere.
const AWAY: [&str; 4] = ["cannot connect to server", "server login", "query_wait_timeout", "the database system is"];

/// An error with its causes, in one line. Values of parameters are in none of them.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StoreError::PoolExhausted { waiting } => write!(f, "{waiting} callers wait for a connection already"),
            StoreError::DeadlineExceeded { waiting_for, after } => {
                write!(f, "the deadline passed after {after:.0?}, waiting for {waiting_for}")
            }
            StoreError::Unreachable(failure) => write!(f, "{failure}"),
            StoreError::ConnectionLost(why) => write!(f, "the connection to PostgreSQL broke: {why}"),
            StoreError::Database { message, .. } => f.write_str(message),
            StoreError::OutcomeUnknown(why) => write!(f, "a write was sent, and whether it was committed is not known: {why}"),
            StoreError::InvalidationRefused => {
                f.write_str("Redis cannot take the invalidation that this write requires; nothing was changed")
            }
            StoreError::TooLarge { limit } => write!(f, "the answer is larger than {limit} bytes"),
            StoreError::Misuse(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for StoreError {}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        let message = error.to_string();
        match error {
            StoreError::PoolExhausted { .. } => {
                Failure::new("pool_exhausted", message).hint("Raise the pool's size, or send fewer queries at once.")
            }
            StoreError::DeadlineExceeded { .. } => Failure::new("deadline_exceeded", message),
            StoreError::Unreachable(failure) => failure,
            StoreError::ConnectionLost(_) => Failure::new("connection_lost", message),
            StoreError::Database { sqlstate, .. } => Failure::new("sql_error", message).sqlstate(sqlstate),
            StoreError::OutcomeUnknown(_) => {
                Failure::new("outcome_unknown", message).hint("Look whether the change is there before making it again.")
            }
            StoreError::InvalidationRefused => Failure::new("invalidation_refused", message).hint("Try again when Redis is back."),
            StoreError::TooLarge { .. } => Failure::new("answer_too_large", message).hint("Ask for fewer rows at a time."),
            StoreError::Misuse(_) => Failure::new("misuse", message),
        }
    }
}
