//! `candlefish bench`: load tests through each layer, with a verdict.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use clap::{Parser as _, Subcommand, ValueEnum};
use tokio::sync::watch;

use crate::bench::{self, BenchReport, Choice, Comparison, Job, Layer, Length, Verdict};
use crate::cli::settings::{Settings, TargetArgs, say_target};
use crate::cli::signals::Signals;
use crate::cli::{Exit, signals, stack};
use crate::model::Failure;
use crate::postgres::{Address, Protocol};
use crate::render::{self, BenchProgress, Ui};

#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true, after_help = EXAMPLES)]
pub struct Args {
    #[command(subcommand)]
    task: Option<Task>,
    #[command(flatten)]
    run: RunArgs,
}

const EXAMPLES: &str = "\
Examples:
  candlefish bench                                     the registry's load on the local stack, 30 s
  candlefish bench -S -c 50 -M prepared                pgbench's select-only by 50 clients
  candlefish bench -R 2000 -c 200 -T 2m                an open model: 2,000 transactions a second, latency from when each was due
  candlefish bench -f read.sql@9 -f write.sql          two scripts in pgbench's language, nine to one";

#[derive(Debug, Subcommand)]
enum Task {
    /// Fill the built-in workloads' tables, in the schema candlefish_bench
    Init(InitArgs),
    /// Drop the schema candlefish_bench
    Clean(CleanArgs),
    /// Two saved results, or two ways of running side by side: better, worse (exit 1), or not to be told from noise
    Compare(CompareArgs),
    /// The highest rate at which assertions hold
    FindMax(Box<FindMaxArgs>),
}

#[derive(Debug, clap::Args)]
struct CompareArgs {
    /// Results that --save has written
    #[arg(value_name = "FILE.json", num_args = 2, required_unless_present = "interleave", conflicts_with = "interleave")]
    files: Vec<PathBuf>,
    /// Two sets of arguments of `bench`, run in turn
    #[arg(long, num_args = 2, value_names = ["ARGS", "ARGS"], allow_hyphen_values = true)]
    interleave: Vec<String>,
    /// Runs of each side
    #[arg(long, value_name = "N", default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..), requires = "interleave")]
    repeat: u32,
    /// So much slower is no worse, such as 5%
    #[arg(long, value_name = "P%", default_value = "0%", value_parser = percent)]
    max_regress: f64,
}

#[derive(Debug, clap::Args)]
struct FindMaxArgs {
    /// What must hold, such as 'p95<50ms,error_rate<0.1%', or kpi
    #[arg(value_name = "EXPR", value_parser = claims)]
    claims: Claims,
    /// The rate to begin with [default: half of what the closed model reaches]
    #[arg(long, value_name = "TPS", value_parser = rate)]
    start: Option<f64>,
    #[command(flatten)]
    run: RunArgs,
}

/// The arguments of a run, where they come as one text.
#[derive(Debug, clap::Parser)]
#[command(name = "bench", no_binary_name = true)]
struct Interleaved {
    #[command(flatten)]
    run: RunArgs,
}

#[derive(Clone, Debug)]
struct Claims(Vec<bench::Claim>);

fn claims(text: &str) -> Result<Claims, String> {
    bench::parse_claims(text).map(Claims).map_err(|failure| failure.to_string())
}

fn percent(text: &str) -> Result<f64, String> {
    match text.trim_end_matches('%').parse::<f64>() {
        Ok(percent) if (0.0..100.0).contains(&percent) => Ok(percent / 100.0),
        _ => Err("a share is such as 5%".to_string()),
    }
}

#[derive(Debug, clap::Args)]
struct InitArgs {
    #[command(flatten)]
    target: TargetArgs,
    /// 35 services, 1,000 users, 70,000 probes and 100,000 accounts for each 1
    #[arg(short, long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    scale: u32,
}

