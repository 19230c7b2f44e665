//! `migrate`: a SQLite file into PostgreSQL, whole or with every loss said.

mod careful;
mod copy;
mod encode;
mod finish;
mod prepare;
mod rejects;
mod report;
mod retry;
mod run;
mod target;
mod todo;

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use anyhow::{Context as _, Result, anyhow, bail};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::model::{Event, Events, Failure, Name, Phase, Section};
use crate::plan::mapping::Mapping;
use crate::plan::{CopyMap, ObjectKind, Options, Plan, Severity, TablePlan};
use crate::postgres::{Address, Client, Journal, Migrations, RunRecord, session, sql_failure, statement};
use crate::sqlite::Snapshot;

pub use prepare::Inspected;
pub use report::{ExitReason, MigrateReport, Outcome, PhaseClock, PhaseTime, TableReport};
pub use retry::{last_mapping, prepare_job as prepare_retry, retry};
pub use run::{MaxRejects, OnMisfit};

use copy::{Chunk, TableCount};
use finish::Built;
use rejects::Rejects;
use run::Run;
use target::Redo;

/// What a migration was told.
pub struct Job {
    pub snapshot: Arc<Snapshot>,
    pub address: Address,
    pub mapping: Mapping,
    /// How the mapping is called in reports.
    pub mapping_name: String,
    /// Migrations that make the target's schema; none for a derived one.
    pub migrations: Option<Migrations>,
    pub options: Options,
    /// Readers of the source, and COPY streams.
    pub jobs: usize,
    pub role: Option<String>,
    /// Roles that may read, or read and write, what was made.
    pub grants: Vec<Grant>,
    pub on_misfit: OnMisfit,
    pub max_rejects: Option<MaxRejects>,
    pub rejects_dir: PathBuf,
    /// `--replace`: tables that earlier runs made are dropped first.
    pub replace: bool,
    pub run_id: String,
    pub events: Events,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    pub role: String,
    pub write: bool,
}

/// A plan, and what it was made from.
pub struct Prepared {
    pub inspected: Inspected,
    pub plan: Plan,
    /// What `--replace` takes away first.
    redo: Redo,
    /// The session that holds the lock on the target schema.
    control: Client,
    clock: PhaseClock,
    started: Instant,
}

/// What a plan is made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To be carried out: no other run may write into the schema meanwhile.
    Run,
    /// To be looked at.
    Look,
}

impl Prepared {
    /// The report of a dry run: what would be done, and that nothing was.
    pub fn into_planned(self, job: &Job) -> MigrateReport {
        MigrateReport {
            run_id: job.run_id.clone(),
            source: job.snapshot.path().display().to_string(),
            target: job.address.shown(),
            mapping: job.mapping_name.clone(),
            ddl: ddl(&self.plan),
            tables: Vec::new(),
            phases: self.clock.times(),
            elapsed: self.started.elapsed(),
            objects_created: 0,
            warnings: self.plan.warnings.clone(),
            todo: self.plan.todo.clone(),
            todo_file: None,
            rejects_dir: None,
            source_changed: job.snapshot.source_changed(),
            peak_rss_bytes: peak_rss_bytes(),
            exit_reasons: Vec::new(),
            outcome: Outcome::Planned,
            plan: self.plan,
        }
    }
}

/// Reads both sides and makes the plan; changes nothing.
pub async fn prepare(job: &Job, purpose: Purpose) -> Result<Prepared> {
    let started = Instant::now();
    let mut clock = PhaseClock::default();
    let mut client = session(&job.address, job.role.as_deref()).await?;
    target::refuse_pooler_and_standby(&client, &job.address).await?;
    if purpose == Purpose::Run {
        target::lock_schema(&client, &job.options.schema).await?;
    }
    let inspected = prepare::inspect(&job.snapshot, job.jobs, &job.events, &mut clock).await?;
    let redo = match job.replace {
        true => target::made_by_runs(&client, &job.options.schema, &inspected.schema, job.options.names).await?,
        false => Redo::default(),
    };
    let plan = prepare::plan(&mut client, &inspected, job, &redo, &mut clock).await?;
    Ok(Prepared { inspected, plan, redo, control: client, clock, started })
}

