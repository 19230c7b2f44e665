//! `candlefish migrate`: arguments into a job, the job's report to the person.

mod args;

use std::collections::BTreeMap;
use std::hash::{BuildHasher as _, Hasher as _};
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use anyhow::{Context as _, Result, anyhow, bail};
use clap::ValueEnum as _;

use crate::cli::prove::{foretell_given, prove};
use crate::cli::resume::{Stop, command_line, hinted};
use crate::cli::settings::{Settings, say_target};
use crate::cli::{Exit, refresh};
use crate::migrate::{self, Call, Job, MigrateReport, OnMisfit, Outcome, Prepared, Purpose, Resumable, RunSection, RunSections};
use crate::model::{Event, Events, Failure, Phase};
use crate::plan::mapping::Mapping;
use crate::plan::{CopyMap, OnExtra, Options, TablePlan};
use crate::postgres::{Address, Migrations, RunState, create_database, sql_failure, with_lock_holders};
use crate::registry;
use crate::render::{self, Format, Progress, Ui};
use crate::sqlite::Snapshot;

pub use args::Args;
pub(super) use args::{CollationChoice, Names, Verify, allow};
use args::{Extra, Misfits};

pub async fn run(args: Args, settings: &Settings, ui: &Ui) -> Result<Exit> {
    let context = format!("migrate {}", args.source.display());
    migrate(args, settings, ui).await.map_err(sql_failure).map_err(never_cascade).context(context)
}

const NOT_OURS: &str =
    "What depends on it is not candlefish's to take away, and it never cascades: drop it yourself, or leave the table out with --exclude.";

/// PostgreSQL's advice to CASCADE is nothing that candlefish tells anyone.
fn never_cascade(mut error: anyhow::Error) -> anyhow::Error {
    if let Some(failure) =
        error.downcast_mut::<Failure>().filter(|failure| failure.hint.as_ref().is_some_and(|hint| hint.contains("CASCADE")))
    {
        failure.hint = Some(NOT_OURS.into());
    }
    error
}

async fn migrate(args: Args, settings: &Settings, ui: &Ui) -> Result<Exit> {
    args.keeps_journal()?;
    let started_at = jiff::Timestamp::now().to_string();
    let mut stop = Stop::listen(args.stop_after)?;
    let progress = Arc::new(Progress::new(ui, args.progress.into()));
    let refreshing = OnceLock::new();
    let begun = tokio::select! {
        begun = begin(&args, settings, &progress, &started_at, &refreshing, ui) => begun?,
        cause = stop.wanted() => {
            progress.finish();
            if let Some(job) = refreshing.get().filter(|_| !args.dry_run) {
                let stopped = tokio::select! {
                    stopped = migrate::refresh::stopped(job) => stopped,
                    // Whoever says it twice does not want to wait.
                    signal = stop.signals.next() => return Ok(Exit::Signal(signal)),
                };
                match stopped {
                    Ok(true) => ui.warn("the changes had been committed before; `candlefish runs` shows them"),
                    Ok(false) => {}
                    Err(error) => ui.warn(&format!("the target could not be told: {error:#}")),
                }
            }
            render::migrate::stopped_before_it_began(&args.source.display().to_string(), &started_at, ui)?;
            return Ok(cause.exit());
        }
    };
    let (job, prepared) = match begun {
        Begun::Ready(ready) => *ready,
        Begun::Ended(exit) => return Ok(exit),
    };
    let ended = tokio::select! {
        done = carry_out(&args, &job, prepared, &started_at) => Ok(done),
        cause = stop.wanted() => Err(cause),
    };
    progress.finish();
    match ended {
        Ok(Ok(report)) => {
            render::migrate::answer(&report, &started_at, ui)?;
            if args.drop_journal {
                drop_journal(&job.address, &job.run_id, report.outcome.as_str(), ui).await?;
            }
            ui.ended(report.outcome.as_str());
            Ok(exit(&report))
        }
        Ok(Err(error)) => Err(hinted(with_lock_holders(&job.address, &job.options.schema, error).await, &go_on(&job))),
        Err(cause) => {
            ui.say("stopping: what is under way is rolled back");
            let stopped = tokio::select! {
                stopped = migrate::stop(&job) => stopped,
                // Whoever says it twice does not want to wait.
                signal = stop.signals.next() => {
                    ui.ended(Outcome::Stopped.as_str());
                    return Ok(Exit::Signal(signal));
                }
            };
            match stopped {
                Ok(mut report) => {
                    report.resume = Some(go_on(&job)).filter(|_| report.target_changed());
                    render::migrate::report(&report, &started_at, ui)?;
                }
                Err(error) => {
                    ui.warn(&format!("the target could not be asked what stands: {error:#}"));
                    ui.say(&format!("next: go on with {}", go_on(&job)));
                    ui.ended(Outcome::Stopped.as_str());
                }
            }
            Ok(cause.exit())
        }
    }
}

