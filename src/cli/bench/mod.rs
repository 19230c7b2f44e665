//! `candlefish bench`: load tests through each layer, with a verdict.

mod args;
mod result_file;
mod tables;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use clap::Parser as _;
use tokio::sync::watch;

pub use args::Args;
use args::{CompareArgs, FindMaxArgs, Interleaved, Layers, RunArgs, Task};
use result_file::{Kind, ResultFile};

use crate::bench::{self, BenchReport, Choice, Comparison, Filling, Job, Layer, Length, Verdict};
use crate::cli::settings::Settings;
use crate::cli::signals::Signals;
use crate::cli::{Exit, signals};
use crate::model::{Failure, sentence};
use crate::postgres::Address;
use crate::render::{self, BenchProgress, Ui};
use crate::store::{Announce, StoreConfig};

pub async fn run(args: Args, settings: &Settings, ui: &Ui) -> Result<Exit> {
    match args.task {
        None => load(&args.run, settings, ui).await,
        Some(Task::Init(args)) => signals::or_stopped(tables::init(&args, settings, ui)).await,
        Some(Task::Clean(args)) => signals::or_stopped(tables::clean(&args, settings, ui)).await,
        Some(Task::Compare(args)) if args.interleave.is_empty() => compare_files(&args, ui),
        Some(Task::Compare(args)) => interleave(&args, settings, ui).await,
        Some(Task::FindMax(args)) => find_max(&args, settings, ui).await,
    }
}