/// Does what the plan says. The plan must have no problems.
pub async fn run(job: Job, prepared: Prepared) -> Result<MigrateReport> {
    let Prepared { inspected, plan, redo, mut control, mut clock, started } = prepared;
    refuse_problems(&plan)?;
    let run = Arc::new(Run {
        id: job.run_id.clone(),
        plan,
        schema: inspected.schema,
        snapshot: Arc::clone(&job.snapshot),
        address: job.address.clone(),
        role: job.role.clone(),
        rejects: Rejects::new(job.rejects_dir.clone()),
        on_misfit: job.on_misfit,
        max_rejects: job.max_rejects,
        rejected: AtomicU64::new(0),
        events: Arc::clone(&job.events),
    });

    let schema_started = Instant::now();
    run.send(Event::PhaseStarted(Phase::Schema));
    target::check_rights(&control, &run.plan).await?;
    Journal::open(&control).await.map_err(|error| sql_failure(error).context("prepare the journal"))?;
    let maps: Vec<_> = run.plan.tables.iter().map(|table| (table.copy_map(), table.create.is_some())).collect();
    let record = RunRecord {
        run_id: run.id.clone(),
        source: job.snapshot.path().display().to_string(),
        target_schema: run.plan.schema.clone(),
        status: "running".into(),
        settings: serde_json::json!({"mapping": job.mapping_name}),
    };
    if job.replace {
        target::drop_made_by_runs(&mut control, &run.plan.schema, &redo).await?;
    }
    target::make_schema(&mut control, &run, job.migrations.as_ref()).await.map_err(changed)?;
    Journal::open(&control).await?.start(&record, &maps).await?;
    let mut built = target::make_tables(&mut control, &run).await.map_err(changed)?;
    clock.note(Phase::Schema, schema_started);

    let copied = copy_and_index(&run, job.jobs, &mut clock).await.map_err(changed)?;
    built.merge(copied.built);
    built.merge(constraints_and_views(&run, &control, &mut clock).await.map_err(changed)?);
    if let Some(migrations) = &job.migrations {
        let indexes_started = Instant::now();
        let mut notes = |event| run.send(event);
        let schema = Name::new(run.plan.schema.as_str());
        migrations.apply(&mut control, &schema, Section::Indexes, None, &mut notes).await.map_err(changed)?;
        clock.note(Phase::Indexes, indexes_started);
    }
    analyze(&run, &control, &mut clock).await.map_err(changed)?;
    target::grant(&control, &run.plan, &job.grants).await?;

    let mut warnings = run.plan.warnings.clone();
    warnings.extend(built.warnings);
    let mut todo = run.plan.todo.clone();
    todo.extend(built.todo);
    let todo_file = todo::write(run.rejects.folder(), &todo)?;
    let mut report = MigrateReport {
        run_id: run.id.clone(),
        source: record.source,
        target: job.address.shown(),
        mapping: job.mapping_name,
        ddl: ddl(&run.plan),
        tables: table_reports(&run.plan, &copied.counts),
        plan: run.plan.clone(),
        phases: clock.times(),
        elapsed: started.elapsed(),
        objects_created: built.created,
        warnings,
        todo,
        todo_file,
        rejects_dir: run.rejects.any().then(|| run.rejects.folder().to_owned()),
        source_changed: run.snapshot.source_changed(),
        peak_rss_bytes: peak_rss_bytes(),
        exit_reasons: Vec::new(),
        outcome: Outcome::Clean,
    };
    if report.source_changed {
        let message = "was written to during the copy; the copy is of the state before that";
        report.warnings.push(crate::plan::Warning::note("source_changed", report.source.clone(), message));
    }
    // The last commit waits for the disk, and with it every one before.
    control.batch_execute("SET synchronous_commit = on").await?;
    Journal::open(&control).await?.finish(&run.id, "copied").await?;
    Ok(report)
}

