//! What the server did in the window, by its own account: statements, WAL, blocks, and what its sessions waited for.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use crate::model::{Cell, sentence};
use crate::postgres::{Address, Answer, Observer};

/// The server's side of a run; numbers that it does not give are null.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ServerReport {
    /// How each count grew: commits, blocks_hit, blocks_read, temp_bytes, deadlocks, wal_bytes (of the whole server), …
    pub counts: BTreeMap<String, Option<f64>>,
    /// Those that took the most time, most first; null without pg_stat_statements.
    pub statements: Option<Vec<ServerStatement>>,
    /// Milliseconds of all statements together.
    pub statements_ms: Option<f64>,
    /// What active sessions were at, of all that were seen, by looking four times a second: most first.
    pub waits: Vec<Wait>,
    pub notes: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ServerStatement {
    pub query: String,
    pub calls: u64,
    pub exec_ms: f64,
    pub mean_ms: f64,
    /// Of the time of all statements.
    pub share: f64,
    pub rows: u64,
    pub blocks_hit: u64,
    pub blocks_read: u64,
    pub wal_bytes: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Wait {
    /// `LWLock: WALWrite`, or `running`.
    pub waiting_for: String,
    pub share: f64,
}

/// How often sessions are looked at.
const EVERY: Duration = Duration::from_millis(250);

/// Statements that are listed.
const MOST: usize = 10;

pub struct Watch {
    observer: Observer,
    waits: BTreeMap<String, u64>,
    notes: Vec<String>,
}

#[derive(Default)]
struct Look {
    counts: BTreeMap<String, Option<f64>>,
    statements: Option<BTreeMap<String, ServerStatement>>,
}

impl Watch {
    pub async fn connect(address: &Address) -> Result<Self> {
        let observer = Observer::connect(address, "candlefish bench watch").await.context("watch the server")?;
        Ok(Watch { observer, waits: BTreeMap::new(), notes: Vec::new() })
    }

    /// Looks from `from` until `end`, or until the other half of `finish` is gone. Beside the run: a server that does not answer holds up nothing else.
    pub async fn run(mut self, from: Instant, end: Option<Instant>, mut finish: oneshot::Receiver<()>) -> ServerReport {
        tokio::select! {
            _ = tokio::time::sleep_until(from.into()) => {}
            _ = &mut finish => return ServerReport::default(),
        }
        let before = self.whole().await;
        let mut tick = tokio::time::interval(EVERY);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                _ = tokio::time::sleep_until(end.unwrap_or(from).into()), if end.is_some() => break,
                _ = &mut finish => break,
                _ = tick.tick() => self.look().await,
            }
        }
        let after = self.whole().await;
        self.report(before, after)
    }

    /// What the sessions are at now.
    async fn look(&mut self) {
        let seen = self.observer.ask(include_str!("queries/server_waits.sql"), &[]).await;
        let Some(seen) = self.known(seen, "the sessions' waits") else { return };
        for row in 0..seen.rows.len() {
            let name = seen.value(row, "waiting_for").and_then(Cell::text);
            if let (Some(name), Some(sessions)) = (name, number(&seen, row, "sessions")) {
                *self.waits.entry(name.to_string()).or_default() += sessions as u64;
            }
        }
    }

    async fn whole(&mut self) -> Option<Look> {
        let counts = self.observer.ask(include_str!("queries/server_counts.sql"), &[]).await;
        let counts = self.known(counts, "its counts")?;
        let mut look = Look::default();
        for row in 0..counts.rows.len() {
            if let Some(name) = counts.value(row, "name").and_then(Cell::text) {
                look.counts.insert(name.to_string(), counts.value(row, "value").and_then(Cell::number));
            }
        }
        if self.observer.server.statements.is_some() {
            let mut hides = false;
            let statements = self.observer.ask_statements(include_str!("queries/server_statements.sql"), &[]).await;
            look.statements = self.known(statements, "pg_stat_statements").map(|answer| {
                hides = (0..answer.rows.len()).any(|row| answer.value(row, "id").and_then(Cell::text).is_none());
                statements_of(&answer)
            });
            if hides {
                self.note("statements of other users are hidden from this one, and not counted: it lacks pg_read_all_stats".to_string());
            }
        } else {
            self.note("the server has no pg_stat_statements in this database: what each statement cost is not known".to_string());
        }
        Some(look)
    }

    /// A server that is stopped or overloaded is what a load test may be about: not to know is no failure of the test.
    fn known(&mut self, answer: Result<Answer>, what: &str) -> Option<Answer> {
        answer.map_err(|error| self.note(format!("the server did not tell {what}: {}", sentence(&error)))).ok()
    }

    fn note(&mut self, note: String) {
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }

    fn report(self, before: Option<Look>, after: Option<Look>) -> ServerReport {
        let mut report = ServerReport { notes: self.notes, ..ServerReport::default() };
        let seen: u64 = self.waits.values().sum();
        report.waits = self.waits.into_iter().map(|(waiting_for, count)| Wait { waiting_for, share: count as f64 / seen as f64 }).collect();
        report.waits.sort_by(|a, b| b.share.total_cmp(&a.share));
        let (Some(before), Some(after)) = (before, after) else { return report };
        for (name, value) in after.counts {
            // A count that went back was reset meanwhile.
            let grown = value.zip(before.counts.get(&name).copied().flatten()).map(|(after, before)| after - before);
            report.counts.insert(name, grown.filter(|grown| *grown >= 0.0));
        }
        if let (Some(before), Some(after)) = (before.statements, after.statements) {
            let mut statements: Vec<ServerStatement> =
                after.into_iter().filter_map(|(id, after)| after.since(before.get(&id))).filter(|statement| statement.calls > 0).collect();
            let total: f64 = statements.iter().map(|statement| statement.exec_ms).sum();
            statements.sort_by(|a, b| b.exec_ms.total_cmp(&a.exec_ms));
            statements.truncate(MOST);
            for statement in &mut statements {
                statement.share = if total > 0.0 { statement.exec_ms / total } else { 0.0 };
            }
            (report.statements, report.statements_ms) = (Some(statements), Some(total));
        }
        report
    }
}

