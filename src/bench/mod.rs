//! `candlefish bench`: what each layer bears, measured so that it can be believed, with a verdict.
//!
//! A run is threads (`worker`) with clients that draw scripts (`workload`, `script`) and send their statements through a layer (`layer`), when
//! they are due (`schedule`); what they measure (`recorder`) becomes one report a layer (`report`).

mod assertion;
mod compare;
mod fill;
mod find_max;
mod layer;
mod recorder;
mod report;
mod schedule;
mod script;
mod statistics;
mod worker;
mod workload;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail};
use tokio::sync::{mpsc, watch};

pub use assertion::{Claim, parse as parse_claims};
pub use compare::{Comparison, FEWEST_RUNS, MetricComparison, Verdict, compare};
pub use fill::{SCHEMA, clean, filled_scale, init, not_filled};
pub use find_max::{FindMax, Step, find_max};
pub use layer::Layer;
pub use recorder::{Second, Series};
pub use report::{
    Assertion, BenchReport, Config, ErrorReport, LatencyReport, LayerReport, OpenReport, OperationReport, PartReport, SCHEMA_VERSION,
    SeriesPoint, StatementReport,
};
pub use workload::Choice;

use crate::model::Failure;
use crate::postgres::{Address, Protocol, connect};
use crate::sqlite;
use layer::Entrance;
use recorder::Record;
use schedule::Window;
use worker::{Outcome, Plan};
use workload::Workload;