/// Writes into the journal how the run ended, once that is known.
pub async fn close(address: &Address, report: &MigrateReport) -> Result<()> {
    let client = session(address, None).await?;
    let journal = Journal::open(&client).await?;
    let losses = report.warnings.iter().filter(|warning| warning.severity == Severity::Loss);
    let rejects = report.rejects_dir.as_ref().map(std::path::absolute).transpose()?;
    let said = serde_json::json!({
        "losses": losses.collect::<Vec<_>>(),
        "rejects_dir": rejects.map(|folder| folder.display().to_string()),
    });
    journal.note(&report.run_id, &said).await?;
    journal.finish(&report.run_id, report.outcome.as_str()).await
}

/// How each table of the source would be copied into the target as it is: for comparing what no run of ours has copied.
pub async fn derived_maps(job: &Job) -> Result<Vec<CopyMap>> {
    let prepared = prepare(job, Purpose::Look).await?;
    // That the tables have rows is the point here, not a problem.
    let problems = prepared.plan.problems.iter().filter(|problem| problem.code != "target_not_empty");
    refuse_problems(&Plan { problems: problems.cloned().collect(), ..Plan::default() })?;
    Ok(prepared.plan.tables.iter().map(TablePlan::copy_map).collect())
}

/// Whatever fails from here on has left something in the target.
fn changed(error: anyhow::Error) -> anyhow::Error {
    let error = sql_failure(error);
    let message = format!("{error:#}");
    let failure = error.downcast_ref::<Failure>().cloned().unwrap_or_else(|| Failure::new("failed", ""));
    Failure { message, target_changed: true, ..failure }.into()
}

/// Every problem at once, as one failure.
pub fn refuse_problems(plan: &Plan) -> Result<()> {
    let Some(first) = plan.problems.first() else { return Ok(()) };
    let mut messages: Vec<&str> = Vec::new();
    for problem in &plan.problems {
        if !messages.contains(&problem.message.as_str()) {
            messages.push(&problem.message);
        }
    }
    let shown = messages.iter().take(10).copied().collect::<Vec<_>>().join("; ");
    let more = if messages.len() > 10 { format!("; and {} more", messages.len() - 10) } else { String::new() };
    bail!(Failure::new(first.code, format!("{shown}{more}")).hint(first.hint.clone()))
}

struct Copied {
    counts: Vec<TableCount>,
    built: Built,
}

/// Rows in, the biggest table first; a table's own indexes start when its last chunk has landed, on workers of their own.
async fn copy_and_index(run: &Arc<Run>, jobs: usize, clock: &mut PhaseClock) -> Result<Copied> {
    let started = Instant::now();
    run.send(Event::PhaseStarted(Phase::Copy));
    let chunks = copy::chunks(run);
    let with_data = || run.plan.tables.iter().filter(|table| !table.without_data);
    run.send(Event::Total {
        phase: Phase::Copy,
        tables: with_data().count() as u64,
        rows: with_data().map(|table| table.rows).sum(),
        rows_done: 0,
    });
    let mut counts = vec![TableCount::default(); run.plan.tables.len()];
    chunks.iter().for_each(|chunk| counts[chunk.table].chunks_left += 1);
    let (done, landed) = mpsc::unbounded_channel();
    for (table, count) in counts.iter().enumerate() {
        if count.chunks_left == 0 {
            done.send(table).map_err(|_| anyhow!("the receiver is in scope"))?;
        }
    }
    let queue: Arc<Mutex<VecDeque<Chunk>>> = Arc::new(Mutex::new(chunks));
    let counts = Arc::new(Mutex::new(counts));
    let mut copiers = JoinSet::new();
    for _ in 0..jobs.max(1) {
        let client = run.connect().await?;
        copiers.spawn(copy::worker(Arc::clone(run), client, Arc::clone(&queue), Arc::clone(&counts), done.clone()));
    }
    drop(done);
    let landed = Arc::new(tokio::sync::Mutex::new(landed));
    let mut indexers = JoinSet::new();
    for _ in 0..jobs.max(1) {
        let (run, landed) = (Arc::clone(run), Arc::clone(&landed));
        indexers.spawn(async move {
            let client = run.connect().await?;
            let mut built = Built::default();
            let mut spans = Vec::new();
            loop {
                let next = landed.lock().await.recv().await;
                let Some(table) = next else { return anyhow::Ok((built, spans)) };
                let (of_table, times) = finish::build_table(&run, &client, table).await?;
                built.merge(of_table);
                spans.extend(times);
            }
        });
    }
    while let Some(copier) = copiers.join_next().await {
        copier.context("a copy worker panicked")??;
    }
    clock.note(Phase::Copy, started);
    run.send(Event::PhaseEnded { phase: Phase::Copy, seconds: started.elapsed().as_secs_f64() });
    let mut built = Built::default();
    run.send(Event::PhaseStarted(Phase::Indexes));
    while let Some(indexer) = indexers.join_next().await {
        let (of_worker, spans) = indexer.context("an index worker panicked")??;
        built.merge(of_worker);
        spans.into_iter().for_each(|(phase, started)| clock.note(phase, started));
    }
    let counts = counts.lock().map_err(|_| anyhow!("a copy worker panicked"))?.clone();
    let journal_client = run.connect().await?;
    let journal = Journal::open(&journal_client).await?;
    for (table, count) in run.plan.tables.iter().zip(&counts) {
        journal.table_done(&run.id, &table.source, count.rows_written, count.rows_rejected).await?;
    }
    Ok(Copied { counts, built })
}

