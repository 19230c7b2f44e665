//! Sessions that move or read data, and PostgreSQL's errors as failures.

use anyhow::Result;
use tokio_postgres::Client;
use tokio_postgres::error::DbError;

use crate::model::{Failure, Name};
use crate::postgres::{Address, connect};

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
        client.batch_execute(&format!("SET ROLE {}", Name::new(role))).await.map_err(|error| sql_failure(error.into()))?;
    }
    Ok(client)
}

/// An error of PostgreSQL as a failure with its SQLSTATE and, where there is one, a hint.
pub fn sql_failure(error: anyhow::Error) -> anyhow::Error {
    if error.downcast_ref::<Failure>().is_some() {
        return error;
    }
    let Some(database) = database_error(&error) else { return error };
    let code = database.code().code();
    let (name, hint) = match code {
        "42501" => ("no_permission", Some("Connect as a user who may do this, or have the right granted.")),
        "53100" => ("disk_full", Some("Make room on the target's disk, then run the same command again.")),
        "53200" => ("out_of_memory", Some("The target is out of memory or locks; see its log.")),
        "55P03" => ("locked", Some("Another session holds a lock on the object: pg_stat_activity and pg_blocking_pids() tell which.")),
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

/// What PostgreSQL itself said, wherever it stands in the chain.
pub fn database_error(error: &anyhow::Error) -> Option<&DbError> {
    error.chain().find_map(|cause| cause.downcast_ref::<tokio_postgres::Error>()).and_then(|error| error.as_db_error())
}