/// The line that goes on with the run.
fn go_on(job: &Job) -> String {
    migrate::resume_line(&job.call.line, &job.sections.words(), &job.run_id)
}

enum Begun {
    Ready(Box<(Job, Prepared)>),
    /// There is nothing to carry out.
    Ended(Exit),
}

/// Everything before the target is changed: both sides opened, and the plan made, or found in the journal.
async fn begin(
    args: &Args,
    settings: &Settings,
    progress: &Arc<Progress>,
    started_at: &str,
    refreshing: &OnceLock<Arc<Job>>,
    ui: &Ui,
) -> Result<Begun> {
    let began = Instant::now();
    let jobs = args.jobs.map_or_else(default_jobs, usize::from);
    // The source first: whatever is wrong with it, the target has not even been asked.
    let snapshot = Arc::new(Snapshot::open(&args.source, &args.reading.open_options(jobs))?);
    if snapshot.is_empty_file() {
        ui.warn("the file has no bytes: an empty database, with nothing to copy");
    }
    let address = settings.address(args.target.to.as_deref().or(args.url.as_deref()), ui)?;
    say_target(&address, ui);
    // Whether there is a server at all is asked once, or for as long as was said; what breaks afterwards is tried again.
    migrate::wait_for(&address, args.wait.unwrap_or_default()).await?;
    if args.into.create_db && !args.dry_run {
        create_database(&address).await?;
    }
    let address = address.with_role(args.into.role.as_deref());
    match begin_at(args, address.clone(), (snapshot, began), progress, started_at, refreshing, ui).await {
        Err(error) => Err(with_lock_holders(&address, &args.into.schema, error).await),
        begun => begun,
    }
}

