//! Whether a connection is a session of its own, or a place in a pooler that hands servers from one to another.

use anyhow::{Context as _, Result};
use tokio_postgres::{Client, SimpleQueryMessage};

use crate::postgres::{Address, connect};

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