#[derive(Debug, clap::Args)]
struct CleanArgs {
    #[command(flatten)]
    target: TargetArgs,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

#[derive(Clone, Debug, clap::Args)]
pub struct RunArgs {
    #[command(flatten)]
    target: TargetArgs,
    /// The way to the data: direct is one connection a client, sqlite a file's one connection for all, all is each in turn
    #[arg(long, value_name = "LAYER", default_value = "direct", value_parser = layers)]
    layer: Layers,
    /// registry, registry-read, select-only, tpcb, simple-update, or a script in pgbench's language; with @WEIGHT (repeatable) [default: registry]
    #[arg(short = 'f', long, value_name = "NAME|FILE.sql[@WEIGHT]", visible_short_alias = 'b', value_parser = Choice::parse)]
    workload: Vec<Choice>,
    /// Short for --workload select-only
    #[arg(short = 'S')]
    select_only: bool,
    /// Short for --workload simple-update
    #[arg(short = 'N')]
    simple_update: bool,
    /// Clients at the same time
    #[arg(short, long, default_value = "10", value_name = "N")]
    clients: NonZeroUsize,
    /// Threads that drive them [default: the machine's cores, at most 4]
    #[arg(short = 'j', long, value_name = "N")]
    threads: Option<NonZeroUsize>,
    /// How long is measured, such as 30, 30s, 2m [default: 30s]
    #[arg(short = 'T', long, value_name = "DURATION", value_parser = duration, conflicts_with = "transactions")]
    time: Option<Duration>,
    /// So many transactions of each client, instead of a time
    #[arg(short = 't', long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    transactions: Option<u64>,
    /// What runs before and is not measured
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "5s")]
    warmup: Duration,
    /// Transactions a second, at random moments (open model); latency is from when each was due
    #[arg(short = 'R', long, value_name = "TPS", value_parser = rate)]
    rate: Option<f64>,
    /// How statements are sent
    #[arg(short = 'M', long, value_name = "PROTOCOL", value_enum, default_value = "prepared")]
    protocol: Protocol,
    /// A line of progress each so many seconds [default: 10, or live on a terminal]
    #[arg(short = 'P', long, value_name = "SECS", value_parser = clap::value_parser!(u64).range(1..))]
    progress: Option<u64>,
    /// Latency of each statement too
    #[arg(short = 'r', long)]
    report_per_statement: bool,
    /// Of all random numbers: the same seed draws the same transactions
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// What :scale is in a script [default: what bench init has filled, else 1]
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    scale: Option<u32>,
    /// A variable for scripts (repeatable)
    #[arg(short = 'D', long = "define", value_name = "NAME=VALUE", value_parser = define)]
    defines: Vec<(String, String)>,
    /// Tries of a transaction after serialization failures and deadlocks
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    max_tries: u32,
    /// Runs of each layer, in turn
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    repeat: u32,
    /// What must hold, else exit 1: p95<50ms, error_rate<0.1%, sqlite:p99<1s, any number of the JSON by its names, or kpi (repeatable)
    #[arg(long = "assert", value_name = "EXPR", value_parser = claims)]
    asserts: Vec<Claims>,
    /// Write the result here, for `bench compare`
    #[arg(long, value_name = "FILE.json")]
    save: Option<PathBuf>,
    /// Lets scripts write in the database of this name
    #[arg(long, value_name = "DBNAME")]
    allow_writes: Option<String>,
}

#[derive(Clone, Debug)]
struct Layers(Vec<Layer>);

fn layers(text: &str) -> Result<Layers, String> {
    if text == "all" {
        return Ok(Layers(Layer::ALL.to_vec()));
    }
    let names: Vec<&str> = Layer::ALL.iter().map(|layer| layer.as_str()).collect();
    let layer = Layer::ALL.into_iter().find(|layer| layer.as_str() == text);
    layer.map(|layer| Layers(vec![layer])).ok_or_else(|| format!("the layers are {} and all", names.join(", ")))
}

impl ValueEnum for Protocol {
    fn value_variants<'a>() -> &'a [Self] {
        &[Protocol::Simple, Protocol::Extended, Protocol::Prepared]
    }

    fn to_possible_value(&self) -> Option<clap::builder::PossibleValue> {
        Some(clap::builder::PossibleValue::new(match self {
            Protocol::Simple => "simple",
            Protocol::Extended => "extended",
            Protocol::Prepared => "prepared",
        }))
    }
}

fn rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if rate > 0.0 && rate <= 1e7 => Ok(rate),
        _ => Err("a rate is a number above 0, transactions a second".to_string()),
    }
}

