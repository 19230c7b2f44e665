//! The outbox's table and the function of its triggers: made where they are missing, and taken away by who made them.

use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio_postgres::Client;
use tokio_postgres::types::Type;

use crate::model::Failure;
use crate::postgres::{self, Address};

/// Two instances that start together would both make it.
const LOCK: &str = "SELECT pg_advisory_xact_lock(6312026)";

/// Makes them where they are missing. Who is no application says who it is: by that [`remove_outbox`] knows what it may take away.
pub async fn make_outbox(address: &Address, maker: &str) -> Result<()> {
    make(&mut postgres::connect(address).await?, Some(maker)).await
}

pub(super) async fn make(client: &mut Client, maker: Option<&str>) -> Result<()> {
    // Statements without a name: behind a pooler it may be another client's already.
    let is_there = "SELECT to_regclass('candlefish.cache_outbox') IS NOT NULL, to_regnamespace('candlefish') IS NOT NULL";
    let there = |rows: Vec<tokio_postgres::Row>| rows.first().map_or((false, false), |row| (row.get(0), row.get(1)));
    if let (true, _) = there(client.query_typed(is_there, &[]).await?) {
        return Ok(());
    }
    let made = async {
        let transaction = client.transaction().await?;
        transaction.batch_execute(LOCK).await?;
        let (table, schema) = there(transaction.query_typed(is_there, &[]).await?);
        if !table {
            transaction.batch_execute(include_str!("queries/outbox.sql")).await?;
            if let Some(maker) = maker {
                let remark = maker.replace('\'', "''");
                transaction.batch_execute(&format!("COMMENT ON TABLE candlefish.cache_outbox IS '{remark}'")).await?;
                if !schema {
                    transaction.batch_execute(&format!("COMMENT ON SCHEMA candlefish IS '{remark}'")).await?;
                }
            }
        }
        transaction.commit().await
    };
    made.await.map_err(|error| postgres::sql_failure(error.into())).context("make the outbox of the data layer").map_err(|error| {
        Failure::new("no_outbox", format!("{error:#}")).hint(
            "Have src/store/queries/outbox.sql run once by a role that may, and SELECT, INSERT and DELETE on candlefish.cache_outbox granted.",
        ).into()
    })
}

/// What became of an outbox that was to be taken away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OutboxRemoval {
    NotThere,
    Removed,
    /// Why it is still there.
    Left(String),
}

/// An instance reads its outbox three times a second, and PostgreSQL counts the readings up to a second later.
const WATCHED: Duration = Duration::from_millis(1600);

/// Takes away what [`make_outbox`] made under this name, unless somebody uses it by now.
pub async fn remove_outbox(address: &Address, maker: &str) -> Result<OutboxRemoval> {
    let mut client = postgres::connect(address).await?;
    let rows =
        client.query_typed(include_str!("queries/outbox_about.sql"), &[(&maker, Type::TEXT)]).await.context("ask about the outbox")?;
    let Some(about) = rows.first() else { return Ok(OutboxRemoval::NotThere) };
    let left = |why: &str| Ok(OutboxRemoval::Left(why.to_string()));
    let (is_made_by, has_triggers, readings): (bool, bool, i64) = (about.get(0), about.get(1), about.get(2));
    if !is_made_by {
        return left("nothing says that it was made here");
    }
    if has_triggers {
        return left("triggers of other tables write to it");
    }
    tokio::time::sleep(WATCHED).await;
    let rows =
        client.query_typed(include_str!("queries/outbox_about.sql"), &[(&maker, Type::TEXT)]).await.context("ask about the outbox")?;
    if rows.first().is_some_and(|about| about.get::<_, i64>(2) != readings) {
        return left("an instance of the data layer is reading it");
    }
    let removed = async {
        let transaction = client.transaction().await?;
        transaction.batch_execute("SET LOCAL lock_timeout = '10s'; SET LOCAL client_min_messages = warning").await?;
        transaction.batch_execute("DROP TABLE candlefish.cache_outbox; DROP FUNCTION candlefish.cache_changed()").await?;
        let rows = transaction.query_typed(include_str!("queries/outbox_schema.sql"), &[(&maker, Type::TEXT)]).await?;
        if rows.first().is_some_and(|row| row.get(0)) {
            transaction.batch_execute("DROP SCHEMA candlefish").await?;
        }
        transaction.commit().await
    };
    removed.await.map_err(|error| postgres::sql_failure(error.into())).context("drop the outbox of the data layer")?;
    Ok(OutboxRemoval::Removed)
}
