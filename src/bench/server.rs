//! What the server did in the window, by its own account: statements, WAL, blocks, and what its sessions waited for.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use crate::model::{Cell, sentence};
use crate::postgres::{Address, Answer, Observer, Type};

/// The server's side of a run; numbers that it does not give are null.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ServerReport {
    /// How each count grew: commits, blocks_hit, blocks_read, temp_bytes, deadlocks, wal_bytes (of the whole server), … The looking itself is left out.
    /// All but WAL are the sessions' own counts, which each hands in once a second, or when it ends.
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
    /// Of the user who asks.
    #[serde(skip)]
    is_own: bool,
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
    /// The name under which the run's sessions log in.
    sessions: String,
    before: Option<Look>,
    waits: BTreeMap<String, u64>,
    notes: Vec<String>,
}

#[derive(Default)]
struct Look {
    counts: Counts,
    statements: Option<BTreeMap<String, ServerStatement>>,
    /// Transactions of the looking itself that stand among the statements.
    own: u64,
}

/// Without the looking itself.
type Counts = BTreeMap<String, Option<f64>>;

/// Sessions hand in their counts once a second; where that matters more than a little, it is said.
const FEW_SECONDS: Duration = Duration::from_secs(20);

/// From this version on a session's counts are there when it is no more. Before it they come by a file that is up to half a second old.
const COUNTS_AT_ONCE: i32 = 15;

/// How long the sessions of a run may take to end, of which nobody waits for anything any more.
const ENDS_WITHIN: Duration = Duration::from_secs(2);
const ENDING: Duration = Duration::from_millis(10);

impl Watch {
    /// `sessions`: the name under which the run's sessions log in.
    pub async fn connect(address: &Address, sessions: String) -> Result<Self> {
        let observer = Observer::connect(address, "candlefish bench watch").await.context("watch the server")?;
        Ok(Watch { observer, sessions, before: None, waits: BTreeMap::new(), notes: Vec::new() })
    }

    /// The first look, before the clients have done anything; else it is taken when the window begins.
    pub async fn begin(&mut self) {
        self.before = self.whole().await;
    }

