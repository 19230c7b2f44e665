//! `bench init` and `bench clean`: the data of the built-in workloads, in a schema of its own.

use std::path::Path;

use anyhow::{Context as _, Result, bail};

use crate::model::Failure;
use crate::postgres::{Address, Client, connect, sql_failure};
use crate::sqlite;
use crate::store::{OutboxRemoval, remove_outbox};

/// The schema of everything that `bench` makes.
pub const SCHEMA: &str = "candlefish_bench";

/// What stands as a remark on the outbox that a run has made.
pub const MAKER: &str = "made by candlefish bench";

/// What the names of a run's instances begin with; what they leave in an outbox says so.
pub const NAME: &str = "bench";

const MARKER: &str = include_str!("queries/marker.sql");
const FILL: [&str; 2] = [include_str!("queries/fill_registry.sql"), include_str!("queries/fill_pgbench.sql")];

/// The scale that `bench init` has filled; none where it has not.
pub async fn filled_scale(address: &Address) -> Result<Option<u32>> {
    let client = connect(address).await?;
    filled(&client).await
}

async fn filled(client: &Client) -> Result<Option<u32>> {
    // Statements without a name: behind a pooler it may be another client's already.
    let exists = client.query_typed("SELECT to_regclass('candlefish_bench.filled_by_candlefish') IS NOT NULL", &[]).await?;
    if !exists.iter().any(|row| row.get(0)) {
        return Ok(None);
    }
    let rows = client.query_typed(MARKER, &[]).await.context("read what bench init has filled")?;
    Ok(rows.first().and_then(|row| u32::try_from(row.get::<_, i32>(0)).ok()))
}

/// Fills the schema anew, in one transaction: readers see all of it or nothing. In a database of candlefish's own, statements are counted from now on.
pub async fn init(address: &Address, scale: u32, own: bool) -> Result<()> {
    let mut client = connect(address).await?;
    if own {
        let sql = "SET client_min_messages = warning; CREATE EXTENSION IF NOT EXISTS pg_stat_statements; RESET client_min_messages";
        client.batch_execute(sql).await.map_err(|error| sql_failure(error.into())).context("let the server count statements")?;
    }
    let known = filled(&client).await?;
    let fill = async {
        let transaction = client.transaction().await?;
        transaction
            .batch_execute("SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = '10s'; SET LOCAL client_min_messages = warning")
            .await?;
        if known.is_some() {
            transaction.batch_execute("DROP SCHEMA candlefish_bench CASCADE").await?;
        }
        transaction.batch_execute(&format!("CREATE SCHEMA candlefish_bench; SET LOCAL candlefish_bench.scale = {scale}")).await?;
        for sql in FILL {
            transaction.batch_execute(sql).await?;
        }
        let marker = format!("CREATE TABLE candlefish_bench.filled_by_candlefish AS SELECT {scale} AS scale");
        transaction.batch_execute(&marker).await?;
        transaction.commit().await
    };
    fill.await.map_err(|error| refused(anyhow::Error::new(error))).context("fill the schema candlefish_bench")?;
    // Outside the transaction, where VACUUM may run.
    for table in
        ["services", "users", "sessions", "dashboards", "health_metrics", "pgbench_branches", "pgbench_tellers", "pgbench_accounts"]
    {
        client.batch_execute(&format!("VACUUM (ANALYZE) candlefish_bench.{table}")).await.context("vacuum the new tables")?;
    }
    Ok(())
}

fn refused(error: anyhow::Error) -> anyhow::Error {
    let error = sql_failure(error);
    match error.downcast_ref::<Failure>() {
        Some(failure) if failure.sqlstate.as_deref() == Some("42P06") => {
            let failure = Failure::new("schema_taken", "there is a schema candlefish_bench that `bench init` did not make");
            failure.hint("Rename it or drop it; candlefish touches only what it made.").into()
        }
        _ => error,
    }
}

/// What `clean` found to do.
pub struct Cleaned {
    /// The schema was there, and `init` had made it.
    pub schema: bool,
    /// The data layer's own table, which runs make where it is missing.
    pub outbox: OutboxRemoval,
}

/// Drops the schema, when `init` made it, and the data layer's outbox, when a run made it and nobody else has come to use it.
pub async fn clean(address: &Address) -> Result<Cleaned> {
    let client = connect(address).await?;
    let schema = filled(&client).await?.is_some();
    if schema {
        let drop = "SET lock_timeout = '10s'; SET client_min_messages = warning; DROP SCHEMA candlefish_bench CASCADE";
        client.batch_execute(drop).await.map_err(|error| sql_failure(error.into())).context("drop the schema candlefish_bench")?;
    }
    Ok(Cleaned { schema, outbox: remove_outbox(address, MAKER, NAME).await? })
}

/// The failure of a built-in workload without its data.
pub fn not_filled(address: &Address) -> Failure {
    Failure::new("bench_not_filled", format!("the workload's tables are not in {}", address.database()))
        .hint("Fill them first, in a schema of their own: candlefish bench init --scale 1")
}

/// The same rows in a SQLite file: what the application on a file would have.
pub async fn copy_to_sqlite(address: &Address, path: &Path) -> Result<()> {
    let client = connect(address).await?;
    let Some(scale) = filled(&client).await? else { bail!(not_filled(address)) };
    let path = path.to_path_buf();
    let fill = move || {
        let session = sqlite::Session::open(&path)?;
        session.execute_all(&format!(
            "PRAGMA synchronous = OFF; BEGIN; CREATE TABLE bench_scale AS SELECT {scale} AS scale; {} COMMIT; ANALYZE; PRAGMA synchronous = FULL",
            include_str!("queries/fill_registry.sqlite.sql")
        ))
    };
    tokio::task::spawn_blocking(fill).await.context("fill the SQLite copy")?
}

/// A copy of a file as it is now, with what its journal holds; the file itself is only read.
pub async fn copy_file(source: &Path, path: &Path) -> Result<()> {
    let (source, path) = (source.to_path_buf(), path.to_path_buf());
    let copy = move || sqlite::copy(&source, &path).with_context(|| format!("copy {}", source.display()));
    tokio::task::spawn_blocking(copy).await.context("copy the source")?
}
