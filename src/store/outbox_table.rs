//! The outbox's table and the function of its triggers: made where they are missing, and taken away by who made them.

use std::time::{Duration, Instant};

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

/// The last of the tags in a row that an instance of this name left, which is no part of an application.
pub(super) fn mark(name: &str) -> String {
    format!("by {name}")
}

/// So long nobody may come for it: an instance reads its outbox three times a second.
const WATCHED: Duration = Duration::from_secs(3);
const LOOKS_EVERY: Duration = Duration::from_millis(20);

/// Takes away what [`make_outbox`] made under this name, unless anything says that somebody else uses it. `name`: of the instances whose rows may go
/// with it. Whoever comes for it meanwhile is seen as he waits for its lock, which needs no statistics and no rights; he waits a moment, and has it.
pub async fn remove_outbox(address: &Address, maker: &str, name: &str) -> Result<OutboxRemoval> {
    let mut client = postgres::connect(address).await?;
    let left = |why: String| Ok(OutboxRemoval::Left(why));
    if let Some(stays) = objection(&client, maker).await? {
        return Ok(stays);
    }
    let removed = async {
        let transaction = client.transaction().await?;
        transaction.batch_execute("SET LOCAL lock_timeout = '1s'; SET LOCAL client_min_messages = warning").await?;
        transaction.batch_execute("LOCK TABLE candlefish.cache_outbox IN ACCESS EXCLUSIVE MODE").await?;
        if let Some(stays) = objection(transaction.client(), maker).await? {
            return Ok(stays);
        }
        let rows = transaction.query_typed(include_str!("queries/outbox_others.sql"), &[(&mark(name), Type::TEXT)]).await?;
        match rows.first().map_or(0, |row| row.get::<_, i64>(0)) {
            0 => {}
            others => {
                return left(format!(
                    "news of writes that no load test made stands in it ({others}), and an application may have yet to hear it"
                ));
            }
        }
        let until = Instant::now() + WATCHED;
        while Instant::now() < until {
            let rows = transaction.query_typed(include_str!("queries/outbox_waiting.sql"), &[]).await?;
            if rows.first().is_some_and(|row| row.get(0)) {
                return left("somebody else came to use it".to_string());
            }
            tokio::time::sleep(LOOKS_EVERY).await;
        }
        transaction.batch_execute("DROP TABLE candlefish.cache_outbox; DROP FUNCTION candlefish.cache_changed()").await?;
        let rows = transaction.query_typed(include_str!("queries/outbox_schema.sql"), &[(&maker, Type::TEXT)]).await?;
        if rows.first().is_some_and(|row| row.get(0)) {
            transaction.batch_execute("DROP SCHEMA candlefish").await?;
        }
        transaction.commit().await?;
        anyhow::Ok(OutboxRemoval::Removed)
    };
    match removed.await.map_err(postgres::sql_failure) {
        Err(error) => match error.downcast_ref::<Failure>().and_then(|failure| failure.sqlstate.as_deref()) {
            Some("55P03") => left("somebody else is using it".to_string()),
            Some("2BP01") => left("something else in the database depends on it".to_string()),
            _ => Err(error).context("drop the outbox of the data layer"),
        },
        removed => removed,
    }
}

/// What the catalog says against taking it away.
async fn objection(client: &Client, maker: &str) -> Result<Option<OutboxRemoval>> {
    let sql = include_str!("queries/outbox_about.sql");
    let rows = client.query_typed(sql, &[(&maker, Type::TEXT)]).await.context("ask about the outbox")?;
    let Some(about) = rows.first() else { return Ok(Some(OutboxRemoval::NotThere)) };
    let (is_made_by, has_triggers, granted): (bool, bool, Option<String>) = (about.get(0), about.get(1), about.get(2));
    let why = match granted {
        _ if !is_made_by => Some("nothing says that it was made here".to_string()),
        _ if has_triggers => Some("triggers of other tables write to it".to_string()),
        granted => granted.map(|roles| format!("rights on it, or on its schema, are granted to {roles}")),
    };
    Ok(why.map(OutboxRemoval::Left))
}
