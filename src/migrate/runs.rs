//! The runs that a target's journal knows, for whoever wants to see or resume them.

use anyhow::Result;

use crate::migrate::refresh::{REFRESHING, STOPPED};
use crate::migrate::report::RowChanges;
use crate::migrate::retry::RETRYING;
use crate::migrate::section::{RunSection, RunSections};
use crate::postgres::{Address, Journal, PARTIAL, RunState, UnwrittenRun, session, unwritten_runs};

/// One run, as far as it has come. Times are seconds since 1970.
#[derive(Clone, Debug)]
pub struct RunSummary {
    pub run_id: String,
    /// As it was named; none before the run is in the journal.
    pub source: Option<String>,
    pub target_schema: Option<String>,
    pub state: State,
    /// `inspect`, `plan`, … where it is or was; none before its first second.
    pub phase: Option<String>,
    /// Rows that have landed, and rows that were set aside.
    pub rows_written: u64,
    pub rows_rejected: u64,
    pub rows_total: u64,
    pub bytes: u64,
    pub tables: u64,
    /// Of the rows, 0 to 1; none when there are none to copy.
    pub share: Option<f64>,
    /// Until the last row has landed, at the pace so far; only of one that copies now.
    pub eta_seconds: Option<f64>,
    pub started_at: f64,
    pub finished_at: Option<f64>,
    /// What it failed with last.
    pub error: Option<String>,
    /// The command that goes on with it, and the folder in which it was called; none when there is nothing to go on with.
    pub resume: Option<String>,
    /// What of the run is done, by section; of runs whose sections are processes of their own.
    pub sections_done: Vec<String>,
    /// What a refresh has changed.
    pub changes: Option<RowChanges>,
    pub folder: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Its sessions are connected.
    Running,
    /// Its process is gone, and it can be resumed.
    Interrupted,
    /// It was told to stop, and can be resumed.
    Stopped,
    /// A section has ended, and others are to come.
    Partial,
    /// A later run has taken its tables.
    GivenUp,
    /// It came to its end, with this outcome.
    Ended(String),
}

impl State {
    pub fn as_str(&self) -> &str {
        match self {
            State::Running => "running",
            State::Interrupted => "interrupted",
            State::Stopped => "stopped",
            State::Partial => PARTIAL,
            State::GivenUp => "given_up",
            State::Ended(outcome) => outcome,
        }
    }
}

/// The changes of all tables.
fn changes(tables: &serde_json::Map<String, serde_json::Value>) -> RowChanges {
    let sum = |kind: &str| tables.values().filter_map(|counts| counts[kind].as_u64()).sum();
    RowChanges { inserted: sum("inserted"), updated: sum("updated"), deleted: sum("deleted") }
}

/// The line that goes on with a run: `line` is how it was called, without its sections; all of them need no word.
pub fn resume_line(line: &str, sections: &str, run_id: &str) -> String {
    let asked = if sections == RunSections::ALL.words() { "" } else { sections };
    let sections: String = asked.split(", ").filter(|section| !section.is_empty()).map(|section| format!(" --section {section}")).collect();
    format!("{line}{sections} --resume={run_id}")
}

/// Every run of the database, the newest first, with those that are connected and not in the journal yet. Changes nothing.
pub async fn runs(address: &Address) -> Result<Vec<RunSummary>> {
    let client = session(address, None).await?;
    // In this order, so that one that is written meanwhile is not missed.
    let unwritten = unwritten_runs(&client).await?;
    let written: Vec<RunSummary> = Journal::runs(&client).await?.into_iter().map(summary).collect();
    let is_new = |run: &UnwrittenRun| written.iter().all(|known| known.run_id != run.run_id);
    let mut runs: Vec<RunSummary> = unwritten.into_iter().filter(is_new).map(begun).collect();
    runs.extend(written);
    Ok(runs)
}

/// A run of which no more is known than that it looks at its source.
fn begun(run: UnwrittenRun) -> RunSummary {
    RunSummary {
        run_id: run.run_id,
        source: None,
        target_schema: None,
        state: State::Running,
        phase: Some(run.phase),
        rows_written: 0,
        rows_rejected: 0,
        rows_total: 0,
        bytes: 0,
        tables: 0,
        share: None,
        eta_seconds: None,
        started_at: run.started_at,
        finished_at: None,
        error: None,
        resume: None,
        sections_done: Vec::new(),
        changes: None,
        folder: None,
    }
}

fn summary(run: RunState) -> RunSummary {
    let text = |key: &str| run.record.settings[key].as_str().filter(|text| !text.is_empty()).map(str::to_string);
    let state = match run.record.status.as_str() {
        "given_up" => State::GivenUp,
        _ if run.is_unfinished() && run.sessions > 0 => State::Running,
        RETRYING | REFRESHING if run.sessions > 0 => State::Running,
        REFRESHING if run.record.settings[STOPPED] == true => State::Stopped,
        RETRYING | REFRESHING => State::Interrupted,
        "stopped" => State::Stopped,
        PARTIAL => State::Partial,
        _ if run.is_unfinished() => State::Interrupted,
        outcome => State::Ended(outcome.to_string()),
    };
    let rows_total = run.record.settings["rows"].as_u64().unwrap_or(0);
    let left = rows_total.saturating_sub(run.rows_done);
    let copying = state == State::Running && run.phase.as_deref() == Some("copy");
    let pace =
        run.since.filter(|_| copying && run.rows_done_since > 0).map(|since| run.rows_done_since as f64 / (run.now - since).max(0.001));
    // Nothing of a refresh stays that did not come to its end, and the same command does it all.
    let is_refresh = run.record.status == REFRESHING;
    let resumable = (run.is_unfinished() || is_refresh) && state != State::Running;
    let line = |line: String, sections: &str| if is_refresh { line } else { resume_line(&line, sections, &run.record.run_id) };
    // Between two sections the next one is to come; within one, that one.
    let next = || RunSection::ALL.into_iter().map(RunSection::as_str).find(|section| !run.sections_done.iter().any(|done| done == section));
    let sections = match state {
        State::Partial => next().unwrap_or_default().to_string(),
        _ => text("sections").unwrap_or_default(),
    };
    RunSummary {
        run_id: run.record.run_id.clone(),
        source: Some(run.record.source.clone()),
        target_schema: Some(run.record.target_schema.clone()),
        phase: run.phase.clone().filter(|_| !matches!(state, State::Ended(_))),
        rows_written: run.rows_done - run.rows_rejected,
        rows_rejected: run.rows_rejected,
        rows_total,
        bytes: run.bytes,
        tables: run.tables,
        share: (rows_total > 0).then(|| run.rows_done as f64 / rows_total as f64),
        eta_seconds: pace.map(|pace| left as f64 / pace),
        started_at: run.started_at,
        finished_at: run.finished_at,
        error: text("error").filter(|_| resumable),
        resume: text("command").filter(|_| resumable).map(|said| line(said, &sections)),
        sections_done: run.sections_done.clone(),
        changes: run.record.settings["refresh"].as_object().map(changes),
        folder: text("folder").filter(|_| resumable),
        state,
    }
}