fn number(answer: &Answer, row: usize, column: &str) -> Option<f64> {
    answer.value(row, column).and_then(Cell::number)
}

/// By id. Those that the server hides have none, and could not be told apart.
fn statements_of(answer: &Answer) -> BTreeMap<String, ServerStatement> {
    let text = |row, column: &str| answer.value(row, column).and_then(Cell::text);
    let count = |row, column: &str| number(answer, row, column).map(|count| count as u64);
    let statement = |row| {
        Some(ServerStatement {
            // Without comments and line breaks.
            query: text(row, "query")?.lines().filter(|line| !line.trim_start().starts_with("--")).collect::<Vec<_>>().join(" "),
            calls: count(row, "calls")?,
            exec_ms: number(answer, row, "exec_ms")?,
            mean_ms: 0.0,
            share: 0.0,
            rows: count(row, "rows")?,
            blocks_hit: count(row, "blocks_hit")?,
            blocks_read: count(row, "blocks_read")?,
            wal_bytes: count(row, "wal_bytes")?,
        })
    };
    (0..answer.rows.len()).filter_map(|row| Some((text(row, "id")?.to_string(), statement(row)?))).collect()
}

impl ServerStatement {
    /// What was added; none when it was forgotten and seen anew meanwhile.
    fn since(mut self, before: Option<&ServerStatement>) -> Option<Self> {
        if let Some(before) = before {
            self.calls = self.calls.checked_sub(before.calls)?;
            self.exec_ms -= before.exec_ms;
            self.rows = self.rows.checked_sub(before.rows)?;
            self.blocks_hit = self.blocks_hit.checked_sub(before.blocks_hit)?;
            self.blocks_read = self.blocks_read.checked_sub(before.blocks_read)?;
            self.wal_bytes = self.wal_bytes.checked_sub(before.wal_bytes)?;
        }
        self.mean_ms = if self.calls > 0 { self.exec_ms / self.calls as f64 } else { 0.0 };
        Some(self)
    }
}