/// The same where the databases are known; `refreshing` is told the job of a refresh, which is all done here.
async fn begin_at(
    args: &Args,
    address: Address,
    (snapshot, began): (Arc<Snapshot>, Instant),
    progress: &Arc<Progress>,
    started_at: &str,
    refreshing: &OnceLock<Arc<Job>>,
    ui: &Ui,
) -> Result<Begun> {
    let jobs = args.jobs.map_or_else(default_jobs, usize::from);
    let chosen = if args.refresh.is_some() && args.what.mapping == "auto" {
        // Decided when the tables were made, and kept in the journal.
        Chosen { mapping: Mapping::default(), name: "earlier run".into(), migrations: None, given_schema: true }
    } else {
        choose_mapping(&args.what.mapping, args.what.migrations.as_deref(), &snapshot, ui)?
    };
    let run_id = new_run_id();
    let mut job = Job {
        call: Call {
            source_path: std::path::absolute(&args.source)?.display().to_string(),
            flags: flags(args, &chosen)?,
            judged: judged(args),
            line: command_line(std::env::args_os(), &address),
            folder: std::env::current_dir().context("find the current folder")?.display().to_string(),
        },
        snapshot,
        address,
        mapping: chosen.mapping,
        mapping_name: chosen.name,
        migrations: chosen.migrations.filter(|_| !args.what.data_only),
        options: options(args, chosen.given_schema),
        jobs,
        chunk_bytes: args.chunk_bytes,
        role: args.into.role.clone(),
        grants: args.into.grant.clone(),
        on_misfit: if matches!(args.values.on_misfit, Misfits::Fail) { OnMisfit::Fail } else { OnMisfit::Reject },
        max_rejects: args.values.max_rejects,
        rejects_dir: args.values.rejects.clone().unwrap_or_else(|| Path::new("candlefish-rejects").join(&run_id)),
        rejects_asked: args.values.rejects.is_some(),
        replace: args.into.replace,
        prove: args.verify == Verify::Full,
        sections: args.sections()?,
        run_id,
        events: events(progress),
        began,
    };
    // Before anything is read for minutes.
    if let Some(folder) = args.values.rejects.as_ref().or(args.values.retry_rejects.as_ref()) {
        migrate::refuse_unwritable(folder)?;
    }
    if args.values.retry_rejects.is_some() {
        migrate::prepare_retry(&mut job);
        // With no other word, rows are tried again as they were copied.
        if args.what.mapping == "auto"
            && let Some(mapping) = migrate::last_mapping(&job).await?
        {
            (job.mapping, job.mapping_name) = (mapping, "the last run's".into());
        }
    }
    // A section without the first is one of a run that has begun.
    let continues = !job.sections.has(RunSection::PreData);
    if args.resume.is_some() || continues {
        let wanted = args.resume.as_deref().filter(|wanted| !wanted.is_empty());
        match migrate::through_cuts(&job.events, async || migrate::look_for_run(&job, wanted).await).await? {
            Resumable::Nothing(_) if continues => own_tables(&mut job)?,
            Resumable::Nothing(why) => ui.say(&format!("nothing to resume: {why}; the run begins")),
            Resumable::Complete(run) => return complete(args, &job.address, &run, ui).await,
            Resumable::Unfinished(run) if job.sections.without(RunSections::named(&run.sections_done)).is_empty() => {
                ui.say(&format!("run {} has done {} already; there is nothing to do", run.record.run_id, job.sections.words()));
                if ui.format == Format::Json {
                    ui.print_json(&migrate::answer(&job.address, &run.record.run_id).await?)?;
                }
                ui.ended(&run.record.status);
                return Ok(Begun::Ended(Exit::Good));
            }
            Resumable::Unfinished(run) => {
                job.run_id = run.record.run_id.clone();
                job.rejects_dir = args.values.rejects.clone().unwrap_or_else(|| migrate::rejects_folder(&run, &job.rejects_dir));
                let prepared = migrate::through_cuts(&job.events, async || migrate::reopen(&job, &run).await).await?;
                return Ok(Begun::Ready(Box::new((job, prepared))));
            }
        }
    }
    if let Some(of) = &args.refresh {
        let of = Some(of.as_str()).filter(|run_id| !run_id.is_empty());
        let wishes = refresh::Wishes { of, dry_run: args.dry_run, yes: args.yes, allow: &args.values.allow, strict: args.values.strict };
        let job = refreshing.get_or_init(|| Arc::new(job));
        return refresh::run(Arc::clone(job), &wishes, progress, started_at, ui).await.map(Begun::Ended);
    }
    if !continues {
        job.sections.refuse_out_of_order(RunSections::default(), "this run has not done")?;
    }
    let purpose = match &args.values.retry_rejects {
        Some(_) => Purpose::Retry,
        None if args.dry_run => Purpose::Look,
        None => Purpose::Run,
    };
    let prepare = async || {
        let mut prepared = migrate::prepare(&job, purpose).await?;
        if purpose == Purpose::Run {
            migrate::refuse_foreseen(&job, &mut prepared).await?;
        }
        Ok(prepared)
    };
    let prepared = migrate::through_cuts(&job.events, prepare).await?;
    if let Some(file) = &args.write_mapping {
        migrate::refuse_problems(&prepared.plan)?;
        write_mapping(file, &prepared, args, ui)?;
    }
    if args.dry_run {
        progress.finish();
        return dry_run(&job, prepared, args, started_at, ui).await.map(Begun::Ended);
    }
    if args.into.replace {
        let dropped = render::migrate::what_is_replaced(prepared.replaces());
        if !args.yes {
            confirm(&dropped)?;
        }
        progress.pause(|| ui.say(&dropped));
    }
    Ok(Begun::Ready(Box::new((job, prepared))))
}