async fn load(args: &RunArgs, settings: &Settings, ui: &Ui) -> Result<Exit> {
    let scripts = args.workload.iter().filter_map(Choice::file);
    let inputs: Vec<&Path> = scripts.chain(args.source.as_deref()).collect();
    let save = args.save.as_deref().map(|path| ResultFile::prepare(path, Kind::Result, &inputs)).transpose()?;
    let page = args.html.as_deref().map(|path| ResultFile::prepare(path, Kind::Page, &inputs)).transpose()?;
    if matches!((&save, &page), (Some(save), Some(page)) if save.is_same(page)) {
        bail!(Failure::new("usage", "--save and --html name the same file").hint("Give each its own."));
    }
    let claims: Vec<bench::Claim> = args.asserts.iter().flat_map(|claims| claims.0.clone()).collect();
    let running = async |stopped| {
        let prepared = Prepared::new(args, settings, ui, stopped).await?;
        bench::check_claims(&prepared.job, &claims)?;
        let report = bench::run(&prepared.job, ui.started_at.clone()).await.context("bench");
        prepared.progress.finish();
        let mut report = report?;
        report.assertions = claims.iter().map(|claim| claim.judge(&report)).collect();
        anyhow::Ok(report)
    };
    let (report, signal) = match until_signal(running).await? {
        (Some(report), signal) => (report, signal),
        (None, signal) => return Ok(signal.map_or(Exit::Good, Exit::Signal)),
    };
    let text = serde_json::to_string_pretty(&report)? + "\n";
    let saved = save.map_or(Ok(()), |file| file.write(&text).context("save the result"));
    let shown = page.map_or(Ok(()), |file| file.write(&render::bench_html(&report)?).context("save the page"));
    let unwritten: Vec<anyhow::Error> = [saved, shown].into_iter().filter_map(Result::err).collect();
    // A run is not lost with a disk that is full: what it came to is shown all the same, and why it is not kept stands in the one document.
    render::bench(ui, &report, unwritten.first())?;
    if !unwritten.is_empty() {
        unwritten.iter().for_each(|error| ui.error(&sentence(error)));
        return Ok(Exit::Code(2));
    }
    let passed = report.assertions.iter().all(|assertion| assertion.passed != Some(false))
        && report.layers.iter().all(|layer| layer.nothing_succeeded().is_none() && layer.incomplete().is_none())
        && report.ended_early.is_none();
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
    for (path, report) in args.files.iter().zip([&a, &b]) {
        if report.interrupted || report.ended_early.is_some() {
            ui.warn(&format!("{} is of a run that did not come to its end", path.display()));
        }
    }
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
    sides.iter().try_for_each(|side| no_result_of_its_own(side, "bench compare"))?;
    let running = async |stopped: watch::Receiver<bool>| {
        let mut reports: Vec<Option<BenchReport>> = vec![None, None];
        let mut prepared = Vec::new();
        for side in &sides {
            prepared.push(Prepared::new(side, settings, ui, stopped.clone()).await?);
        }
        if let [a, b] = prepared.as_slice()
            && !a.job.layers.iter().any(|layer| b.job.layers.contains(layer))
        {
            let of = |job: &Job| job.layers.iter().map(|layer| layer.as_str()).collect::<Vec<_>>().join(", ");
            let message = format!("the two sides have no layer in common: {} and {}", of(&a.job), of(&b.job));
            bail!(Failure::new("nothing_to_compare", message).hint("Layers are compared within one run: candlefish bench --layer all"));
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

/// What only a run by itself writes and judges is not passed over in silence.
fn no_result_of_its_own(args: &RunArgs, command: &str) -> Result<()> {
    let given = [("--save", args.save.is_some()), ("--html", args.html.is_some()), ("--assert", !args.asserts.is_empty())];
    match given.iter().find(|(_, is_given)| *is_given) {
        Some((flag, _)) => {
            bail!(Failure::new("usage", format!("{command} knows no {flag}: it is of a run by itself")).hint(format!("Leave {flag} out.")))
        }
        None => Ok(()),
    }
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
    no_result_of_its_own(&args.run, "bench find-max")?;
    if args.run.rate.is_some() {
        bail!(
            Failure::new("usage", "bench find-max chooses the rates itself, and --rate names one").hint("The rate to begin with: --start")
        );
    }
    let running = async |stopped| {
        let mut run = args.run.clone();
        // Short runs: there will be a dozen.
        run.time.get_or_insert(Duration::from_secs(10));
        let prepared = Prepared::new(&run, settings, ui, stopped).await?;
        bench::check_claims(&prepared.job, &args.claims.0)?;
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
    open_enough_files(args.clients, ui);
    let workload = chosen_workload(args).into_iter().map(Choice::read).collect::<Result<Vec<_>>>()?;
    let on_stack = address.origin == "the local stack";
    let built_in = workload.iter().any(Choice::is_built_in);
    let filled = bench::filled_scale(&address).await?;
    let filled = match filled {
        None if built_in && on_stack => {
            let scale = args.scale.unwrap_or(1);
            tables::fill(&address, scale, Filling::IfMissing, ui).await?;
            bench::filled_scale(&address).await?
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
    let may_write = on_stack || filled.is_some() || args.allow_writes.as_deref() == Some(address.database());
    let layers = match &args.layer {
        Some(Layers::One(layer)) => vec![*layer],
        Some(Layers::All) => Layer::ALL.to_vec(),
        None => {
            let (layer, why) = bench::default_layer(&workload, may_write, args.protocol);
            if let Some(why) = why {
                ui.say(&format!("layer {}: {why}", layer.as_str()));
            }
            vec![layer]
        }
    };
    let store = store(args, settings, &address, &layers, ui)?;
    let shown = Arc::clone(progress);
    let mut job = Job {
        may_write,
        is_filled: filled.is_some(),
        address,
        store,
        instances: args.instances.min(args.clients) as usize,
        layers,
        workload,
        clients: args.clients as usize,
        threads: args.threads.map_or_else(default_threads, |threads| threads as usize),
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
        source: args.source.clone(),
        ticks: Arc::new(move |tick| shown.show(&tick)),
        stop,
    };
    if matches!(args.layer, Some(Layers::All)) {
        for (layer, why) in bench::leave_out(&mut job) {
            ui.warn(&format!("layer {} is left out: {}", layer.as_str(), why.message));
        }
    }
    Ok(job)
}

/// How instances are opened; servers that no chosen layer needs are not looked for.
fn store(args: &RunArgs, settings: &Settings, address: &Address, layers: &[Layer], ui: &Ui) -> Result<StoreConfig> {
    if layers.iter().all(|layer| layer.of_store().is_none()) {
        return settings.store(address.clone(), None, None);
    }
    let pooler = settings.pooler_beside(args.pooler.as_deref(), address, ui)?;
    let redis = if layers.iter().any(|layer| layer.caches()) { settings.redis_beside(args.redis.as_deref(), address, ui)? } else { None };
    if let Some(pooler) = &pooler {
        ui.say(&format!("through the pooler: {pooler} (from {})", pooler.origin));
    }
    let mut config = settings.store(address.clone(), pooler, redis.as_ref())?;
    // Who watches the application sees the load test as an instance among its own; what the application keeps in Redis is not touched.
    config.announce = Some(Announce { namespace: config.namespace.clone(), name: bench::NAME.to_string() });
    config.status_interval = Duration::from_secs(1);
    config.namespace = bench::namespace(&config.namespace);
    Ok(config)
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

/// A connection and a timer each client; many systems let a process open 1,024 files unless it asks for more.
fn open_enough_files(clients: u32, ui: &Ui) {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let wanted = u64::from(clients) * 2 + 512;
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= wanted) {
        return;
    }
    let most = limit.maximum.map_or(wanted, |maximum| maximum.min(wanted));
    // Where it stays too low, the first client that has none says so.
    let raised = setrlimit(Resource::Nofile, Rlimit { current: Some(most), maximum: limit.maximum });
    if raised.is_err() || most < wanted {
        ui.warn(&format!("{clients} clients want {wanted} open files, and the system allows {most}: raise it with ulimit -n"));
    }
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
