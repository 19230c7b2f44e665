//! What every part of a run shares: the plan, the source, the connections' settings, and what happens to a row that does not fit.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Result, bail};
use tokio_postgres::Client;

use crate::migrate::rejects::Rejects;
use crate::migrate::report::Events;
use crate::model::{Event, Failure, Schema};
use crate::plan::{Plan, TablePlan};
use crate::postgres::{Address, connect};
use crate::sqlite::Snapshot;

/// What to do with a value that has no exact form in its column.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnMisfit {
    /// Set the row aside; a derived column has been widened before it comes to that.
    #[default]
    Reject,
    /// Stop.
    Fail,
}

/// How many rows may be set aside.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum MaxRejects {
    Rows(u64),
    /// Per cent of all rows.
    Percent(f64),
}

/// One run of `migrate`.
pub struct Run {
    pub id: String,
    pub plan: Plan,
    pub schema: Schema,
    pub snapshot: Arc<Snapshot>,
    pub address: Address,
    pub role: Option<String>,
    pub rejects: Rejects,
    pub on_misfit: OnMisfit,
    pub max_rejects: Option<MaxRejects>,
    pub rejected: AtomicU64,
    pub events: Events,
}

impl Run {
    pub fn send(&self, event: Event) {
        (self.events)(event);
    }

    /// Counts a row that is set aside; an error when that is not wanted, or no longer.
    pub fn reject(&self, table: &TablePlan, column: Option<&str>, reason: &str, rowid: i64) -> Result<()> {
        if self.on_misfit == OnMisfit::Fail {
            let place = column.map_or(String::new(), |column| format!("column {column:?}, "));
            bail!(
                Failure::new("misfit", format!("table {:?}: {place}rowid {rowid}: {reason}", table.source))
                    .hint("Widen the column (the default), or set such rows aside with --on-misfit reject.")
                    .target_changed(false)
            );
        }
        let rejected = self.rejected.fetch_add(1, Ordering::Relaxed) + 1;
        let total: u64 = self.plan.tables.iter().map(|table| table.rows).sum();
        let most = match self.max_rejects {
            None => return Ok(()),
            Some(MaxRejects::Rows(rows)) => rows,
            Some(MaxRejects::Percent(percent)) => (total as f64 * percent / 100.0) as u64,
        };
        if rejected > most {
            bail!(
                Failure::new("too_many_rejects", format!("more than {most} rows do not fit; the last: table {:?}, {reason}", table.source))
                    .hint("Look at the rejects, change the mapping, or raise --max-rejects.")
                    .target_changed(false)
            );
        }
        Ok(())
    }

    /// A connection that is set up for moving data.
    pub async fn connect(&self) -> Result<Client> {
        session(&self.address, self.role.as_deref()).await
    }
}

/// Connects with the settings that every session of `migrate` and `verify` has: UTC, ISO dates, no timeout but for locks.
pub async fn session(address: &Address, role: Option<&str>) -> Result<Client> {
    let client = connect(address).await?;
    client
        .batch_execute(
            "SET timezone = 'UTC'; SET datestyle = 'ISO, MDY'; SET intervalstyle = 'iso_8601'; SET extra_float_digits = 1; \
             SET bytea_output = 'hex'; SET standard_conforming_strings = on; SET client_min_messages = warning; \
             SET statement_timeout = 0; SET lock_timeout = '10s'; SET idle_in_transaction_session_timeout = 0; SET row_security = off; \
             SET synchronous_commit = off",
        )
        .await
        .map_err(|error| sql_failure(error.into()))?;
    if let Some(role) = role {
        client.batch_execute(&format!("SET ROLE {}", crate::model::Name::new(role))).await.map_err(|error| sql_failure(error.into()))?;
    }
    Ok(client)
}

/// An error of PostgreSQL as a failure with its SQLSTATE and, where there is one, a hint.
pub fn sql_failure(error: anyhow::Error) -> anyhow::Error {
    if error.downcast_ref::<Failure>().is_some() {
        return error;
    }
    let Some(postgres) = error.chain().find_map(|cause| cause.downcast_ref::<tokio_postgres::Error>()) else { return error };
    let Some(database) = postgres.as_db_error() else { return error };
    let code = database.code().code();
    let (name, hint) = match code {
        "42501" => ("no_permission", Some("Connect as a user who may do this, or have the right granted.")),
        "53100" => ("disk_full", Some("Make room on the target's disk, then run the same command again.")),
        "53200" => ("out_of_memory", Some("The target is out of memory or locks; see its log.")),
        "55P03" => ("locked", Some("Another session holds a lock on the object; `candlefish stats locks` shows which.")),
        "57P01" | "57P02" | "57P03" => ("target_shut_down", Some("Start the target again, then run the same command again.")),
        _ => ("sql_error", database.hint()),
    };
    let mut message = database.message().to_string();
    if let Some(detail) = database.detail() {
        message.push_str(&format!(" ({detail})"));
    }
    let mut failure = Failure::new(name, message).sqlstate(code);
    failure.hint = hint.map(str::to_string);
    failure.into()
}
