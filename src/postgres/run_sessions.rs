//! The sessions of one run of `migrate`: each holds the run's lock, so that whoever goes on with the run finds those that a killed one left behind.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tokio::time::{Instant, sleep};
use tokio_postgres::Client;

use crate::model::{Failure, Phase};
use crate::postgres::{APPLICATION_NAME, Address, session, sql_failure};

/// How long a session that was told to end may take for it.
const PATIENCE: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(20);

/// Connects as `session` does, and takes the run's lock, shared. The lock ends with the session, however that ends.
pub async fn run_session(address: &Address, role: Option<&str>, run_id: &str) -> Result<Client> {
    let client = session(&noticing_silence(address), role).await?;
    client
        .execute("SELECT pg_advisory_lock_shared(hashtextextended('candlefish run ' || $1, 0))", &[&run_id])
        .await
        .map_err(|error| sql_failure(error.into()))
        .context("take the run's lock")?;
    Ok(client)
}

/// A network that swallows packets ends no connection: without an answer for so long it is taken for cut, unless the address says otherwise.
const SILENCE: Duration = Duration::from_secs(60);

fn noticing_silence(address: &Address) -> Address {
    let mut address = address.clone();
    if address.config.get_tcp_user_timeout().is_none() {
        address.config.tcp_user_timeout(SILENCE);
    }
    // What the driver takes when nobody says anything.
    let unsaid = Duration::from_secs(2 * 60 * 60);
    if address.config.get_keepalives_interval().is_none() && address.config.get_keepalives_idle() == unsaid {
        // Asked three times within the same span, where nothing is under way to be answered.
        address.config.keepalives_idle(SILENCE / 4).keepalives_interval(SILENCE / 4).keepalives_retries(3);
    }
    address
}

/// How long a session of a run may leave a small question unanswered before it is taken for cut: a proxy may go on acknowledging what it no longer
/// forwards, which the system's own timeouts do not notice.
pub fn patience_with_silence(address: &Address) -> Duration {
    address.config.get_tcp_user_timeout().copied().unwrap_or(SILENCE)
}

/// A run that is connected and not in the journal yet.
pub struct UnwrittenRun {
    pub run_id: String,
    pub phase: String,
    /// Seconds since 1970.
    pub started_at: f64,
}

/// Says in the session's name which run it is of and where that is: all that others can know of a run before anything is written. A name that the address
/// gives stays.
pub async fn tell_by_name(client: &Client, address: &Address, run_id: &str, phase: Phase) -> Result<()> {
    if address.config.get_application_name() != Some(APPLICATION_NAME) {
        return Ok(());
    }
    let name = format!("{APPLICATION_NAME} run {run_id}, {}", phase.as_str());
    client.execute("SELECT set_config('application_name', $1, false)", &[&name]).await.context("name the session")?;
    Ok(())
}

/// The run is in the journal, which tells more.
pub async fn forget_name(client: &Client) -> Result<()> {
    client.batch_execute("RESET application_name").await.context("name the session")
}

/// The runs that have told by name where they are, the newest first.
pub async fn unwritten_runs(client: &Client) -> Result<Vec<UnwrittenRun>> {
    let rows = client.query(include_str!("queries/unwritten_runs.sql"), &[]).await.context("look for runs that are connected")?;
    Ok(rows.iter().map(|row| UnwrittenRun { run_id: row.get(0), phase: row.get(1), started_at: row.get(2) }).collect())
}

/// The process ids of the run's sessions, this one left out.
pub async fn run_sessions(client: &Client, run_id: &str) -> Result<Vec<i32>> {
    let rows = client.query(include_str!("queries/run_sessions.sql"), &[&run_id]).await;
    let rows = rows.map_err(|error| sql_failure(error.into())).context("look for sessions of the run")?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// Ends every other session of the run, and waits until they are gone with what they had open; returns how many there were.
pub async fn end_run_sessions(client: &Client, run_id: &str) -> Result<usize> {
    let deadline = Instant::now() + PATIENCE;
    let left = run_sessions(client, run_id).await?;
    let mut alive = left.clone();
    while !alive.is_empty() {
        // Version 13 has no form that waits.
        client
            .execute("SELECT pg_terminate_backend(pid) FROM unnest($1::int[]) pid", &[&alive])
            .await
            .map_err(|error| sql_failure(error.into()))
            .context("end what the run left behind")?;
        sleep(POLL).await;
        alive = run_sessions(client, run_id).await?;
        if !alive.is_empty() && Instant::now() >= deadline {
            bail!(
                Failure::new("sessions_left", format!("sessions that the run left behind do not end: processes {alive:?}"))
                    .hint("End them at the server, then run the same command again.")
            );
        }
    }
    Ok(left.len())
}