/// One load test, decided.
#[derive(Clone)]
pub struct Job {
    pub address: Address,
    pub layers: Vec<Layer>,
    pub workload: Vec<Choice>,
    pub clients: usize,
    pub threads: usize,
    pub length: Length,
    pub warmup: Duration,
    /// Transactions a second: the open model. None: the closed one.
    pub rate: Option<f64>,
    pub protocol: Protocol,
    pub per_statement: bool,
    pub seed: u64,
    pub scale: u32,
    pub repeat: u32,
    pub max_tries: u32,
    /// `-D name=value`.
    pub defines: Vec<(String, String)>,
    /// False where a script file may only read.
    pub may_write: bool,
    /// Where the SQLite copy is made.
    pub scratch: PathBuf,
    pub ticks: Ticks,
    /// Turns true when a signal asks for the results so far.
    pub stop: watch::Receiver<bool>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Length {
    Time(Duration),
    /// Of each client.
    Transactions(u64),
}

/// What is told each second while a run goes on.
#[derive(Clone, Debug)]
pub struct Tick {
    pub layer: Layer,
    /// Since the measured window began; none while it warms up.
    pub seconds: Option<f64>,
    /// Of how many.
    pub length: Length,
    pub second: Second,
}

/// Where ticks go.
pub type Ticks = Arc<dyn Fn(Tick) + Send + Sync>;

/// Runs every layer in turn, `repeat` times round, so that a slow minute of the machine meets all of them.
pub async fn run(job: &Job, started_at: String) -> Result<BenchReport> {
    let workload = Workload::load(&job.workload, job.scale, job.seed, job.protocol == Protocol::Simple, &job.defines)?;
    check(job, &workload)?;
    let mut report = BenchReport {
        schema_version: SCHEMA_VERSION,
        candlefish_version: env!("CARGO_PKG_VERSION").to_string(),
        started_at,
        config: config(job).await?,
        layers: Vec::new(),
        assertions: Vec::new(),
        notes: notes(job),
        interrupted: false,
    };
    for round in 1..=job.repeat {
        for layer in &job.layers {
            let entrance = entrance(job, *layer).await?;
            report.layers.push(
                run_layer(job, *layer, round, entrance, workload.clone()).await.with_context(|| format!("layer {}", layer.as_str()))?,
            );
            if *job.stop.borrow() {
                report.interrupted = true;
                return Ok(report);
            }
        }
    }
    Ok(report)
}

fn check(job: &Job, workload: &Workload) -> Result<()> {
    if job.layers.contains(&Layer::Sqlite) {
        let known = |choice: &Choice| matches!(choice.name().as_str(), "registry" | "registry-read") || !choice.is_built_in();
        if !job.workload.iter().all(known) {
            let failure =
                Failure::new("no_sqlite_workload", "layer sqlite runs the workloads registry and registry-read, and script files");
            bail!(failure.hint("Choose another workload, or another layer."));
        }
    }
    if !job.may_write && !workload.reads_only() && job.workload.iter().any(|choice| !choice.is_built_in()) {
        let failure = Failure::new(
            "writes_not_allowed",
            format!("the scripts write, and nothing says that database {:?} may be written to", job.address.database()),
        );
        let hint = format!(
            "If it may: --allow-writes {}. Else use the local stack, or a database where `candlefish bench init` was run.",
            job.address.database()
        );
        bail!(failure.hint(hint));
    }
    Ok(())
}

async fn config(job: &Job) -> Result<Config> {
    let needs_server = job.layers.iter().any(|layer| *layer != Layer::Sqlite);
    let (seconds, transactions_per_client) = match job.length {
        Length::Time(time) => (Some(time.as_secs_f64()), None),
        Length::Transactions(count) => (None, Some(count)),
    };
    Ok(Config {
        workload: job.workload.iter().map(Choice::name).collect(),
        target: job.address.shown(),
        clients: job.clients,
        threads: job.threads,
        seconds,
        transactions_per_client,
        warmup_seconds: job.warmup.as_secs_f64(),
        rate: job.rate,
        protocol: match job.protocol {
            Protocol::Simple => "simple",
            Protocol::Extended => "extended",
            Protocol::Prepared => "prepared",
        }
        .to_string(),
        seed: job.seed,
        scale: job.scale,
        repeat: job.repeat,
        max_tries: job.max_tries,
        cores: thread::available_parallelism().map_or(1, usize::from),
        server: if needs_server { Some(server(&job.address).await?) } else { None },
    })
}

/// The version and the settings that numbers depend on.
async fn server(address: &Address) -> Result<BTreeMap<String, String>> {
    let rows = connect(address).await?.query(include_str!("queries/server.sql"), &[]).await.context("read the server's settings")?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}

fn notes(job: &Job) -> Vec<String> {
    let mut notes = Vec::new();
    if job.rate.is_none() {
        notes.push(
            "closed model: each client sends when its last answer has come, so a stall keeps requests back and their waiting is not in the \
             percentiles; -R RATE measures from when a request was due"
                .to_string(),
        );
    }
    notes
}

async fn entrance(job: &Job, layer: Layer) -> Result<Entrance> {
    match layer {
        Layer::Direct => {
            let mut address = job.address.clone().with_application_name("candlefish bench");
            if !job.may_write && job.workload.iter().any(|choice| !choice.is_built_in()) {
                // The words of a script do not tell everything: PostgreSQL refuses what they hide.
                address = address.with_setting("default_transaction_read_only", "on");
            }
            Ok(Entrance::Direct { address: Box::new(address), protocol: job.protocol })
        }
        Layer::Sqlite => {
            let path = job.scratch.join("registry.db");
            remove_copy(&path)?;
            fill::copy_to_sqlite(&job.address, &path).await?;
            Ok(Entrance::Sqlite(Arc::new(tokio::sync::Mutex::new(sqlite::Session::open(&path)?))))
        }
    }
}

fn remove_copy(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error).with_context(|| format!("remove {}", path.display())),
        _ => Ok(()),
    }
}

/// One layer, once.
async fn run_layer(job: &Job, layer: Layer, round: u32, entrance: Entrance, workload: Workload) -> Result<LayerReport> {
    let threads = job.threads.min(job.clients).max(1);
    let series = Arc::new(Series::default());
    let plan = Arc::new(Plan {
        entrance,
        workload,
        rate: job.rate.map(|rate| rate / threads as f64),
        transactions: match job.length {
            Length::Transactions(count) => Some(count),
            Length::Time(_) => None,
        },
        // Each round has other numbers, every layer of a round the same.
        seed: job.seed.wrapping_add(u64::from(round) - 1),
        per_statement: job.per_statement,
        max_tries: job.max_tries,
        series: Arc::clone(&series),
    });
    let crew = Crew::gather(&plan, job.clients, threads, job.stop.clone())?;
    let measured = crew.measure(job, layer, &series).await?;
    report(job, layer, round, &plan, measured)
}

