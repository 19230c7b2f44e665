//! One thread with its clients: a runtime of its own, connections pinned to it, nothing shared with other threads but the end.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use futures_util::stream::{self, StreamExt as _};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::bench::client::Client;
use crate::bench::layer::Entrance;
use crate::bench::recorder::{NOT_SENT, Record, Recorder, Series, UNFINISHED, lock};
use crate::bench::schedule::{Schedule, Window};
use crate::bench::script::Random;
use crate::bench::workload::Workload;
use crate::postgres::Refusal;

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
    /// Clients that have no connection at the moment.
    pub away: AtomicUsize,
}

/// How long what is under way at the end may take.
const GRACE: Duration = Duration::from_secs(10);

/// What a worker leaves behind.
pub struct Outcome {
    pub record: Record,
    /// When the window was over, and the last answer had come.
    pub ended: Instant,
    /// Statements were under way that nobody waited for.
    pub left_at_work: bool,
}

impl Outcome {
    /// Of a worker that has done nothing.
    fn nothing() -> Self {
        Outcome { record: Record::default(), ended: Instant::now(), left_at_work: false }
    }
}

/// How long clients in the middle of a transaction may take to end it, when a signal ends the run.
const FINISHES_WITHIN: Duration = Duration::from_millis(200);

/// How long the server may take to hear that nobody waits for a statement any more.
const ENDS_WITHIN: Duration = Duration::from_secs(2);

/// Waits until what clients have left behind is ended: each is a task of this runtime. Stores have tasks that never end.
async fn statements_end() {
    let until = Instant::now() + ENDS_WITHIN;
    while Handle::current().metrics().num_alive_tasks() > 0 && Instant::now() < until {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
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
        if outcome.as_ref().is_ok_and(|outcome| outcome.left_at_work) {
            statements_end().await;
        }
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
    let mut opening =
        stream::iter(clients.clone()).map(|client| plan.entrance.connect(client, alone)).buffered(plan.entrance.opens_at_once());
    let mut connections = Vec::new();
    loop {
        tokio::select! {
            opened = opening.next() => match opened {
                Some(Ok(connection)) => connections.push(connection),
                Some(Err(error)) => {
                    // The receiver tells of the first such error and ends the others.
                    let _ = ready.send(Err(error)).await;
                    return Ok(Outcome::nothing());
                }
                None => break,
            },
            _ = stop.wait_for(|stop| *stop) => return Ok(Outcome::nothing()),
        }
    }
    drop(opening);
    let _ = ready.send(Ok(())).await;
    let window = tokio::select! {
        window = start.wait_for(Option::is_some) => match window { Ok(window) => *window, Err(_) => None },
        _ = stop.wait_for(|stop| *stop) => None,
    };
    let Some(window) = window else { return Ok(Outcome::nothing()) };

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
        under_way: clients.clone().map(|_| UnderWay::default()).collect(),
        is_leaving: AtomicBool::new(false),
        left_at_work: AtomicBool::new(false),
    });
    let mut running = JoinSet::new();
    for (place, (client, connection)) in clients.zip(connections).enumerate() {
        running.spawn(Client::new(client, place, connection, alone, Arc::clone(&shared))?.run());
    }
    let ended = end_of(&shared, &mut running, &mut stop).await;
    if *stop.borrow() {
        shared.is_leaving.store(true, Ordering::Relaxed);
        let all = async { while running.join_next().await.is_some() {} };
        // Whoever has not ended by then is left in the middle.
        let _ = tokio::time::timeout(FINISHES_WITHIN, all).await;
    }
    running.abort_all();
    while running.join_next().await.is_some() {}
    let ended = ended?;
    let Some(mut shared) = Arc::into_inner(shared) else { unreachable!("every client has ended") };
    if let (Some(schedule), Some(end)) = (shared.schedule.take(), window.end) {
        let end = if *stop.borrow() { end.min(Instant::now()) } else { end };
        let mut random = Random::stream(plan.seed, !thread - 1);
        for (due, count) in schedule.into_inner().unwrap_or_else(PoisonError::into_inner).left(end) {
            shared.not_sent(&mut random, due, count, ended);
        }
    }
    let left_at_work = *shared.left_at_work.get_mut();
    let recorder = shared.recorder.into_inner().unwrap_or_else(PoisonError::into_inner);
    let over = window.end.map_or(ended, |end| end.min(ended));
    // Waiting for what never came is no part of the time in which the others had their answers.
    let ended = if window.end.is_some() { recorder.last_answer.map_or(over, |last| last.max(over)) } else { ended };
    Ok(Outcome { record: recorder.end(over), ended, left_at_work })
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
                        code: UNFINISHED.to_string(),
                        message: format!("no answer {} s after the end", GRACE.as_secs()),
                        broken: true,
                    };
                    for (script, due) in shared.under_way.iter().filter_map(|under_way| under_way.get(&shared.window)) {
                        // One that was begun in the warm-up kept its client from all that was to be measured.
                        lock(&shared.recorder).unanswered(script, &refusal, 1, due.max(shared.window.measured_from), now);
                    }
                    return Ok(now);
                }
            }
        }
    }
}