fn define(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_string(), value.to_string())),
        _ => Err("a variable is given as name=value".to_string()),
    }
}

/// `60`, `60s`, `500ms`, `2m`, `1h`.
fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let seconds = match unit.trim() {
        "" | "s" => 1.0,
        "ms" => 0.001,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        _ => return Err(format!("{unit:?} is no unit of time: ms, s, m, h")),
    };
    let number: f64 = number.parse().map_err(|_| "a duration is such as 30, 30s, 2m".to_string())?;
    Duration::try_from_secs_f64(number * seconds).map_err(|_| "a duration is such as 30, 30s, 2m".to_string())
}

pub async fn run(args: Args, settings: &Settings, ui: &Ui) -> Result<Exit> {
    match args.task {
        None => load(&args.run, settings, ui).await,
        Some(Task::Init(args)) => signals::or_stopped(init(&args, settings, ui)).await,
        Some(Task::Clean(args)) => signals::or_stopped(clean(&args, settings, ui)).await,
        Some(Task::Compare(args)) if args.interleave.is_empty() => compare_files(&args, ui),
        Some(Task::Compare(args)) => interleave(&args, settings, ui).await,
        Some(Task::FindMax(args)) => find_max(&args, settings, ui).await,
    }
}

async fn init(args: &InitArgs, settings: &Settings, ui: &Ui) -> Result<Exit> {
    let address = settings.address(args.target.to.as_deref(), ui)?;
    say_target(&address, ui);
    fill(&address, args.scale, ui).await?;
    Ok(Exit::Good)
}

async fn fill(address: &Address, scale: u32, ui: &Ui) -> Result<()> {
    ui.say(&format!("filling schema {} at scale {scale}", bench::SCHEMA));
    bench::init(address, scale).await.context("bench init")
}

async fn clean(args: &CleanArgs, settings: &Settings, ui: &Ui) -> Result<Exit> {
    let address = settings.address(args.target.to.as_deref(), ui)?;
    say_target(&address, ui);
    if !args.yes && !stack::agreed(&format!("Drop schema {} in {}?", bench::SCHEMA, address.shown()))? {
        bail!(Failure::new("not_confirmed", "nothing was dropped").hint("Without a question: candlefish bench clean --yes"));
    }
    let dropped = bench::clean(&address).await.context("bench clean")?;
    ui.say(if dropped { "dropped" } else { "there was nothing that bench init made" });
    Ok(Exit::Good)
}

async fn load(args: &RunArgs, settings: &Settings, ui: &Ui) -> Result<Exit> {
    let running = async |stopped| {
        let prepared = Prepared::new(args, settings, ui, stopped).await?;
        let report = bench::run(&prepared.job, ui.started_at.clone()).await.context("bench");
        prepared.progress.finish();
        let mut report = report?;
        for claim in args.asserts.iter().flat_map(|claims| &claims.0) {
            report.assertions.push(claim.judge(&report)?);
        }
        anyhow::Ok(report)
    };
    let (report, signal) = match until_signal(running).await? {
        (Some(report), signal) => (report, signal),
        (None, signal) => return Ok(signal.map_or(Exit::Good, Exit::Signal)),
    };
    if let Some(path) = &args.save {
        let text = serde_json::to_string_pretty(&report)? + "\n";
        std::fs::write(path, text).with_context(|| format!("save the result in {}", path.display()))?;
    }
    render::bench(ui, &report)?;
    let passed = report.assertions.iter().all(|assertion| assertion.passed);
    Ok(match signal {
        Some(signal) => Exit::Signal(signal),
        None if passed => Exit::Good,
        None => Exit::Bad,
    })
}

/// Runs to the end, or until a first signal asks for what there is; a second signal ends it at once, with nothing.
async fn until_signal<T>(running: impl AsyncFnOnce(watch::Receiver<bool>) -> Result<T>) -> Result<(Option<T>, Option<u8>)> {
    let (stop, stopped) = watch::channel(false);
    let running = running(stopped);
    tokio::pin!(running);
    let mut signals = Signals::listen()?;
    let mut signal = None;
    loop {
        tokio::select! {
            result = &mut running => return Ok((Some(result?), signal)),
            received = signals.next() => {
                if signal.is_some() {
                    return Ok((None, Some(received)));
                }
                signal = Some(received);
                stop.send_replace(true);
            }
        }
    }
}