    /// Looks from `from` until `end`, or until the other half of `finish` is gone. Beside the run: a server that does not answer holds up nothing else.
    /// `whole`: the clients' sessions begin and end with the window, so that all they count is of it.
    pub async fn run(mut self, from: Instant, end: Option<Instant>, whole: bool, mut finish: oneshot::Receiver<()>) -> ServerReport {
        // Where the first look is taken the run has begun, and may be over by now.
        if self.before.is_none() {
            tokio::select! {
                _ = tokio::time::sleep_until(from.into()) => {}
                _ = &mut finish => return ServerReport::default(),
            }
            self.begin().await;
        }
        let whole = whole && self.observer.server.major >= COUNTS_AT_ONCE;
        let mut is_finished = false;
        let mut tick = tokio::time::interval(EVERY);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                _ = tokio::time::sleep_until(end.unwrap_or(from).into()), if end.is_some() => break,
                _ = &mut finish => {
                    is_finished = true;
                    break;
                }
                _ = tick.tick() => self.look().await,
            }
        }
        let mut after = self.whole().await;
        if let Some(after) = after.as_mut().filter(|_| whole) {
            if !is_finished {
                // Whether it was dropped or used, the clients have ended.
                let _ = finish.await;
            }
            self.ended().await;
            if let Some(counts) = self.counts().await {
                after.counts = counts;
            }
        } else if from.elapsed() < FEW_SECONDS {
            self.note("commits, blocks and rows are what sessions handed in, each once a second: at both ends of the measured time some are too many or missing".to_string());
        }
        self.report(after)
    }

    /// Waits until the run's sessions have ended, and so handed in all that they counted.
    async fn ended(&mut self) {
        let until = Instant::now() + ENDS_WITHIN;
        loop {
            let left = self.observer.ask(include_str!("queries/server_sessions.sql"), &[(&self.sessions, Type::TEXT)]).await;
            let Some(left) = self.known(left, "whether the run's sessions have ended") else { return };
            let left = number(&left, 0, "sessions").unwrap_or_default() as u64;
            if left == 0 {
                return;
            }
            if Instant::now() >= until {
                let seconds = ENDS_WITHIN.as_secs();
                self.note(format!(
                    "sessions of the run that had not ended {seconds} s after it: {left}; what they did not hand in of their commits, blocks and rows is missing"
                ));
                return;
            }
            tokio::time::sleep(ENDING).await;
        }
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

    async fn counts(&mut self) -> Option<Counts> {
        // Our own session hands in what it has, so that we know what of it to leave out. Before PostgreSQL 15 it does so twice a second.
        if self.observer.server.major >= 15 {
            let handed_in = self.observer.ask("SELECT 1 FROM pg_stat_force_next_flush()", &[]).await;
            self.known(handed_in, "its counts")?;
        }
        let (committed, rolled_back) = self.observer.transactions();
        let told = self.observer.ask(include_str!("queries/server_counts.sql"), &[]).await;
        let told = self.known(told, "its counts")?;
        let mut counts = Counts::new();
        for row in 0..told.rows.len() {
            let Some(name) = told.value(row, "name").and_then(Cell::text) else { continue };
            let own = match name {
                "commits" => committed,
                "rollbacks" => rolled_back,
                _ => 0,
            };
            counts.insert(name.to_string(), told.value(row, "value").and_then(Cell::number).map(|value| value - own as f64));
        }
        Some(counts)
    }

    async fn whole(&mut self) -> Option<Look> {
        let mut look = Look { counts: self.counts().await?, ..Look::default() };
        let installed = self.observer.statements().await;
        look.own = self.observer.transactions().0;
        if let Some((_, schema)) = self.known(installed, "whether it has pg_stat_statements")? {
            let mut hides = false;
            let statements = self.observer.ask_in(&schema, include_str!("queries/server_statements.sql"), &[]).await;
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
    fn known<T>(&mut self, answer: Result<T>, what: &str) -> Option<T> {
        answer.map_err(|error| self.note(format!("the server did not tell {what}: {}", sentence(&error)))).ok()
    }

    fn note(&mut self, note: String) {
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }

    fn report(self, after: Option<Look>) -> ServerReport {
        let major = self.observer.server.major;
        let mut report = ServerReport { notes: self.notes, ..ServerReport::default() };
        let seen: u64 = self.waits.values().sum();
        report.waits = self.waits.into_iter().map(|(waiting_for, count)| Wait { waiting_for, share: count as f64 / seen as f64 }).collect();
        report.waits.sort_by(|a, b| b.share.total_cmp(&a.share));
        let (Some(before), Some(after)) = (self.before, after) else { return report };
        let own = after.own - before.own;
        for (name, value) in after.counts {
            // A count that went back was reset meanwhile.
            let grown = value.zip(before.counts.get(&name).copied().flatten()).map(|(after, before)| after - before);
            report.counts.insert(name, grown.filter(|grown| *grown >= 0.0));
        }
        if let (Some(before), Some(after)) = (before.statements, after.statements) {
            let statements = after.into_iter().filter_map(|(id, after)| after.since(before.get(&id))?.without(own, major));
            let mut statements: Vec<ServerStatement> = statements.filter(|statement| statement.calls > 0).collect();
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
            is_own: answer.value(row, "is_own") == Some(&Cell::Bool(true)),
        })
    };
    (0..answer.rows.len()).filter_map(|row| Some((text(row, "id")?.to_string(), statement(row)?))).collect()
}

impl ServerStatement {
    /// Without so many transactions of the looking itself; what else the same user begins and ends in the same words stays. From PostgreSQL 16 on
    /// COMMIT and END are one, under the words that came first; before it those of the looking bear a mark, and are not among these.
    fn without(mut self, looking: u64, major: i32) -> Option<Self> {
        let words = self.query.as_str();
        if self.is_own && major >= 16 && (matches!(words, "BEGIN READ ONLY" | "COMMIT") || words.eq_ignore_ascii_case("END")) {
            self.calls = self.calls.checked_sub(looking)?;
            self.exec_ms = self.mean_ms * self.calls as f64;
        }
        Some(self)
    }

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