/// `--section data` where no run has made the tables: they are the target's own, as for `--data-only`.
fn own_tables(job: &mut Job) -> Result<()> {
    let made = RunSections::of([RunSection::PreData]);
    // Anything but the rows needs a run that has brought them.
    let done = if job.sections.has(RunSection::Data) { made } else { RunSections::default() };
    job.sections.refuse_out_of_order(done, &format!("no run of this source into schema {:?} has done", job.options.schema))?;
    job.sections = job.sections.and(made);
    (job.options.data_only, job.options.on_extra, job.migrations) = (true, OnExtra::Fail, None);
    Ok(())
}

/// `--resume` of a run that came to its end: the answer that it gave then.
async fn complete(args: &Args, address: &Address, run: &RunState, ui: &Ui) -> Result<Begun> {
    let (run_id, outcome) = (&run.record.run_id, run.record.status.as_str());
    if ui.format == Format::Json {
        ui.print_json(&migrate::answer(address, run_id).await?)?;
    }
    ui.say(&format!("run {run_id} has come to its end, and its outcome was {outcome}; there is nothing left to do"));
    if args.drop_journal {
        drop_journal(address, run_id, outcome, ui).await?;
    }
    ui.ended(outcome);
    Ok(Begun::Ended(if outcome == Outcome::Mismatch.as_str() { Exit::Bad } else { Exit::Good }))
}

/// `--drop-journal`: whoever has to look at a run finds it there.
async fn drop_journal(address: &Address, run_id: &str, outcome: &str, ui: &Ui) -> Result<()> {
    if outcome == Outcome::Clean.as_str() {
        return migrate::forget(address, run_id).await;
    }
    ui.warn(&format!("the journal keeps run {run_id}: it did not end well"));
    Ok(())
}

/// The run itself, its proof, and the journal's last word.
async fn carry_out(args: &Args, job: &Job, prepared: Prepared, started_at: &str) -> Result<MigrateReport> {
    let (mut report, keeper) = match &args.values.retry_rejects {
        Some(folder) => (migrate::retry(job, prepared, folder).await?, None),
        None => migrate::run(job, prepared).await.map(|(report, keeper)| (report, Some(keeper)))?,
    };
    let how = (args.verify, args.values.retry_rejects.as_deref());
    let how = if job.sections.has(RunSection::Verify) { how } else { (Verify::None, None) };
    let proof = prove(how, &job.options, &mut report, Arc::clone(&job.snapshot), &job.address, Arc::clone(&job.events), job.jobs);
    let proved = match &keeper {
        Some(keeper) => keeper.beside(Phase::Verify, proof).await,
        None => proof.await,
    };
    proved.context("verify the copy").map_err(migrate::interrupted)?;
    report.judge(&args.values.allow, args.values.strict);
    let document = render::migrate::document(&report, started_at);
    migrate::close(&job.address, &report, &document, &job.events).await.map_err(migrate::interrupted)?;
    Ok(report)
}

