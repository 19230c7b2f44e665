//! `candlefish bench`: what each layer bears, measured so that it can be believed, with a verdict.
//!
//! A run is threads (`crew`, `worker`) with clients that draw scripts (`workload`, `script`) and send their statements through a layer (`layer`,
//! `instances`), when they are due (`schedule`); what they measure (`recorder`), and what is seen from beside them (`store_watch`, `server`), becomes
//! one report a layer (`report`), which is judged (`assertion`, `compare`).

mod assertion;
mod beside;
mod client;
mod compare;
mod crew;
mod declare;
mod fill;
mod find_max;
mod improvement;
mod instances;
mod kept;
mod layer;
mod open_transaction;
mod reading;
mod recorder;
mod report;
mod schedule;
mod script;
mod server;
mod statistics;
mod store_watch;
mod worker;
mod workload;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;
use std::{process, thread};

use anyhow::{Context as _, Result, bail};
use tokio::sync::watch;

pub use assertion::{Claim, parse as parse_claims};
pub use compare::{Comparison, FEWEST_RUNS, MetricComparison, Verdict, compare};
pub use fill::{Cleaned, Filling, NAME, SCHEMA, clean, filled_scale, init, not_filled};
pub use find_max::{FindMax, Step, find_max};
pub use improvement::Improvement;
pub use kept::{KeysRemoval, clean_redis, namespace};
pub use layer::Layer;
pub use recorder::{Second, Series};
pub use report::{
    AnsweredReport, Assertion, BenchReport, Config, ConnectionsReport, ErrorReport, LatencyReport, LayerReport, OpenReport,
    OperationReport, PartReport, SCHEMA_VERSION, SeriesPoint, StatementReport,
};
pub use server::{ServerReport, ServerStatement, Wait};
pub use store_watch::{CacheReport, PoolReport, RedisReport, StoreNow};
pub use workload::Choice;

use crate::model::{Failure, Query, QueryKind, sentence};
use crate::postgres::{Address, Protocol, connect};
use crate::sqlite;
use crate::store::{FleetPlace, StoreConfig, clear_namespace, make_outbox};
use crew::{Crew, Measured};
use instances::Instances;
use layer::Entrance;
use recorder::Record;
use worker::Plan;
use workload::Workload;

/// One load test, decided.
#[derive(Clone)]
pub struct Job {
    /// PostgreSQL itself.
    pub address: Address,
    /// How instances of the data layer are opened: the pooler's address where there is one, Redis, sizes. The layers say what of it answers.
    pub store: StoreConfig,
    /// Instances of the data layer, among which the clients are divided.
    pub instances: usize,
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
    /// `bench init` has filled the workloads' tables.
    pub is_filled: bool,
    /// Where the SQLite copy is made.
    pub scratch: PathBuf,
    /// The file that is copied; else one is made with the same data.
    pub source: Option<PathBuf>,
    pub ticks: Ticks,
    /// Turns true when a signal asks for the results so far.
    pub stop: watch::Receiver<bool>,
}

impl Job {
    fn has_scripts(&self) -> bool {
        self.workload.iter().any(|choice| !choice.is_built_in())
    }

    /// What the run keeps in Redis, where its namespace is no application's.
    fn own_keys(&self) -> Option<FleetPlace> {
        let url = self.store.redis.clone().filter(|_| self.store.announce.is_some() && self.layers.iter().any(|layer| layer.caches()))?;
        Some(FleetPlace { url, origin: "this run".to_string(), namespace: self.store.namespace.clone() })
    }

    /// The data layer would make it by itself, and `bench clean` could not tell it from an application's.
    fn needs_outbox(&self, queries: &[Option<Query>]) -> bool {
        let tells = |query: &Query| query.kind == QueryKind::Write && !query.tags.is_empty();
        self.layers.iter().any(|layer| layer.caches() || layer.of_store().is_some() && queries.iter().flatten().any(tells))
    }

    /// Nothing says that what a script hides may be done.
    fn only_reads(&self) -> bool {
        !self.may_write && self.has_scripts()
    }
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
    /// Of the data layer, where it is in the way.
    pub store: Option<StoreNow>,
    /// Clients without a connection.
    pub away: usize,
}

/// Where ticks go.
pub type Ticks = Arc<dyn Fn(Tick) + Send + Sync>;

