//! Sessions that move or read data, and PostgreSQL's errors as failures.

use anyhow::Result;
use tokio_postgres::Client;
use tokio_postgres::error::{DbError, SqlState};

use crate::model::{Failure, Name};
use crate::postgres::{Address, connect, is_transient};

/// Money has a point wherever it keeps cents: in many locales `1.00` is a hundred, and is written `1,00 €`.
pub(super) const MONEY: &str = "SELECT set_config('lc_monetary', 'C', false) WHERE scale('1'::text::money::numeric) = 2";

/// What a text means as a value, whatever the database's own settings: `NULL` in an array, a piece of XML.
pub(super) const TEXTS: &str = "SET array_nulls = on; SET xmloption = content";

/// Timeouts that some versions have, and that would end a long copy or a session that waits for its turn.
const LATER_TIMEOUTS: &str =
    "SELECT set_config(name, '0', false) FROM pg_settings WHERE name IN ('transaction_timeout', 'idle_session_timeout')";

/// Connects with the settings that every session of `migrate` and `verify` has: UTC, ISO dates, money and texts as said above, no timeout but for
/// locks; and no compiling of queries that are each run once, and do little with each of many rows.
pub async fn session(address: &Address, role: Option<&str>) -> Result<Client> {
    let client = connect(address).await?;
    client
        .batch_execute(&format!(
            "SET timezone = 'UTC'; SET datestyle = 'ISO, MDY'; SET intervalstyle = 'iso_8601'; SET extra_float_digits = 1; \
             SET bytea_output = 'hex'; SET standard_conforming_strings = on; SET client_min_messages = warning; \
             SET statement_timeout = 0; SET lock_timeout = '10s'; SET idle_in_transaction_session_timeout = 0; SET row_security = off; \
             SET synchronous_commit = off; SET jit = off; {TEXTS}; {MONEY}; {LATER_TIMEOUTS}",
        ))
        .await
        .map_err(|error| sql_failure(error.into()))?;
    if let Some(role) = role {
        client.batch_execute(&format!("SET ROLE {}", Name::new(role))).await.map_err(|error| sql_failure(error.into()))?;
    }
    Ok(client)
}

/// An error of PostgreSQL as a failure with its SQLSTATE and, where there is one, a hint; its contexts stay.
pub fn sql_failure(error: anyhow::Error) -> anyhow::Error {
    if error.downcast_ref::<Failure>().is_some() {
        return error;
    }
    let contexts = |error: &anyhow::Error| -> Vec<String> {
        error.chain().take_while(|cause| cause.downcast_ref::<tokio_postgres::Error>().is_none()).map(ToString::to_string).collect()
    };
    let Some(database) = database_error(&error) else {
        let broken = error.chain().find_map(|cause| cause.downcast_ref::<tokio_postgres::Error>()).filter(|cause| is_transient(cause));
        let Some(broken) = broken else { return error };
        let failure = Failure::new("connection_lost", format!("the connection to PostgreSQL broke ({broken})"))
            .hint("Is the server up? Its log says why it ended the session.");
        return contexts(&error).into_iter().rev().fold(failure.into(), anyhow::Error::context);
    };
    let code = database.code().code();
    let (name, hint) = match code {
        "42501" => ("no_permission", Some("Connect as a user who may do this, or have the right granted.")),
        "53100" => ("disk_full", Some("Make room on the target's disk (df on the server; tablespaces and WAL count).")),
        "53200" => ("out_of_memory", Some("The target is out of memory or locks; see its log.")),
        "55P03" => ("locked", Some("Another session holds a lock on the object: pg_stat_activity and pg_blocking_pids() tell which.")),
        "57P01" | "57P02" | "57P03" => ("target_shut_down", Some("Start the target again.")),
        _ => ("sql_error", database.hint()),
    };
    let mut message = database.message().to_string();
    if let Some(detail) = database.detail() {
        message.push_str(&format!(" ({detail})"));
    }
    let mut failure = Failure::new(name, message).sqlstate(code);
    failure.hint = hint.map(str::to_string);
    contexts(&error).into_iter().rev().fold(failure.into(), anyhow::Error::context)
}

/// True when PostgreSQL refuses an object for what it is or for the rows that it stands on; false when the connection, the server, its disk, its
/// memory or somebody's lock is to blame, so that the same statement may succeed another time.
pub fn is_about_object(error: &tokio_postgres::Error) -> bool {
    let Some(refusal) = error.as_db_error() else { return false };
    let code = refusal.code().code();
    !["08", "25", "40", "53", "57", "58", "XX"].iter().any(|class| code.starts_with(class)) && code != "55P03"
}

/// The same of an input function that was asked of a value; that of an extension may call a value that it cannot read an internal error (hstore does).
pub fn is_about_value(error: &tokio_postgres::Error) -> bool {
    is_about_object(error) || error.code() == Some(&SqlState::INTERNAL_ERROR)
}

/// True where a value or a row is larger than PostgreSQL lets it be, such as in a B-tree.
pub fn is_beyond_limit(error: &tokio_postgres::Error) -> bool {
    error.code() == Some(&SqlState::PROGRAM_LIMIT_EXCEEDED)
}

/// What PostgreSQL itself said, wherever it stands in the chain.
pub fn database_error(error: &anyhow::Error) -> Option<&DbError> {
    error.chain().find_map(|cause| cause.downcast_ref::<tokio_postgres::Error>()).and_then(|error| error.as_db_error())
}