fn compare_files(args: &CompareArgs, ui: &Ui) -> Result<Exit> {
    let [a, b] = args.files.as_slice() else { unreachable!("clap takes two") };
    let (a, b) = (saved(a)?, saved(b)?);
    finish_comparison(&bench::compare(&a, &b, args.max_regress, false)?, ui)
}

fn saved(path: &Path) -> Result<BenchReport> {
    let context = || format!("read the result {}", path.display());
    let text = std::fs::read_to_string(path).with_context(context)?;
    serde_json::from_str(&text).map_err(|error| {
        let failure = Failure::new("not_a_result", format!("{} is not what `bench --save` writes: {error}", path.display()));
        failure.hint("Write one: candlefish bench --repeat 7 --save FILE.json").into()
    })
}

fn finish_comparison(comparison: &Comparison, ui: &Ui) -> Result<Exit> {
    render::bench_comparison(ui, comparison)?;
    Ok(if comparison.verdict == Verdict::Worse { Exit::Bad } else { Exit::Good })
}

/// A B, B A, A B …: what changes on the machine meanwhile meets both sides.
async fn interleave(args: &CompareArgs, settings: &Settings, ui: &Ui) -> Result<Exit> {
    let sides = args.interleave.iter().map(|text| interleaved(text)).collect::<Result<Vec<_>>>()?;
    let running = async |stopped: watch::Receiver<bool>| {
        let mut reports: Vec<Option<BenchReport>> = vec![None, None];
        let mut prepared = Vec::new();
        for side in &sides {
            prepared.push(Prepared::new(side, settings, ui, stopped.clone()).await?);
        }
        for round in 1..=args.repeat {
            for turn in 0..2 {
                let side = if round % 2 == 1 { turn } else { 1 - turn };
                ui.say(&format!("run {round} of {}, side {}", args.repeat, ["A", "B"][side]));
                let mut job = prepared[side].job.clone();
                job.seed = job.seed.wrapping_add(u64::from(round));
                let mut report = bench::run(&job, ui.started_at.clone()).await.context("bench")?;
                prepared[side].progress.finish();
                report.layers.iter_mut().for_each(|layer| layer.run = round);
                match &mut reports[side] {
                    None => reports[side] = Some(report),
                    Some(all) => all.layers.extend(report.layers),
                }
                if *stopped.borrow() {
                    return anyhow::Ok(reports);
                }
            }
        }
        Ok(reports)
    };
    let (reports, signal) = until_signal(running).await?;
    let exit = match reports.as_deref() {
        Some([Some(a), Some(b)]) => finish_comparison(&bench::compare(a, b, args.max_regress, true)?, ui)?,
        _ => Exit::Good,
    };
    Ok(signal.map_or(exit, Exit::Signal))
}

fn interleaved(text: &str) -> Result<RunArgs> {
    let words = text.split_whitespace().filter(|word| *word != "bench");
    match Interleaved::try_parse_from(words) {
        Ok(interleaved) => Ok(interleaved.run),
        Err(error) => {
            let said = error.to_string();
            let sentence = said.lines().next().unwrap_or_default().trim_start_matches("error: ");
            bail!(
                Failure::new("usage", format!("--interleave {text:?}: {sentence}"))
                    .hint("Give the arguments of one `candlefish bench`, in quotes.")
            )
        }
    }
}

async fn find_max(args: &FindMaxArgs, settings: &Settings, ui: &Ui) -> Result<Exit> {
    let running = async |stopped| {
        let mut run = args.run.clone();
        // Short runs: there will be a dozen.
        run.time.get_or_insert(Duration::from_secs(10));
        let prepared = Prepared::new(&run, settings, ui, stopped).await?;
        let start = match args.start {
            Some(start) => start,
            None => {
                let mut job = prepared.job.clone();
                job.rate = None;
                job.repeat = 1;
                job.length = Length::Time(Duration::from_secs(3));
                let report = bench::run(&job, ui.started_at.clone()).await.context("bench")?;
                (report.layers.last().map_or(100.0, |layer| layer.tps) / 2.0).max(1.0)
            }
        };
        let found = bench::find_max(&prepared.job, &args.claims.0, start, &ui.started_at).await.context("bench find-max");
        prepared.progress.finish();
        found
    };
    let (found, signal) = until_signal(running).await?;
    let Some(found) = found else { return Ok(signal.map_or(Exit::Good, Exit::Signal)) };
    render::bench_find_max(ui, &found)?;
    Ok(match signal {
        Some(signal) => Exit::Signal(signal),
        None if found.max_rate.is_some() => Exit::Good,
        None => Exit::Bad,
    })
}