/// Runs every layer in turn, `repeat` times round, so that a slow minute of the machine meets all of them. An error when nothing succeeded in any.
pub async fn run(job: &Job, started_at: String) -> Result<BenchReport> {
    let mut report = run_whatever_comes(job, started_at).await?;
    let failed: Vec<(String, Failure)> =
        report.layers.iter().filter_map(|layer| Some((layer.layer.clone(), layer.nothing_succeeded()?))).collect();
    for (layer, failure) in &failed {
        report.notes.push(format!("layer {layer}: {}", failure.message));
    }
    match failed.into_iter().next() {
        Some((layer, failure))
            if !report.interrupted && report.ended_early.is_none() && report.layers.iter().all(|layer| layer.transactions == 0) =>
        {
            Err(failure).with_context(|| format!("layer {layer}"))
        }
        _ => Ok(report),
    }
}

async fn run_whatever_comes(job: &Job, started_at: String) -> Result<BenchReport> {
    let workload = Workload::load(&job.workload, job.scale, job.seed, job.protocol == Protocol::Simple, &job.defines)?;
    check(job, &workload)?;
    let through_store = job.layers.iter().any(|layer| layer.of_store().is_some());
    if through_store {
        beside::check_pooler(&job.address, &job.store.address).await?;
    }
    if let Some(redis) = job.store.redis.as_deref().filter(|_| job.layers.iter().any(|layer| layer.caches())) {
        beside::check_redis(redis).await?;
    }
    let queries = if through_store { declare::queries(&workload, &job.address).await? } else { Vec::new() };
    if job.needs_outbox(&queries) {
        make_outbox(&job.address, fill::MAKER).await?;
    }
    let mut report = BenchReport {
        schema_version: SCHEMA_VERSION,
        candlefish_version: env!("CARGO_PKG_VERSION").to_string(),
        started_at,
        config: config(job).await?,
        layers: Vec::new(),
        improvements: Vec::new(),
        assertions: Vec::new(),
        notes: notes(job),
        interrupted: false,
        ended_early: None,
    };
    let ran = layers(job, &workload, &queries, &mut report).await;
    if let Some(kept) = job.own_keys() {
        // A Redis that is gone has nothing to remove.
        if let Err(error) = clear_namespace(&kept).await {
            report.notes.push(format!("what the run kept in Redis under {:?} was not removed: {}", kept.namespace, sentence(&error)));
        }
    }
    ran?;
    report.improvements = improvement::table(&report);
    Ok(report)
}

