//! One client: it draws a transaction, waits until it is due, runs it, and finds another connection when its own has broken.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, bail};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use crate::bench::layer::Connection;
use crate::bench::recorder::{NOT_SENT, lock};
use crate::bench::schedule::Alarm;
use crate::bench::script::{Command, Keep, Pause, Place, Random, Script, Statement, Value, evaluate, is_true};
use crate::bench::worker::Shared;
use crate::model::{Failure, sentence};
use crate::postgres::{Protocol, Refusal, SqlError, TextRows};

/// A client that never waits lets the others of its thread on after so many transactions.
const TURNS: u32 = 8;

/// What was due within the window is still begun for so long after it. What is not begun by then was never sent.
const LATE: Duration = Duration::from_secs(1);

/// How long a client that has a number of transactions, and no end, tries to get another connection.
const PATIENCE: Duration = Duration::from_secs(10);

pub struct Client {
    number: usize,
    /// Among those of its thread.
    place: usize,
    connection: Connection,
    shared: Arc<Shared>,
    variables: Vec<Value>,
    random: Random,
    protocol: Protocol,
    alarm: Option<Alarm>,
    /// Memory answers at once, and a thread with one connection waits by itself: the runtime would never get its turn.
    never_waits: bool,
    /// Of the transactions that it has, where it has a number of them.
    done: u64,
    /// In the middle of a transaction: who drops the client now leaves a statement behind.
    is_at_work: bool,
}

/// So many requests to end a statement are under way at once.
static ENDED_AT_ONCE: Semaphore = Semaphore::const_new(32);

impl Drop for Client {
    fn drop(&mut self) {
        if !self.is_at_work {
            return;
        }
        self.shared.left_at_work.store(true, Ordering::Relaxed);
        if let (Some(leaving), Ok(runtime)) = (self.connection.leaving(), Handle::try_current()) {
            runtime.spawn(async move {
                let _turn = ENDED_AT_ONCE.acquire().await;
                leaving.await;
            });
        }
    }
}

/// Why a transaction did not come to its end.
enum Stopped {
    Refused(Refusal),
    /// The script itself is wrong, here: no transaction of it will ever run.
    Script(Place, anyhow::Error),
}

/// The data layer's words, and PostgreSQL's, for a database that nobody could ask.
fn is_away(code: &str) -> bool {
    matches!(code, "target_unreachable" | "target_not_ready" | "too_many_connections" | "connection_lost" | "outcome_unknown")
        || code.starts_with("08")
        || code.starts_with("57P")
}

impl From<Refusal> for Stopped {
    fn from(refusal: Refusal) -> Self {
        Stopped::Refused(refusal)
    }
}

impl Client {
    /// `place`: among the clients of its thread. `alone`: there is no other.
    pub fn new(number: usize, place: usize, connection: Connection, alone: bool, shared: Arc<Shared>) -> Result<Self> {
        let plan = &shared.plan;
        let mut variables = plan.workload.first_values.clone();
        variables[plan.workload.client_id.index()] = Value::Int(number as i64);
        let alarm = shared.schedule.is_some().then(Alarm::new).transpose()?;
        // A client's numbers are its own, whatever the threads.
        let random = Random::stream(plan.seed, number as u64);
        Ok(Client {
            number,
            place,
            never_waits: alone || matches!(connection, Connection::Store { .. }),
            connection,
            variables,
            random,
            protocol: plan.entrance.protocol(),
            alarm,
            shared,
            done: 0,
            is_at_work: false,
        })
    }