/// What needs more than one table: foreign keys, views, triggers; and where sequences go on.
async fn constraints_and_views(run: &Arc<Run>, control: &Client, clock: &mut PhaseClock) -> Result<Built> {
    let started = Instant::now();
    run.send(Event::PhaseStarted(Phase::Constraints));
    let mut built = finish::set_sequences(run, control).await?;
    for object in run.plan.objects.iter().filter(|object| object.kind == ObjectKind::ForeignKey) {
        built.merge(finish::build(run, control, object).await?);
    }
    built.merge(finish::rebuild_foreign_keys(run, control).await?);
    clock.note(Phase::Constraints, started);
    let views_started = Instant::now();
    let late = |kind: ObjectKind| matches!(kind, ObjectKind::View | ObjectKind::Trigger);
    if run.plan.objects.iter().any(|object| late(object.kind)) {
        run.send(Event::PhaseStarted(Phase::Views));
        for object in run.plan.objects.iter().filter(|object| late(object.kind)) {
            built.merge(finish::build(run, control, object).await?);
        }
        clock.note(Phase::Views, views_started);
    }
    Ok(built)
}

/// Statistics, so that the first query is planned well.
async fn analyze(run: &Run, control: &Client, clock: &mut PhaseClock) -> Result<()> {
    let started = Instant::now();
    run.send(Event::PhaseStarted(Phase::Analyze));
    let tables: Vec<_> = run.plan.tables.iter().map(|table| &table.target).collect();
    // In batches: one statement is one transaction, and each table takes a lock in it.
    for batch in tables.chunks(50) {
        control.batch_execute(&statement::analyze(batch)).await.context("analyze the tables")?;
    }
    clock.note(Phase::Analyze, started);
    Ok(())
}

fn ddl(plan: &Plan) -> Vec<Option<String>> {
    plan.tables.iter().map(|table| table.create.as_ref().map(|create| statement::create_table(&table.target, create, false))).collect()
}

fn table_reports(plan: &Plan, counts: &[TableCount]) -> Vec<TableReport> {
    let report = |(table, count): (&TablePlan, &TableCount)| TableReport {
        source: table.source.clone(),
        target: table.target.to_string(),
        rows_read: count.rows_read,
        rows_written: count.rows_written,
        rows_rejected: count.rows_rejected,
        bytes: count.bytes,
        seconds: count.started.zip(count.ended).map_or(0.0, |(start, end)| (end - start).as_secs_f64()),
        verified: None,
        source_digest: None,
        target_digest: None,
        columns: table
            .columns
            .iter()
            .map(|column| (column.source.clone(), column.target.as_str().to_string(), column.column_type.sql.clone()))
            .collect(),
    };
    plan.tables.iter().zip(counts).map(report).collect()
}

/// The most memory that the process ever had resident, in bytes (`ru_maxrss`, as `/proc` tells it).
pub fn peak_rss_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kib = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).and_then(|rest| rest.trim().strip_suffix("kB"));
    kib.and_then(|kib| kib.trim().parse::<u64>().ok()).unwrap_or(0) * 1024
}