/// A job with what lives as long as it.
struct Prepared {
    job: Job,
    progress: Arc<BenchProgress>,
    _scratch: Scratch,
}

impl Prepared {
    async fn new(args: &RunArgs, settings: &Settings, ui: &Ui, stop: watch::Receiver<bool>) -> Result<Self> {
        let scratch = Scratch::new()?;
        let progress = Arc::new(BenchProgress::new(ui, args.progress));
        let job = job(args, settings, ui, &scratch, &progress, stop).await?;
        Ok(Prepared { job, progress, _scratch: scratch })
    }
}

async fn job(
    args: &RunArgs,
    settings: &Settings,
    ui: &Ui,
    scratch: &Scratch,
    progress: &Arc<BenchProgress>,
    stop: watch::Receiver<bool>,
) -> Result<Job> {
    let address = settings.address(args.target.to.as_deref(), ui)?;
    ui.say(&format!("target: {address} (from {})", address.origin));
    let workload = chosen_workload(args);
    let on_stack = address.origin == "the local stack";
    let built_in = workload.iter().any(Choice::is_built_in);
    let filled = bench::filled_scale(&address).await?;
    let filled = match filled {
        None if built_in && on_stack => {
            let scale = args.scale.unwrap_or(1);
            fill(&address, scale, ui).await?;
            Some(scale)
        }
        None if built_in => bail!(bench::not_filled(&address)),
        filled => filled,
    };
    if let (Some(wanted), Some(filled), true) = (args.scale, filled, built_in)
        && wanted > filled
    {
        let failure = Failure::new("bench_scale", format!("the workload's tables are of scale {filled}, not {wanted}"));
        bail!(failure.hint(format!("Fill them anew: candlefish bench init --scale {wanted}")));
    }
    let shown = Arc::clone(progress);
    Ok(Job {
        may_write: on_stack || filled.is_some() || args.allow_writes.as_deref() == Some(address.database()),
        address,
        layers: args.layer.0.clone(),
        workload,
        clients: args.clients.get(),
        threads: args.threads.map_or_else(default_threads, usize::from),
        length: args.transactions.map_or(Length::Time(args.time.unwrap_or(Duration::from_secs(30))), Length::Transactions),
        warmup: args.warmup,
        rate: args.rate,
        protocol: args.protocol,
        per_statement: args.report_per_statement,
        seed: args.seed,
        scale: args.scale.or(filled).unwrap_or(1),
        repeat: args.repeat,
        max_tries: args.max_tries,
        defines: args.defines.clone(),
        scratch: scratch.0.clone(),
        ticks: Arc::new(move |tick| shown.show(&tick)),
        stop,
    })
}

fn chosen_workload(args: &RunArgs) -> Vec<Choice> {
    let mut workload = args.workload.clone();
    for (wanted, name) in [(args.select_only, "select-only"), (args.simple_update, "simple-update")] {
        if wanted {
            workload.extend(Choice::parse(name));
        }
    }
    if workload.is_empty() {
        workload.extend(Choice::parse("registry"));
    }
    workload
}

fn default_threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from).min(4)
}

/// A folder for the SQLite copy, gone with the run.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("candlefish-bench-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&folder).with_context(|| format!("make {}", folder.display()))?;
        Ok(Scratch(folder))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What is left is in the system's folder for such.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units() {
        for (text, seconds) in [("60", 60.0), ("60s", 60.0), ("2m", 120.0), ("500ms", 0.5), ("1.5h", 5400.0)] {
            assert_eq!(duration(text), Ok(Duration::from_secs_f64(seconds)));
        }
        assert!(duration("2 weeks").is_err() && duration("m").is_err());
    }
}
