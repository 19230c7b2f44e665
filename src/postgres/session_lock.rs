//! One change of a schema at a time: a lock that every candlefish on the database honours.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tokio::time::{Instant, sleep};
use tokio_postgres::Client;

use crate::model::{Event, Failure};

/// ASCII `candlefi`, as one number.
const KEY: i64 = i64::from_be_bytes(*b"candlefi");
const POLL: Duration = Duration::from_millis(200);

/// A session-level advisory lock. It ends with its session at the latest, so a killed run never leaves it behind; taken twice by one
/// session it is released twice. Needs a session of its own: through a pooler in transaction mode it would belong to anybody.
#[derive(Debug)]
#[must_use = "the lock is held until release()"]
pub struct SessionLock(());

impl SessionLock {
    /// Waits up to `patience`. Polls, because a session that waits inside `pg_advisory_lock` holds a snapshot, for which the
    /// holder's CREATE INDEX CONCURRENTLY would wait in turn: a deadlock.
    pub async fn acquire(client: &Client, patience: Duration, events: &mut (dyn FnMut(Event) + Send)) -> Result<Self> {
        let deadline = Instant::now() + patience;
        let mut told = false;
        loop {
            let row = client.query_one("SELECT pg_try_advisory_lock($1)", &[&KEY]).await.context("take the schema lock")?;
            if row.try_get(0).context("take the schema lock")? {
                return Ok(SessionLock(()));
            }
            if Instant::now() >= deadline {
                bail!(
                    Failure::new(
                        "schema_locked",
                        format!("{} is still changing a schema of this database after {} s", holder(client).await?, patience.as_secs())
                    )
                    .hint("Wait for it to end, or end it, and run again.")
                );
            }
            if !told {
                told = true;
                let holder = holder(client).await?;
                events(Event::Note(format!("{holder} is changing a schema of this database; waiting up to {} s", patience.as_secs())));
            }
            sleep(POLL).await;
        }
    }

    pub async fn release(self, client: &Client) -> Result<()> {
        client.execute("SELECT pg_advisory_unlock($1)", &[&KEY]).await.context("release the schema lock")?;
        Ok(())
    }
}

/// Who has the lock, in words.
async fn holder(client: &Client) -> Result<String> {
    let row = client.query_opt(include_str!("queries/lock_holder.sql"), &[&KEY]).await.context("ask who has the schema lock")?;
    Ok(match row {
        Some(row) => format!("process {} ({})", row.try_get::<_, i32>(0)?, row.try_get::<_, String>(1)?),
        None => "another run".to_string(),
    })
}