async fn layers(job: &Job, workload: &Workload, queries: &[Option<Query>], report: &mut BenchReport) -> Result<()> {
    for round in 1..=job.repeat {
        for layer in &job.layers {
            let ran = async { run_layer(job, *layer, round, entrance(job, *layer, queries).await?, workload.clone()).await };
            match ran.await.with_context(|| format!("layer {}", layer.as_str())) {
                Ok(ran) => report.layers.push(ran),
                // What was measured is not lost with a server that has gone meanwhile.
                Err(error) if !report.layers.is_empty() => {
                    report.ended_early = Some(sentence(&error));
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
            if *job.stop.borrow() {
                report.interrupted = true;
                return Ok(());
            }
        }
    }
    Ok(())
}

/// The layer of a run that names none: the whole data layer. Where that cannot run the scripts, one connection a client, and why.
pub fn default_layer(workload: &[Choice], may_write: bool, protocol: Protocol) -> (Layer, Option<&'static str>) {
    let has_scripts = workload.iter().any(|choice| !choice.is_built_in());
    match (has_scripts, may_write, protocol) {
        (true, false, _) => {
            (Layer::Direct, Some("the database may only be read, and the layers that keep answers make a table of their own"))
        }
        (_, _, Protocol::Simple) => (Layer::Direct, Some("the data layer sends values beside a statement, and -M simple within it")),
        _ => (Layer::Cached, None),
    }
}

/// Before a run: can these claims be judged on its report? Reads no script, which may be a pipe.
pub fn check_claims(job: &Job, claims: &[Claim]) -> Result<()> {
    let operations = workload::operations(&job.workload);
    Ok(claims.iter().try_for_each(|claim| claim.check(&job.layers, &operations))?)
}

/// Why this layer cannot run the job.
fn objection(job: &Job, layer: Layer) -> Option<Failure> {
    if layer == Layer::Sqlite {
        let known = |choice: &Choice| matches!(choice.name().as_str(), "registry" | "registry-read") || !choice.is_built_in();
        if !job.workload.iter().all(known) {
            let failure =
                Failure::new("no_sqlite_workload", "layer sqlite runs the workloads registry and registry-read, and script files");
            return Some(failure.hint("Choose another workload, or another layer."));
        }
        return (job.source.is_none() && !job.is_filled).then(|| not_filled(&job.address));
    }
    layer.of_store()?;
    if job.protocol == Protocol::Simple {
        let failure = Failure::new("no_simple_protocol", "the data layer sends values beside a statement, and -M simple within it");
        return Some(failure.hint("Leave -M simple out, or choose --layer direct."));
    }
    if job.only_reads() && layer.caches() {
        let name = job.address.database();
        let message =
            format!("the layers that keep answers make a table of their own, and nothing says that database {name:?} may be written to");
        let hint = format!("If it may: --allow-writes {name}. Else: --layer pooled or direct.");
        return Some(Failure::new("writes_not_allowed", message).hint(hint));
    }
    if layer == Layer::L2 && job.store.redis.is_none() {
        let failure = Failure::new("no_redis", "layer l2 is Redis, and no Redis is named");
        return Some(failure.hint("Name one with --redis or REDIS_URL, or choose --layer cached, which goes without."));
    }
    None
}

/// Of all layers, those that can run the job; why the others cannot.
pub fn leave_out(job: &mut Job) -> Vec<(Layer, Failure)> {
    let left_out: Vec<(Layer, Failure)> = job.layers.iter().filter_map(|layer| Some((*layer, objection(job, *layer)?))).collect();
    job.layers.retain(|layer| left_out.iter().all(|(other, _)| other != layer));
    left_out
}

fn check(job: &Job, workload: &Workload) -> Result<()> {
    if let Some(failure) = job.layers.iter().find_map(|layer| objection(job, *layer)) {
        bail!(failure);
    }
    if job.only_reads()
        && let Some((place, why)) =
            workload.each_statement().find_map(|statement| Some((&statement.place, script::reading::objection(statement)?)))
    {
        let database = job.address.database();
        let message = format!("{place}: {why}, and nothing says that database {database:?} may be written to");
        let hint =
            format!("If it may: --allow-writes {database}. Else use the local stack, or a database where `candlefish bench init` was run.");
        bail!(Failure::new("writes_not_allowed", message).hint(hint));
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
        instances: job.instances,
        seconds,
        transactions_per_client,
        warmup_seconds: job.warmup.as_secs_f64(),
        rate: job.rate,
        protocol: job.protocol.as_str().to_string(),
        seed: job.seed,
        scale: job.scale,
        repeat: job.repeat,
        max_tries: job.max_tries,
        cores: thread::available_parallelism().map_or(1, usize::from),
        server: if needs_server { Some(server(&job.address).await?) } else { None },
    })
}

/// The name under which the sessions of this process's runs log in: no other run's.
fn sessions() -> String {
    format!("candlefish bench {}", process::id())
}

/// The version and the settings that numbers depend on.
async fn server(address: &Address) -> Result<BTreeMap<String, String>> {
    let client = connect(address).await?;
    // Without a name: behind a pooler it may be another client's already.
    let rows = client.query_typed(include_str!("queries/server.sql"), &[]).await.context("read the server's settings")?;
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
    let others: Vec<&str> = job.layers.iter().filter(|layer| **layer != Layer::Direct).map(|layer| layer.as_str()).collect();
    if job.protocol != Protocol::Prepared && !others.is_empty() {
        notes.push(format!(
            "-M {} is of layer direct alone: the others ({}) send in ways of their own",
            job.protocol.as_str(),
            others.join(", ")
        ));
    }
    if job.layers.iter().any(|layer| layer.caches()) && !job.warmup.is_zero() {
        notes.push("before layers that keep answers are measured, their clients read as fast as they can: full caches are measured, not how they fill".to_string());
    }
    notes
}

async fn entrance(job: &Job, layer: Layer, queries: &[Option<Query>]) -> Result<Entrance> {
    if let Some(layers) = layer.of_store() {
        let mut config = job.store.clone().layers(layers);
        if layer == Layer::Pooled {
            config.redis = None;
        }
        config.pool.read_only = job.only_reads();
        if config.address.shown() == job.address.shown() {
            config.address = config.address.with_application_name(&sessions());
            if job.only_reads() && layer == Layer::Pooled {
                // The words of a script do not tell everything: PostgreSQL refuses what they hide. Behind a pooler each transaction says so itself.
                config.address = config.address.with_setting("default_transaction_read_only", "on");
            }
        }
        return Ok(Entrance::Store(Arc::new(Instances::new(config, job.instances, job.clients, queries.to_vec(), job.only_reads()))));
    }
    match layer {
        Layer::Direct => {
            let mut address = job.address.clone().with_application_name(&sessions());
            if job.only_reads() {
                // The words of a script do not tell everything: PostgreSQL refuses what they hide.
                address = address.with_setting("default_transaction_read_only", "on");
            }
            Ok(Entrance::Direct { address: Box::new(address), protocol: job.protocol, reads_only: job.only_reads() })
        }
        Layer::Sqlite => {
            let path = job.scratch.join("registry.db");
            remove_copy(&path)?;
            match &job.source {
                Some(source) => fill::copy_file(source, &path).await?,
                None => fill::copy_to_sqlite(&job.address, &path).await?,
            }
            Ok(Entrance::Sqlite(Arc::new(tokio::sync::Mutex::new(sqlite::Session::open(&path)?))))
        }
        Layer::Pooled | Layer::L2 | Layer::Cached => unreachable!("layers of the store"),
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
        fills: layer.caches(),
        series: Arc::clone(&series),
        pulse: watch::Sender::new(()),
        working: watch::Sender::new(()),
        away: AtomicUsize::new(0),
    });
    let crew = Crew::gather(&plan, job.clients, threads, job.stop.clone())?;
    let server = (layer != Layer::Sqlite).then_some(&job.address);
    let measured = crew.measure(job, layer, &series, server).await?;
    report(job, layer, round, &plan, measured)
}

