//! A refresh in the journal before it has changed anything, once somebody has agreed to it: so `runs` can tell of one that is under way, and of one that was
//! stopped. What it changes is one transaction, and in that the whole record takes this one's place.

use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::json;

use crate::migrate::process;
use crate::migrate::{Job, resume};
use crate::model::Phase;
use crate::postgres::{Journal, RunRecord, end_run_sessions, run_session, session};

/// The status of a refresh that has not come to its end: nothing of it is there.
pub const REFRESHING: &str = "refreshing";
/// Under which of its settings stands that it was told to stop.
pub const STOPPED: &str = "stopped";

/// How long whoever stops a refresh waits until the journal has it.
const PATIENCE: Duration = Duration::from_secs(20);

/// Tells that the refresh is under way, and where.
pub(super) async fn tell(job: &Job, phase: Phase) -> Result<()> {
    let client = session(&job.address, job.role.as_deref()).await?;
    Journal::open(&client).await?;
    let record = RunRecord {
        run_id: job.run_id.clone(),
        source: job.snapshot.path().display().to_string(),
        target_schema: job.options.schema.clone(),
        status: REFRESHING.into(),
        settings: json!({
            "mapping": job.mapping_name, "source_path": job.call.source_path, "refresh": {}, "command": job.call.line, "folder": job.call.folder,
        }),
    };
    Journal::announce(&client, &record).await?;
    Journal::beat(&client, &job.run_id, &process::this(), phase.as_str()).await
}

/// Ends what a refresh that was told to stop still has open, and tells so where it stands in the journal; true when its changes were committed before.
pub async fn stopped(job: &Job) -> Result<bool> {
    let stopped = async {
        let client = run_session(&job.address, job.role.as_deref(), &job.run_id).await?;
        end_run_sessions(&client, &job.run_id).await?;
        note(job, &client, &json!({STOPPED: true})).await?;
        resume::has_begun(&client, &job.run_id).await
    };
    tokio::time::timeout(PATIENCE, stopped).await.context("the target does not answer")?
}

/// Tells what a refresh failed with, where it stands in the journal. The failure is what matters; that it could not be told is not.
pub async fn failed(job: &Job, error: &anyhow::Error) {
    let said = json!({"error": format!("{error:#}")});
    let noted = async { note(job, &session(&job.address, job.role.as_deref()).await?, &said).await };
    let _ = tokio::time::timeout(Duration::from_secs(5), noted).await;
}

async fn note(job: &Job, client: &crate::postgres::Client, said: &serde_json::Value) -> Result<()> {
    if !Journal::exists(client).await? {
        return Ok(());
    }
    Journal::open(client).await?;
    Journal::note(client, &job.run_id, said).await
}