/// The threads of one run.
struct Crew {
    workers: Vec<thread::JoinHandle<Result<Outcome>>>,
    ready: mpsc::Receiver<Result<()>>,
    start: watch::Sender<Option<Window>>,
    halt: watch::Sender<bool>,
}

struct Measured {
    record: Record,
    window: Window,
    ended: Instant,
    cpu: Duration,
    rss_bytes: Option<u64>,
    series: Vec<Second>,
}

impl Crew {
    fn gather(plan: &Arc<Plan>, clients: usize, threads: usize, mut stop: watch::Receiver<bool>) -> Result<Self> {
        let (ready_sender, ready) = mpsc::channel(threads);
        let (start, started) = watch::channel(None);
        let (halt, halted) = watch::channel(false);
        let mut workers = Vec::new();
        for number in 0..threads {
            let share = clients * number / threads..clients * (number + 1) / threads;
            let (plan, ready, started, halted) = (Arc::clone(plan), ready_sender.clone(), started.clone(), halted.clone());
            let worker =
                thread::Builder::new().name(format!("bench {number}")).spawn(move || worker::work(&plan, share, ready, started, halted));
            workers.push(worker.context("start a worker thread")?);
        }
        let halting = halt.clone();
        tokio::spawn(async move {
            if stop.wait_for(|stop| *stop).await.is_ok() {
                halting.send_replace(true);
            }
        });
        Ok(Crew { workers, ready, start, halt })
    }

    async fn measure(mut self, job: &Job, layer: Layer, series: &Series) -> Result<Measured> {
        for _ in 0..self.workers.len() {
            match self.ready.recv().await {
                Some(Ok(())) => {}
                Some(Err(error)) => {
                    self.halt.send_replace(true);
                    return Err(error).context("connect the clients");
                }
                None => break,
            }
        }
        let start = Instant::now();
        let measured_from = start + job.warmup;
        let end = match job.length {
            Length::Time(time) => Some(measured_from + time),
            Length::Transactions(_) => None,
        };
        let window = Window { start, measured_from, end };
        self.start.send_replace(Some(window));

        let workers = std::mem::take(&mut self.workers);
        let mut joined = tokio::task::spawn_blocking(move || workers.into_iter().map(thread::JoinHandle::join).collect::<Vec<_>>());
        let mut cpu_before = None;
        let mut rss_bytes = None;
        let mut tick = tokio::time::interval(Duration::from_millis(250));
        let mut told = None;
        let outcomes = loop {
            tokio::select! {
                outcomes = &mut joined => break outcomes.context("wait for the workers")?,
                _ = tokio::time::sleep_until(measured_from.into()), if cpu_before.is_none() => cpu_before = Some(process_cpu()),
                _ = tick.tick() => {
                    rss_bytes = rss_bytes.max(resident_bytes());
                    let now = Instant::now();
                    // A second is told when it is over and the workers have handed it on.
                    let seconds = now.checked_duration_since(measured_from).map(|time| time.as_secs_f64());
                    let second = seconds.map_or(0, |seconds| (seconds - 0.2).max(0.0) as u64);
                    if told != Some((seconds.is_some(), second)) {
                        told = Some((seconds.is_some(), second));
                        (job.ticks)(Tick { layer, seconds: seconds.map(f64::floor), length: job.length, second: series.last(second, 1) });
                    }
                }
            }
        };
        let cpu = process_cpu().saturating_sub(cpu_before.unwrap_or_default());
        let mut record: Option<Record> = None;
        let mut ended = measured_from;
        for outcome in outcomes {
            let outcome = outcome.map_err(|_| anyhow!("a worker thread panicked"))??;
            ended = ended.max(outcome.ended);
            match &mut record {
                None => record = Some(outcome.record),
                Some(all) => all.add(&outcome.record),
            }
        }
        let record = record.context("a load test has a worker")?;
        Ok(Measured { record, window, ended, cpu, rss_bytes, series: series.seconds() })
    }
}

