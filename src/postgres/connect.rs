//! One connection, made and described.

use anyhow::{Context as _, Result};
use tokio_postgres::{Client, NoTls};

use crate::postgres::Address;

/// Connects; the connection's task ends with its client.
pub async fn connect(address: &Address) -> Result<Client> {
    let (client, connection) = address.config.connect(NoTls).await.context("connect to PostgreSQL")?;
    tokio::spawn(async move {
        // The client's own calls report what broke the connection.
        let _ = connection.await;
    });
    Ok(client)
}