    pub async fn run(mut self) -> Result<()> {
        let shared = Arc::clone(&self.shared);
        let window = shared.window;
        let is_over = |now: Instant| window.end.is_some_and(|end| now >= end);
        let mut turns = 0u32;
        let mut now = Instant::now();
        loop {
            turns = turns.wrapping_add(1);
            if turns.is_multiple_of(TURNS) && self.never_waits {
                // The others of this thread want their turn.
                tokio::task::yield_now().await;
                now = Instant::now();
            }
            if shared.is_leaving.load(Ordering::Relaxed) {
                return Ok(());
            }
            let filling = shared.plan.fills && now < window.measured_from;
            let due = match &shared.schedule {
                Some(schedule) if !filling => shared.next_due(schedule, now),
                _ => Some(now).filter(|now| !is_over(*now)),
            };
            let Some(due) = due else { return Ok(()) };
            if let Some(alarm) = self.alarm.as_mut().filter(|_| !filling) {
                alarm.wait_until(due).await?;
            }
            let measured = due >= window.measured_from;
            if measured && !self.has_another() {
                return Ok(());
            }
            let begun = if shared.schedule.is_some() { Instant::now() } else { now };
            if window.end.is_some_and(|end| begun > end + LATE) {
                shared.not_sent(&mut self.random, due, 1, begun);
                return Ok(());
            }
            let workload = &shared.plan.workload;
            let number = if filling { workload.draw_read(&mut self.random) } else { workload.draw(&mut self.random) };
            let under_way = &shared.under_way[self.place];
            self.done += u64::from(measured);
            under_way.begin(number, due, &window);
            self.is_at_work = true;
            let (result, retries) = self.transact(&workload.scripts[number], measured).await;
            self.is_at_work = false;
            under_way.end();
            now = Instant::now();
            let refusal = match result {
                Ok(()) => None,
                Err(Stopped::Refused(refusal)) => Some(refusal),
                Err(Stopped::Script(place, error)) => {
                    let failure = Failure::new("script_failed", format!("{place}: {error}"));
                    return Err(failure.hint("Correct the script; no transaction of this script can run.").into());
                }
            };
            if measured {
                let mut recorder = lock(&shared.recorder);
                if shared.schedule.is_some() {
                    recorder.record.lag.record(begun - due);
                }
                recorder.record.retries += u64::from(retries);
                match &refusal {
                    None => recorder.succeeded(number, now - due, now),
                    Some(refusal) => recorder.failed(number, refusal, now),
                }
                if refusal.as_ref().is_some_and(|refusal| !refusal.broken && is_away(&refusal.code)) {
                    recorder.record.connections.failed_attempts += 1;
                    recorder.without(begun, window.end.map_or(now, |end| end.min(now)));
                }
            }
            if let Some(refusal) = refusal {
                if !self.recover(&refusal).await {
                    return Ok(());
                }
                now = Instant::now();
            }
        }
    }

    fn has_another(&self) -> bool {
        self.shared.plan.transactions.is_none_or(|wanted| self.done < wanted)
    }

    /// Runs a transaction to its end, again after a serialization failure or a deadlock; and how often again.
    async fn transact(&mut self, script: &Script, measured: bool) -> (Result<(), Stopped>, u32) {
        let mut retries = 0;
        // The same numbers again, as pgbench does.
        let before = (self.shared.plan.max_tries > 1).then(|| (self.random.clone(), self.variables.clone()));
        loop {
            self.connection.begin().await;
            let result = self.commands(&script.commands, measured).await;
            let again = match (&result, &before) {
                (Err(Stopped::Refused(refusal)), Some(before)) if refusal.is_retryable() && retries + 1 < self.shared.plan.max_tries => {
                    before
                }
                _ => {
                    if result.is_ok() {
                        self.connection.end();
                    }
                    return (result, retries);
                }
            };
            (self.random, self.variables) = again.clone();
            retries += 1;
            if !self.connection.recover().await {
                return (result, retries);
            }
            self.connection.end();
        }
    }

    async fn commands(&mut self, commands: &[Command], measured: bool) -> Result<(), Stopped> {
        let (mut at, mut open) = (0, None);
        while let Some(command) = commands.get(at) {
            at += 1;
            match command {
                Command::Draw(draw) => draw.fill(&mut self.random, &mut self.variables, self.shared.plan.fills && !measured),
                Command::Set(slot, expression, place) => {
                    let value = evaluate(expression, &self.variables, &mut self.random);
                    self.variables[slot.index()] = value.map_err(|error| Stopped::Script(place.clone(), error))?;
                }
                Command::Statement(statement) => {
                    self.statement(statement, measured).await?;
                    match statement.leaves_open {
                        Some(true) => open = open.or(Some(&statement.place)),
                        Some(false) => open = None,
                        None => {}
                    }
                }
                Command::Sleep(pause, place) => self.pause(pause).await.map_err(|error| Stopped::Script(place.clone(), error))?,
                Command::Unless(condition, target, place) => {
                    let value = evaluate(condition, &self.variables, &mut self.random);
                    let holds = value.and_then(|value| is_true(&value)).map_err(|error| Stopped::Script(place.clone(), error))?;
                    if !holds {
                        at = *target;
                    }
                }
                Command::Jump(target) => at = *target,
            }
        }
        // What the next one did would be in it, too, and nothing of all that would be kept.
        match open {
            Some(place) => Err(Stopped::Script(place.clone(), anyhow!("the script ends without ending the transaction that begins here"))),
            None => Ok(()),
        }
    }

    async fn statement(&mut self, statement: &Statement, measured: bool) -> Result<(), Stopped> {
        let timed = (self.shared.plan.per_statement && measured).then(Instant::now);
        let answer = self.connection.execute(statement, &self.variables, self.protocol).await;
        if let Some(begun) = timed {
            let tally = &mut lock(&self.shared.recorder).record.statements[statement.index];
            match &answer {
                Ok(_) => tally.latencies.record(begun.elapsed()),
                Err(_) => tally.failures += 1,
            }
        }
        let answer = answer.map_err(|refusal| Refusal { message: format!("{}: {}", statement.place, refusal.message), ..refusal })?;
        if let Some(from) = answer.from.filter(|_| measured) {
            lock(&self.shared.recorder).record.answered[from as usize] += 1;
        }
        match &statement.keep {
            Keep::Nothing => Ok(()),
            Keep::Variables { prefix, each } => {
                self.keep(&answer.sets, prefix, *each).map_err(|error| Stopped::Script(statement.place.clone(), error))
            }
        }
    }

