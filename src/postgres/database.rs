//! The database itself (`--create-db`), and how many rows a table has.

use anyhow::{Context as _, Result};

use crate::model::{Failure, Name, QualifiedName};
use crate::postgres::{Address, connect, statement};

/// Creates the address's database if it does not exist; asks by way of the database `postgres`, which every server has.
pub async fn create_database(address: &Address) -> Result<()> {
    let client = connect(&address.with_database("postgres")).await.context("look for the database")?;
    let name = address.database();
    if client.query_opt("SELECT FROM pg_database WHERE datname = $1", &[&name]).await?.is_some() {
        return Ok(());
    }
    client.batch_execute(&format!("CREATE DATABASE {} ENCODING 'UTF8' TEMPLATE template0", Name::new(name))).await.map_err(|error| {
        let state = error.code().map(|code| code.code().to_string()).unwrap_or_default();
        let message = error.as_db_error().map_or_else(|| error.to_string(), |error| error.message().to_string());
        let failure = Failure::new("no_create_right", format!("database {name:?} cannot be created: {message}"));
        anyhow::Error::new(failure.hint("Have it created, or connect as a user with CREATEDB.").sqlstate(state))
    })
}

/// The number of rows of a table, counted.
pub async fn count_rows(address: &Address, table: &QualifiedName) -> Result<u64> {
    let client = connect(address).await?;
    let row = client.query_one(&statement::count_rows(table), &[]).await.with_context(|| format!("count the rows of {table}"))?;
    Ok(row.get::<_, i64>(0) as u64)
}