/// What decides what is copied, in words; what was not said is not among them.
fn flags(args: &Args, chosen: &Chosen) -> Result<BTreeMap<String, String>> {
    let mut flags = BTreeMap::new();
    let mut say = |flag: &str, value: String| {
        if !value.is_empty() {
            flags.insert(flag.to_string(), value);
        }
    };
    let value = |choice: Option<clap::builder::PossibleValue>| choice.map_or(String::new(), |value| value.get_name().to_string());
    say("--mapping", chosen.fingerprint()?);
    say(
        "--migrations",
        args.what.migrations.as_ref().zip(chosen.migrations.as_ref()).map_or(String::new(), |(_, files)| files.fingerprint()),
    );
    say("--salvage", if args.reading.salvage { "given".into() } else { String::new() });
    say("--include", args.what.include.join(" "));
    say("--exclude", args.what.exclude.join(" "));
    say("--exclude-data", args.what.exclude_data.join(" "));
    say("--data-only", if args.what.data_only { "given".into() } else { String::new() });
    say("--names", value(args.what.names.to_possible_value()));
    say("--collation", value(args.what.collation.to_possible_value()));
    if !matches!(args.values.on_misfit, Misfits::Widen) {
        say("--on-misfit", value(args.values.on_misfit.to_possible_value()));
    }
    say("--source-tz", args.what.source_tz.to_string());
    let existing = args.into.existing.iter().map(|(glob, what)| format!("{glob}={what:?}").to_lowercase());
    say("--existing", existing.collect::<Vec<_>>().join(" "));
    say("--on-extra", value(args.into.on_extra.to_possible_value()));
    say("--role", args.into.role.clone().unwrap_or_default());
    let grants = args.into.grant.iter().map(|grant| format!("{}={}", grant.role, if grant.write { "rw" } else { "ro" }));
    say("--grant", grants.collect::<Vec<_>>().join(" "));
    Ok(flags)
}

/// What decides how the outcome is judged, in words.
fn judged(args: &Args) -> String {
    let strict = args.values.strict.then(|| "--strict".to_string());
    let mut allowed = args.values.allow.clone();
    allowed.sort_unstable();
    allowed.dedup();
    let allow = (!allowed.is_empty()).then(|| format!("--allow {}", allowed.join(",")));
    strict.into_iter().chain(allow).collect::<Vec<_>>().join(" ")
}

fn exit(report: &MigrateReport) -> Exit {
    if report.exit_reasons.is_empty() { Exit::Good } else { Exit::Bad }
}

fn events(progress: &Arc<Progress>) -> Events {
    let progress = Arc::clone(progress);
    Arc::new(move |event: Event| progress.show(&event))
}

pub(super) fn default_jobs() -> usize {
    std::thread::available_parallelism().map_or(2, usize::from).min(4)
}

/// Time and chance: sorts by time, and two runs in one second differ.
pub(super) fn new_run_id() -> String {
    let chance = std::collections::hash_map::RandomState::new().build_hasher().finish() as u32;
    format!("{}-{chance:08x}", jiff::Timestamp::now().strftime("%Y%m%d-%H%M%S"))
}

fn confirm(what: &str) -> Result<()> {
    bail!(Failure::new("needs_yes", format!("{what}, and nobody has agreed to it")).hint("Say --yes to go ahead."))
}

fn options(args: &Args, given_schema: bool) -> Options {
    Options {
        schema: args.into.schema.clone(),
        create_schema: args.into.create_schema,
        names: args.what.names.into(),
        collate_c: args.what.collation == CollationChoice::C,
        include: args.what.include.clone(),
        exclude: args.what.exclude.clone(),
        exclude_data: args.what.exclude_data.clone(),
        existing: args.into.existing.clone(),
        on_extra: match args.into.on_extra {
            Extra::Add if !args.what.data_only => OnExtra::Add,
            _ => OnExtra::Fail,
        },
        source_tz: args.what.source_tz.clone(),
        given_schema,
        widen: matches!(args.values.on_misfit, Misfits::Widen),
        data_only: args.what.data_only,
    }
}

pub(super) struct Chosen {
    pub(super) mapping: Mapping,
    pub(super) name: String,
    pub(super) migrations: Option<Migrations>,
    /// The mapping is a built-in one, which may name more than an old file has.
    pub(super) given_schema: bool,
}

impl Chosen {
    /// The same for the same mapping, however its file is called.
    fn fingerprint(&self) -> Result<String> {
        if self.name == "derive" || self.name == "registry" {
            return Ok(self.name.clone());
        }
        let text = serde_json::to_string(&self.mapping)?;
        Ok(format!("a file ({:016x})", xxhash_rust::xxh3::xxh3_64(text.as_bytes())))
    }
}