fn report(job: &Job, layer: Layer, round: u32, plan: &Plan, measured: Measured) -> Result<LayerReport> {
    let Measured { record, window, ended, cpu, rss_bytes, series } = measured;
    // Scripts that no worker ran for: interrupted before the start.
    let scripts = &plan.workload.scripts;
    let all = record.latencies(|_| true);
    let (transactions, errors) = (all.count(), record.failures());
    if transactions == 0
        && let Some((code, error)) = record.errors.iter().max_by_key(|(_, error)| error.count)
    {
        let failure = Failure::new("nothing_succeeded", format!("not one of {errors} transactions succeeded: {}", error.message));
        let failure = if code.len() == 5 { failure.sqlstate(code.as_str()) } else { failure };
        bail!(failure.hint("Try the script's statements with `candlefish psql`."));
    }
    let seconds = (ended - window.measured_from).as_secs_f64();
    let part = |reads: bool| {
        let chosen = |script: usize| scripts[script].reads_only == reads;
        let failures = record.scripts.iter().enumerate().filter(|(script, _)| chosen(*script)).map(|(_, tally)| tally.failures).sum();
        PartReport::of(&record.latencies(chosen), failures)
    };
    let statements = statement_reports(plan, &record);
    Ok(LayerReport {
        layer: layer.as_str().to_string(),
        run: round,
        clients: job.clients,
        threads: job.threads.min(job.clients).max(1),
        seconds,
        transactions,
        tps: if seconds > 0.0 { transactions as f64 / seconds } else { 0.0 },
        errors,
        error_rate: (transactions + errors > 0).then(|| errors as f64 / (transactions + errors) as f64),
        retries: record.retries,
        errors_by_code: record
            .errors
            .iter()
            .map(|(code, error)| ErrorReport { code: code.clone(), count: error.count, message: error.message.clone() })
            .collect(),
        latency_ms: LatencyReport::of(&all),
        reads: part(true),
        writes: part(false),
        operations: scripts.iter().zip(&record.scripts).map(|(script, tally)| OperationReport::of(&script.name, tally)).collect(),
        statements,
        open: job.rate.map(|target_tps| OpenReport { target_tps, not_sent: record.not_sent, lag_ms: LatencyReport::of(&record.lag) }),
        rss_bytes,
        client_cpu_us_per_transaction: (transactions > 0).then(|| cpu.as_secs_f64() * 1e6 / (transactions + errors) as f64),
        series: series.into_iter().map(SeriesPoint::from).collect(),
    })
}

fn statement_reports(plan: &Plan, record: &Record) -> Vec<StatementReport> {
    if !plan.per_statement || record.statements.is_empty() {
        return Vec::new();
    }
    let of_script = |script: &script::Script| {
        let statements = script.commands.iter().filter_map(|command| match command {
            script::Command::Statement(statement) => Some(statement),
            _ => None,
        });
        let report = |statement: &script::Statement| {
            let tally = &record.statements[statement.index];
            StatementReport {
                operation: script.name.clone(),
                statement: statement.sql.split_whitespace().collect::<Vec<_>>().join(" "),
                executions: tally.latencies.count(),
                errors: tally.failures,
                latency_ms: LatencyReport::of(&tally.latencies),
            }
        };
        statements.map(report).collect::<Vec<_>>()
    };
    plan.workload.scripts.iter().flat_map(of_script).collect()
}

/// User and system time of all threads.
fn process_cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or_default(), u32::try_from(time.tv_nsec).unwrap_or_default())
}

/// This process's memory that is resident now; unknown where there is no `/proc`.
fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?.trim().strip_suffix("kB")?;
    kib.trim().parse::<u64>().ok().map(|kib| kib * 1024)
}