/// What the clients of one thread share.
pub struct Shared {
    pub plan: Arc<Plan>,
    pub window: Window,
    pub recorder: Mutex<Recorder>,
    pub schedule: Option<Mutex<Schedule>>,
    pub under_way: Vec<UnderWay>,
    /// No client begins anything any more.
    pub is_leaving: AtomicBool,
    /// A client was dropped in the middle of a transaction.
    pub left_at_work: AtomicBool,
}

impl Shared {
    /// The next due time; none at the end of the window. A system that was behind its rate when the warm-up ended owes nothing of that any more: its
    /// queue is no part of what is measured.
    pub fn next_due(&self, schedule: &Mutex<Schedule>, now: Instant) -> Option<Instant> {
        let mut schedule = lock(schedule);
        if now >= self.window.measured_from {
            let dropped = schedule.begin_anew(self.window.measured_from);
            if dropped > 0 {
                lock(&self.recorder).record.dropped_with_warmup += dropped;
            }
        }
        schedule.take_before(self.window.end)
    }

    /// Transactions that were due at `due` and that nobody has begun by `until`.
    pub fn not_sent(&self, random: &mut Random, due: Instant, count: u64, until: Instant) {
        if due < self.window.measured_from {
            return;
        }
        let refusal = Refusal {
            code: NOT_SENT.to_string(),
            message: "due, and never sent: the clients were too few, or the system too slow".to_string(),
            broken: false,
        };
        let script = self.plan.workload.draw(random);
        let mut recorder = lock(&self.recorder);
        recorder.record.not_sent += count;
        recorder.unanswered(script, &refusal, count, due, until);
    }
}

/// The transaction that a client is in.
pub struct UnderWay {
    script: AtomicUsize,
    /// Nanoseconds since the run began.
    due: AtomicU64,
}

const NONE: usize = usize::MAX;

impl Default for UnderWay {
    fn default() -> Self {
        UnderWay { script: AtomicUsize::new(NONE), due: AtomicU64::new(0) }
    }
}

impl UnderWay {
    pub fn begin(&self, script: usize, due: Instant, window: &Window) {
        let since = due.saturating_duration_since(window.start).as_nanos();
        self.due.store(u64::try_from(since).unwrap_or(u64::MAX), Ordering::Relaxed);
        self.script.store(script, Ordering::Relaxed);
    }

    pub fn end(&self) {
        self.script.store(NONE, Ordering::Relaxed);
    }

    fn get(&self, window: &Window) -> Option<(usize, Instant)> {
        let script = self.script.load(Ordering::Relaxed);
        (script != NONE).then(|| (script, window.start + Duration::from_nanos(self.due.load(Ordering::Relaxed))))
    }
}