/// `--mapping` and `--migrations` as one choice.
pub(super) fn choose_mapping(mapping: &str, migrations: Option<&Path>, snapshot: &Snapshot, ui: &Ui) -> Result<Chosen> {
    let folder = migrations;
    let migrations = folder.map(Migrations::from_dir).transpose()?;
    let registry = || -> Result<Chosen> {
        let migrations = match folder {
            Some(folder) => Migrations::from_dir(folder)?,
            None => Migrations::builtin()?,
        };
        let mapping = Mapping::parse(registry::MAPPING).context("the built-in mapping")?;
        Ok(Chosen { mapping, name: "registry".into(), migrations: Some(migrations), given_schema: true })
    };
    match mapping {
        "registry" => registry(),
        "derive" => Ok(Chosen { mapping: Mapping::default(), name: "derive".into(), migrations, given_schema: false }),
        "auto" => {
            let schema = snapshot.reader()?.schema()?;
            match registry::evidence(&schema).filter(|_| migrations.is_none()) {
                Some(evidence) => {
                    ui.say(&format!("mapping: registry ({evidence}); --mapping derive takes the file as it is"));
                    registry()
                }
                None => Ok(Chosen { mapping: Mapping::default(), name: "derive".into(), migrations, given_schema: false }),
            }
        }
        file => {
            let text = std::fs::read_to_string(file).map_err(|error| {
                anyhow!(
                    Failure::new("bad_mapping", format!("the mapping file {file} cannot be read: {error}"))
                        .hint("--mapping takes auto, registry, derive, or a TOML file.")
                )
            })?;
            let mapping = Mapping::parse(&text).with_context(|| format!("mapping file {file}"))?;
            Ok(Chosen { mapping, name: file.to_string(), migrations, given_schema: false })
        }
    }
}

/// `--write-mapping`: what somebody may have written by hand is not overwritten unasked.
fn write_mapping(file: &Path, prepared: &Prepared, args: &Args, ui: &Ui) -> Result<()> {
    let maps: Vec<CopyMap> = prepared.plan.tables.iter().map(TablePlan::copy_map).collect();
    let text = Mapping::of(&prepared.schema, &maps).to_file(&args.source.display().to_string())?;
    let is_other = |there: &String| *there != text;
    if !args.yes && std::fs::read_to_string(file).ok().as_ref().is_some_and(is_other) {
        bail!(
            Failure::new("file_exists", format!("the mapping file {} is there already, and says something else", file.display()))
                .hint("Give --write-mapping another name, or --yes to overwrite the file.")
        );
    }
    std::fs::write(file, text).with_context(|| format!("write the mapping file {}", file.display()))?;
    ui.say(&format!("mapping: {} has every decision; --mapping {0} decides none anew", file.display()));
    Ok(())
}

/// The plan, whole; exit 2 when it cannot be done, 1 when it would lose something.
async fn dry_run(job: &Job, mut prepared: Prepared, args: &Args, started_at: &str, ui: &Ui) -> Result<Exit> {
    migrate::refuse_problems(&prepared.plan)?;
    let rehearsal = migrate::rehearse(job, &mut prepared).await?;
    rehearsal.refuse(job, &prepared.plan)?;
    let said = [prepared.plan.warnings.as_slice(), &rehearsal.broken].concat();
    let lacking = foretell_given(job, &prepared, &said).await?;
    prepared.plan.warnings.extend(lacking);
    let mut report = prepared.into_planned(job, rehearsal);
    report.judge_plan(&args.values.allow, args.values.strict);
    match ui.format {
        Format::Table => {
            ui.print(&render::migrate::plan_text(&report))?;
            ui.say("next: run the same command without --dry-run");
            ui.ended(report.outcome.as_str());
        }
        _ => render::migrate::report(&report, started_at, ui)?,
    }
    debug_assert_eq!(report.outcome, Outcome::Planned);
    Ok(exit(&report))
}
