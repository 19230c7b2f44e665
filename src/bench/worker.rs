//! One thread with its clients: a runtime of its own, connections pinned to it, nothing shared with other threads but the end.

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::bench::layer::{Connection, Entrance};
use crate::bench::recorder::{Record, Recorder, Series, lock};
use crate::bench::schedule::{Alarm, Schedule, Window};
use crate::bench::script::{Command, Keep, Pause, Place, Random, Script, Statement, Value, evaluate, is_true};
use crate::bench::workload::Workload;
use crate::model::Failure;
use crate::postgres::{Protocol, Refusal, TextRows};

/// What every worker of a run is told.
pub struct Plan {
    pub entrance: Entrance,
    pub workload: Workload,
    /// Transactions a second of this thread in the open model.
    pub rate: Option<f64>,
    /// Of each client; else the window ends.
    pub transactions: Option<u64>,
    pub seed: u64,
    pub per_statement: bool,
    /// How often a transaction may be tried in all.
    pub max_tries: u32,
    /// The warm-up only reads, as fast as it can: caches are measured full, not as they fill.
    pub fills: bool,
    pub series: Arc<Series>,
    /// Comes ten times a second. A timer of each thread would be set and taken back with every wait of its own.
    pub pulse: watch::Sender<()>,
    /// Open as long as a worker works: stores and their connections live in the runtimes of several.
    pub working: watch::Sender<()>,
}

/// How long what is under way at the end may take.
const GRACE: Duration = Duration::from_secs(10);

/// A client that never waits lets the others of its thread on after so many transactions.
const TURNS: u32 = 8;

/// What a worker leaves behind.
pub struct Outcome {
    pub record: Record,
    /// When its last transaction ended.
    pub ended: Instant,
}

/// Runs clients until the window ends, their transactions are done, or `stop` says so. Blocks: it is a thread's whole life.
pub fn work(
    plan: &Arc<Plan>,
    clients: Range<usize>,
    ready: mpsc::Sender<Result<()>>,
    start: watch::Receiver<Option<Window>>,
    stop: watch::Receiver<bool>,
) -> Result<Outcome> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("start a worker's runtime")?;
    let working = plan.working.subscribe();
    let outcome = runtime.block_on(async {
        let outcome = run(plan, clients, ready, start, stop).await;
        // Others may be asking a store that lives here.
        drop(working);
        plan.working.closed().await;
        outcome
    });
    // A connection that hangs is not waited for.
    runtime.shutdown_background();
    outcome
}

async fn run(
    plan: &Arc<Plan>,
    clients: Range<usize>,
    ready: mpsc::Sender<Result<()>>,
    mut start: watch::Receiver<Option<Window>>,
    mut stop: watch::Receiver<bool>,
) -> Result<Outcome> {
    let thread = clients.start as u64;
    // In the open model a thread has due times to keep.
    let alone = clients.len() == 1 && plan.rate.is_none();
    let mut opening: FuturesUnordered<_> = clients.clone().map(|client| plan.entrance.connect(client, alone)).collect();
    let mut connections = Vec::new();
    loop {
        tokio::select! {
            opened = opening.next() => match opened {
                Some(Ok(connection)) => connections.push(connection),
                Some(Err(error)) => {
                    // The receiver tells of the first such error and ends the others.
                    let _ = ready.send(Err(error)).await;
                    return Ok(Outcome { record: Record::default(), ended: Instant::now() });
                }
                None => break,
            },
            _ = stop.wait_for(|stop| *stop) => return Ok(Outcome { record: Record::default(), ended: Instant::now() }),
        }
    }
    drop(opening);
    let _ = ready.send(Ok(())).await;
    let window = tokio::select! {
        window = start.wait_for(Option::is_some) => match window { Ok(window) => *window, Err(_) => None },
        _ = stop.wait_for(|stop| *stop) => None,
    };
    let Some(window) = window else { return Ok(Outcome { record: Record::default(), ended: Instant::now() }) };

    let statements = if plan.per_statement { plan.workload.statements } else { 0 };
    let record = Record::new(plan.workload.scripts.len(), statements);
    let shared = Arc::new(Shared {
        plan: Arc::clone(plan),
        window,
        recorder: Mutex::new(Recorder::new(record, Arc::clone(&plan.series), window.measured_from)),
        schedule: plan.rate.map(|rate| {
            let start = if plan.fills { window.measured_from } else { window.start };
            Mutex::new(Schedule::new(rate, start, Random::stream(plan.seed, !thread)))
        }),
        under_way: clients.clone().map(|_| AtomicUsize::new(NONE)).collect(),
    });
    let mut running = JoinSet::new();
    for (place, (client, connection)) in clients.zip(connections).enumerate() {
        running.spawn(Client::new(client, place, connection, alone, Arc::clone(&shared))?.run());
    }
    let ended = end_of(&shared, &mut running, &mut stop).await;
    running.abort_all();
    while running.join_next().await.is_some() {}
    let ended = ended?;
    let Some(shared) = Arc::into_inner(shared) else { unreachable!("every client has ended") };
    let mut recorder = shared.recorder.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    recorder.hand_on();
    if let (Some(schedule), Some(end)) = (shared.schedule, window.end) {
        let end = if *stop.borrow() { end.min(Instant::now()) } else { end };
        recorder.record.not_sent = schedule.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner).left(end);
    }
    Ok(Outcome { record: recorder.record, ended })
}

