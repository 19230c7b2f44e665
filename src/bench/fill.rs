//! `bench init` and `bench clean`: the data of the built-in workloads, in a schema of its own.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::model::Failure;
use crate::postgres::{Address, Client, SqlError, Transaction, connect, sql_failure};
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

/// What `init` makes, in the order in which it can be dropped by itself. Never with CASCADE: what depends on it elsewhere is somebody's own.
const DROP: [&str; 2] = [
    "DROP MATERIALIZED VIEW IF EXISTS candlefish_bench.dashboard_service_health",
    "DROP TABLE IF EXISTS candlefish_bench.services, candlefish_bench.users, candlefish_bench.sessions, candlefish_bench.dashboards, \
     candlefish_bench.health_metrics, candlefish_bench.pgbench_branches, candlefish_bench.pgbench_tellers, candlefish_bench.pgbench_accounts, \
     candlefish_bench.pgbench_history, candlefish_bench.filled_by_candlefish",
];

/// One at a time fills the schema or drops it. Within a transaction, which a pooler leaves together.
const LOCK: &str = "SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0; SET LOCAL client_min_messages = warning; \
    SELECT pg_advisory_xact_lock(hashtextextended('candlefish bench init', 0)); SET LOCAL lock_timeout = '10s'";

/// How the schema is filled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filling {
    /// What stands there is replaced.
    Anew,
    /// Unless it is filled already, as by another run that began at the same time.
    IfMissing,
}

/// Fills the schema, in one transaction: readers see all of it or nothing. In a database of candlefish's own, statements are counted from now on.
pub async fn init(address: &Address, scale: u32, own: bool, filling: Filling) -> Result<()> {
    let mut client = connect(address).await?;
    let transaction = begin(&mut client).await?;
    let known = filled(transaction.client()).await?;
    if known.is_some() && filling == Filling::IfMissing {
        return Ok(());
    }
    if own {
        let sql = "CREATE EXTENSION IF NOT EXISTS pg_stat_statements";
        transaction.batch_execute(sql).await.map_err(|error| sql_failure(error.into())).context("let the server count statements")?;
    }
    if known.is_some() {
        nobody_runs(transaction.client()).await?;
        drop_own(&transaction).await?;
    }
    let fill = async {
        if known.is_none() {
            transaction.batch_execute("CREATE SCHEMA candlefish_bench").await?;
        }
        transaction.batch_execute(&format!("SET LOCAL candlefish_bench.scale = {scale}")).await?;
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

async fn begin(client: &mut Client) -> Result<Transaction<'_>> {
    let transaction = client.transaction().await.context("begin")?;
    transaction.batch_execute(LOCK).await.map_err(|error| sql_failure(error.into())).context("wait for another `bench init`")?;
    Ok(transaction)
}

/// The sessions of a run that has just ended may take so long to end.
const ENDING: Duration = Duration::from_secs(1);
const LOOKS_EVERY: Duration = Duration::from_millis(50);

/// A run whose tables go would go on, and count errors.
async fn nobody_runs(client: &Client) -> Result<()> {
    let until = Instant::now() + ENDING;
    let names = loop {
        // Within a transaction it would be the same answer again.
        client.batch_execute("SELECT pg_stat_clear_snapshot()").await.context("ask whether a load test runs")?;
        let rows = client.query_typed(include_str!("queries/running.sql"), &[]).await.context("ask whether a load test runs")?;
        let names: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
        if names.is_empty() {
            return Ok(());
        }
        if Instant::now() > until {
            break names;
        }
        tokio::time::sleep(LOOKS_EVERY).await;
    };
    let failure = Failure::new("bench_running", format!("a load test runs on this database: {}", names.join(", ")));
    bail!(failure.hint("Wait until it has ended, or end it."))
}

async fn drop_own(transaction: &Transaction<'_>) -> Result<()> {
    for sql in DROP {
        transaction.batch_execute(sql).await.map_err(|error| refused(error.into())).context("drop what bench init made")?;
    }
    Ok(())
}

fn refused(error: anyhow::Error) -> anyhow::Error {
    let state = |error: &anyhow::Error| error.downcast_ref::<SqlError>().and_then(SqlError::code).map(|state| state.code().to_string());
    match state(&error).as_deref() {
        Some("42P06") => {
            let failure = Failure::new("schema_taken", "there is a schema candlefish_bench that `bench init` did not make");
            failure.hint("Rename it or drop it; candlefish touches only what it made.").into()
        }
        Some("2BP01") => {
            let said = error.downcast_ref::<SqlError>().and_then(SqlError::as_db_error);
            let dependents = said.and_then(|said| said.detail()).unwrap_or_default().lines().collect::<Vec<_>>().join("; ");
            let failure = Failure::new("has_dependents", format!("something else depends on it: {dependents}")).sqlstate("2BP01");
            failure.hint("Drop it, or move it away, and run again; candlefish drops only what it made.").into()
        }
        _ => sql_failure(error),
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
    let mut client = connect(address).await?;
    let transaction = begin(&mut client).await?;
    nobody_runs(transaction.client()).await?;
    let schema = filled(transaction.client()).await?.is_some();
    if schema {
        drop_own(&transaction).await?;
        let dropped = transaction.batch_execute("DROP SCHEMA candlefish_bench").await;
        dropped.map_err(|error| refused(error.into())).context("drop the schema candlefish_bench")?;
    }
    transaction.commit().await.context("drop the schema candlefish_bench")?;
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