    /// `\gset` keeps the last result's one row; `\aset` each result's last row.
    fn keep(&mut self, sets: &[TextRows], prefix: &str, each: bool) -> Result<()> {
        let skipped = if each { 0 } else { sets.len().saturating_sub(1) };
        for set in &sets[skipped..] {
            if !each && set.rows.len() != 1 {
                return Err(Failure::new("gset", format!("\\gset wants one row, and {} came", set.rows.len())).into());
            }
            let Some(row) = set.rows.last() else { continue };
            for (column, value) in set.columns.iter().zip(row) {
                if let Some(slot) = self.shared.plan.workload.names.find(&format!("{prefix}{column}")) {
                    self.variables[slot.index()] = value.as_ref().map_or(Value::Null, |text| Value::text(text.as_str()));
                }
            }
        }
        Ok(())
    }

    async fn pause(&mut self, pause: &Pause) -> Result<()> {
        let time = match pause {
            Pause::For(time) => *time,
            Pause::Variable(slot, unit) => match self.variables[slot.index()].read() {
                Some(Value::Int(count)) => *unit * u32::try_from(count.max(0)).unwrap_or(u32::MAX),
                Some(Value::Double(count)) => unit.mul_f64(count.clamp(0.0, 1e9)),
                _ => bail!("\\sleep wants a number"),
            },
        };
        if self.alarm.is_none() {
            self.alarm = Some(Alarm::new()?);
        }
        if let Some(alarm) = &mut self.alarm {
            alarm.wait_until(Instant::now() + time).await?;
        }
        Ok(())
    }

    /// After a failure: the transaction is ended, a broken connection is made anew. False: there is none until the end.
    async fn recover(&mut self, refusal: &Refusal) -> bool {
        let is_whole = !refusal.broken && self.connection.recover().await;
        self.connection.end();
        is_whole || self.reconnect().await
    }

    /// Tries until it has another connection, or the run is over.
    async fn reconnect(&mut self) -> bool {
        let shared = Arc::clone(&self.shared);
        let lost = Instant::now();
        lock(&shared.recorder).lost(self.number, lost);
        shared.plan.away.fetch_add(1, Ordering::Relaxed);
        let end = shared.window.end.unwrap_or(lost + PATIENCE);
        let mut wait = Duration::from_millis(10);
        loop {
            match tokio::time::timeout_at(end.into(), shared.plan.entrance.connect(self.number, false)).await {
                Ok(Ok(connection)) => {
                    self.connection = connection;
                    lock(&shared.recorder).found(self.number, Instant::now());
                    shared.plan.away.fetch_sub(1, Ordering::Relaxed);
                    return true;
                }
                Ok(Err(error)) => self.has_no_connection(&error),
                // It hangs, and the run is over.
                Err(_) => {}
            }
            tokio::time::sleep_until((Instant::now() + wait).min(end).into()).await;
            if Instant::now() >= end || !self.has_another() {
                break;
            }
            wait = (wait * 2).min(Duration::from_secs(1));
        }
        if let Some(wanted) = shared.plan.transactions {
            let refusal = Refusal {
                code: NOT_SENT.to_string(),
                message: "never sent: their client had lost its connection".to_string(),
                broken: true,
            };
            let left = wanted.saturating_sub(self.done);
            let number = shared.plan.workload.draw(&mut self.random);
            lock(&shared.recorder).failed_several(number, &refusal, left, Instant::now());
        }
        false
    }

    /// An attempt at a connection failed. In the closed model its transaction has failed with it; in the open one what falls due meanwhile waits, and
    /// its latency tells.
    fn has_no_connection(&mut self, error: &anyhow::Error) {
        let now = Instant::now();
        let mut recorder = lock(&self.shared.recorder);
        recorder.record.connections.failed_attempts += 1;
        if self.shared.schedule.is_some() || now < self.shared.window.measured_from {
            return;
        }
        let state = error.chain().find_map(|cause| cause.downcast_ref::<SqlError>()).and_then(SqlError::code);
        let code = state.map_or("08001", |state| state.code()).to_string();
        let refusal = Refusal { code, message: sentence(error), broken: true };
        let number = self.shared.plan.workload.draw(&mut self.random);
        recorder.failed(number, &refusal, now);
        self.done += 1;
    }
}
