//! PgBouncer's console: its tables by name, because their columns grow from release to release.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio_postgres::{Client, SimpleQueryMessage};

use crate::postgres::pooler::version;
use crate::postgres::{Address, connect};

/// A connection to the database `pgbouncer`, which understands SHOW and the simple protocol alone.
pub struct Console {
    client: Client,
}

/// A row of a SHOW: text by the column's name.
pub type ConsoleRow = HashMap<String, String>;

impl Console {
    pub async fn connect(pooler: &Address) -> Result<Self> {
        let mut address =
            pooler.without_options().console().with_connect_timeout(Duration::from_secs(5)).with_application_name("candlefish");
        // The console refuses SET, and startup options with it.
        address.session.clear();
        Ok(Console { client: connect(&address).await.context("open PgBouncer's console")? })
    }

    /// True once the connection is gone.
    pub fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    /// `(1, 18)` of 1.18.0.
    pub async fn version(&self) -> Result<Option<(u32, u32)>> {
        let said = self.show("VERSION").await?;
        Ok(said.first().and_then(|row| version(row.values().next()?)))
    }

    /// `SHOW what`: POOLS, DATABASES, SERVERS, CONFIG, VERSION.
    pub async fn show(&self, what: &str) -> Result<Vec<ConsoleRow>> {
        let sql = format!("SHOW {what}");
        let messages = tokio::time::timeout(Duration::from_secs(5), self.client.simple_query(&sql))
            .await
            .with_context(|| format!("SHOW {what}: no answer within 5 s"))?;
        let messages = messages.with_context(|| format!("SHOW {what}"))?;
        Ok(messages
            .iter()
            .filter_map(|message| match message {
                SimpleQueryMessage::Row(row) => Some(row),
                _ => None,
            })
            .map(|row| {
                let columns = row.columns().iter().enumerate();
                columns.filter_map(|(at, column)| Some((column.name().to_string(), row.get(at)?.to_string()))).collect()
            })
            .collect())
    }
}
