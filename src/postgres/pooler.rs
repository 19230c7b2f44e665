//! Whether a connection is a session of its own, or a place in a pooler that hands servers from one to another.

use anyhow::{Context as _, Result};
use tokio_postgres::{Client, SimpleQueryMessage};

use crate::model::Failure;
use crate::postgres::{Address, connect};

/// What stands between a client and PostgreSQL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// Nothing: a connection is a session of its own.
    Direct,
    /// PgBouncer, taken to be in transaction mode.
    Pooled {
        /// None when its console does not let this user in.
        version: Option<(u32, u32)>,
        /// True when it carries named prepared statements (1.21, with `max_prepared_statements` above 0).
        prepared: bool,
    },
}

/// Asks PgBouncer's console, the database `pgbouncer` of every PgBouncer. PostgreSQL itself has no such database.
pub async fn route(address: &Address) -> Result<Route> {
    let console = match connect(&address.console()).await {
        Ok(console) => console,
        Err(error) => match error.downcast_ref::<Failure>() {
            Some(failure) if failure.sqlstate.as_deref() == Some("3D000") => return Ok(Route::Direct),
            // Its console has no place for this user: so it is one.
            Some(failure) if failure.sqlstate.as_deref() == Some("08P01") => return Ok(Route::Pooled { version: None, prepared: false }),
            // PostgreSQL's own rules may refuse the database before looking for it.
            Some(failure) if failure.sqlstate.as_deref() == Some("28000") => return Ok(Route::Direct),
            _ => return Err(error),
        },
    };
    // A database of that name in PostgreSQL has no such parameter.
    let Ok(said) = console.simple_query("SHOW VERSION").await else { return Ok(Route::Direct) };
    let version = rows(&said).find_map(|row| version(row.get(0)?));
    let config = console.simple_query("SHOW CONFIG").await.context("read PgBouncer's settings")?;
    let kept = rows(&config).find(|row| row.get(0) == Some("max_prepared_statements")).and_then(|row| row.get(1)?.parse::<u32>().ok());
    Ok(Route::Pooled { version, prepared: version >= Some((1, 21)) && kept.is_some_and(|kept| kept > 0) })
}

fn rows(messages: &[SimpleQueryMessage]) -> impl Iterator<Item = &tokio_postgres::SimpleQueryRow> {
    messages.iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    })
}

/// `PgBouncer 1.18.0`
pub(super) fn version(said: &str) -> Option<(u32, u32)> {
    let mut parts = said.split_whitespace().nth(1)?.split('.').map(str::parse::<u32>);
    Some((parts.next()?.ok()?, parts.next()?.ok()?))
}

/// True behind a pooler in transaction or statement mode: two connections meet in one server process, or one wanders to another.
pub async fn is_pooled(client: &Client, address: &Address) -> Result<bool> {
    let before = server_process(client).await?;
    let neighbour = connect(address).await?;
    let beside = server_process(&neighbour).await?;
    let after = server_process(client).await?;
    Ok(before == beside || before != after)
}

/// Asked by the simple protocol: a prepared statement might be left on another server.
async fn server_process(client: &Client) -> Result<Option<String>> {
    let messages = client.simple_query("SELECT pg_backend_pid()").await.context("ask for the server process")?;
    Ok(messages.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0).map(str::to_string),
        _ => None,
    }))
}