/// Waits for the clients; hands on the seconds meanwhile, so that progress sees them while a server is silent.
async fn end_of(shared: &Shared, running: &mut JoinSet<Result<()>>, stop: &mut watch::Receiver<bool>) -> Result<Instant> {
    let deadline = shared.window.end.map(|end| end + GRACE);
    let mut pulse = shared.plan.pulse.subscribe();
    loop {
        tokio::select! {
            ended = running.join_next() => match ended {
                None => return Ok(Instant::now()),
                Some(Ok(result)) => result?,
                Some(Err(error)) => return Err(error).context("a client of the load test"),
            },
            _ = stop.wait_for(|stop| *stop) => return Ok(Instant::now()),
            _ = pulse.changed() => {
                let now = Instant::now();
                lock(&shared.recorder).turn_to(now);
                if deadline.is_some_and(|deadline| now > deadline) {
                    let refusal = Refusal {
                        code: "unfinished".to_string(),
                        message: format!("no answer {} s after the end", GRACE.as_secs()),
                        broken: true,
                    };
                    for script in shared.under_way.iter().map(|script| script.load(Ordering::Relaxed)).filter(|script| *script != NONE) {
                        lock(&shared.recorder).failed(script, &refusal, now);
                    }
                    return Ok(now);
                }
            }
        }
    }
}

/// What the clients of one thread share.
struct Shared {
    plan: Arc<Plan>,
    window: Window,
    recorder: Mutex<Recorder>,
    schedule: Option<Mutex<Schedule>>,
    /// The script that each client is in, where its transaction counts; else [`NONE`].
    under_way: Vec<AtomicUsize>,
}

const NONE: usize = usize::MAX;

struct Client {
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
}

/// Why a transaction did not come to its end.
enum Stopped {
    Refused(Refusal),
    /// The script itself is wrong, here: no transaction of it will ever run.
    Script(Place, anyhow::Error),
}

impl From<Refusal> for Stopped {
    fn from(refusal: Refusal) -> Self {
        Stopped::Refused(refusal)
    }
}

impl Client {
    fn new(number: usize, place: usize, connection: Connection, alone: bool, shared: Arc<Shared>) -> Result<Self> {
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
        })
    }

    async fn run(mut self) -> Result<()> {
        let shared = Arc::clone(&self.shared);
        let window = shared.window;
        let mut done = 0;
        let mut turns = 0u32;
        let mut now = Instant::now();
        loop {
            turns = turns.wrapping_add(1);
            if turns.is_multiple_of(TURNS) && self.never_waits {
                // The others of this thread want their turn.
                tokio::task::yield_now().await;
                now = Instant::now();
            }
            let filling = shared.plan.fills && now < window.measured_from;
            let due = match &shared.schedule {
                Some(schedule) if !filling => lock(schedule).take_before(window.end),
                _ => now,
            };
            if window.end.is_some_and(|end| due >= end || now >= end) {
                return Ok(());
            }
            if let Some(alarm) = self.alarm.as_mut().filter(|_| !filling) {
                alarm.wait_until(due).await?;
            }
            let measured = due >= window.measured_from;
            if let Some(wanted) = shared.plan.transactions
                && measured
            {
                if done == wanted {
                    return Ok(());
                }
                done += 1;
            }
            let begun = if shared.schedule.is_some() { Instant::now() } else { now };
            let workload = &shared.plan.workload;
            let number = if filling { workload.draw_read(&mut self.random) } else { workload.draw(&mut self.random) };
            let under_way = &shared.under_way[self.place];
            under_way.store(if measured { number } else { NONE }, Ordering::Relaxed);
            let (result, retries) = self.transact(&workload.scripts[number], measured).await;
            under_way.store(NONE, Ordering::Relaxed);
            now = Instant::now();
            let refusal = match result {
                Ok(()) => None,
                Err(Stopped::Refused(refusal)) => Some(refusal),
                Err(Stopped::Script(place, error)) => {
                    let failure = Failure::new("script_failed", format!("{place}: {error}"));
                    return Err(failure.hint("Correct the expression; no transaction of this script can run.").into());
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
            }
            if let Some(refusal) = refusal {
                self.recover(&refusal).await;
                now = Instant::now();
            }
        }
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
        let mut at = 0;
        while let Some(command) = commands.get(at) {
            at += 1;
            match command {
                Command::Draw(draw) => draw.fill(&mut self.random, &mut self.variables),
                Command::Set(slot, expression, place) => {
                    let value = evaluate(expression, &self.variables, &mut self.random);
                    self.variables[slot.index()] = value.map_err(|error| Stopped::Script(place.clone(), error))?;
                }
                Command::Statement(statement) => self.statement(statement, measured).await?,
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
        Ok(())
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

    /// After a failure: the transaction is ended, a broken connection is made anew, until that works or the run is over.
    async fn recover(&mut self, refusal: &Refusal) {
        if !refusal.broken && self.connection.recover().await {
            self.connection.end();
            return;
        }
        self.connection.end();
        let mut wait = Duration::from_millis(10);
        while self.shared.window.end.is_none_or(|end| Instant::now() < end) {
            match self.shared.plan.entrance.connect(self.number, false).await {
                Ok(connection) => {
                    self.connection = connection;
                    return;
                }
                // The transaction that broke has been counted; what falls due meanwhile waits, and its latency tells.
                Err(_) => tokio::time::sleep(wait).await,
            }
            wait = (wait * 2).min(Duration::from_secs(1));
        }
    }
}