fn report(job: &Job, layer: Layer, round: u32, plan: &Plan, measured: Measured) -> Result<LayerReport> {
    let Measured { record, elapsed, cpu, rss_bytes, series, store, server } = measured;
    // Scripts that no worker ran for: interrupted before the start.
    let scripts = &plan.workload.scripts;
    let all = record.tally(|_| true);
    let (transactions, errors) = (all.latencies.count(), all.failures);
    let seconds = elapsed.as_secs_f64();
    let of_store = store.as_ref();
    let part = |reads: bool| PartReport::of(&record.tally(|script| scripts[script].reads_only == reads));
    let statements = statement_reports(plan, &record);
    Ok(LayerReport {
        layer: layer.as_str().to_string(),
        run: round,
        clients: job.clients,
        threads: job.threads.min(job.clients).max(1),
        instances: if layer.of_store().is_some() { job.instances } else { 1 },
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
        latency_ms: LatencyReport::of(&all.all_latencies()),
        reads: part(true),
        writes: part(false),
        operations: scripts.iter().zip(&record.scripts).map(|(script, tally)| OperationReport::of(&script.name, tally)).collect(),
        statements,
        open: job.rate.map(|target_tps| OpenReport {
            target_tps,
            not_sent: record.not_sent,
            dropped_with_warmup: record.dropped_with_warmup,
            lag_ms: LatencyReport::of(&record.lag),
        }),
        connections: (layer != Layer::Sqlite).then(|| ConnectionsReport::of(&record.connections, job.clients, seconds)),
        rss_bytes,
        client_cpu_us_per_transaction: cpu.filter(|_| transactions > 0).map(|cpu| cpu.as_secs_f64() * 1e6 / (transactions + errors) as f64),
        answered: layer.of_store().map(|_| AnsweredReport::of(&record.answered)),
        l1: of_store.filter(|_| layer == Layer::Cached).map(|store| store.l1.clone()),
        l2: of_store.filter(|store| store.redis.is_some()).map(|store| store.l2.clone()),
        pool: of_store.map(|store| store.pool.clone()),
        redis: of_store.and_then(|store| store.redis.clone()),
        pending_writes: of_store.map(|store| store.pending_writes),
        server,
        series: series.into_iter().map(SeriesPoint::from).collect(),
    })
}

fn statement_reports(plan: &Plan, record: &Record) -> Vec<StatementReport> {
    if !plan.per_statement || record.statements.is_empty() {
        return Vec::new();
    }
    let of_script = |script: &script::Script| {
        let statements = script.commands.iter().filter_map(|command| match command {
            script::Command::Statement(statement) => Some(&**statement),
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
