//! `migrate`: a SQLite file into PostgreSQL, whole or with every loss said.

mod added_keys;
mod after;
mod asked;
mod by_partition;
mod careful;
mod copy;
mod counted_rows;
mod course;
mod earlier;
mod encode;
mod finish;
mod foretell;
mod generate;
mod last;
mod lost_rows;
mod merged;
mod odd_times;
mod offsets;
mod prepare;
mod process;
mod proof;
mod readable;
pub mod refresh;
mod rehearse;
mod rejects;
mod report;
mod resume;
mod retry;
mod rounded;
mod run;
mod runs;
mod section;
mod standing;
mod target;
mod todo;
mod unproven;
mod writable;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail};
use serde::Serialize;
use tokio::task::JoinSet;

use crate::model::{Event, Events, Failure, Name, Phase, Schema, Section};
use crate::plan::mapping::Mapping;
use crate::plan::{CopyMap, NOT_IN_TARGET, Options, Plan, Severity, TablePlan};
use crate::postgres::{
    Address, Client, Journal, Migrations, PARTIAL, Transaction, forget_name, run_session, session, statement, tell_by_name,
};
use crate::sqlite::Snapshot;

pub use course::{Keeper, interrupted, through_cuts, wait_for};
pub use generate::{Generated, generate};
pub use prepare::{CHUNK_BYTES, Inspected};
pub use rehearse::{Differences, Misfits, Rehearsal, TableRehearsal, refuse_foreseen, rehearse};
pub use report::{ExitReason, Lacking, MigrateReport, Outcome, PhaseClock, PhaseTime, RowChanges, TableReport, lacking};
pub use resume::{Resumable, look_for_run, rejects_folder, reopen, stop};
pub use retry::{last_mapping, prepare_job as prepare_retry, retry};
pub use run::{MaxRejects, OnMisfit};
pub use runs::{RunSummary, State, resume_line, runs};
pub use section::{RunSection, RunSections};
pub use target::Redone;
pub use writable::refuse_unwritable;

use after::{After, Queue};
use copy::{Chunk, TableCount};
use earlier::LOSSES;
use finish::Built;
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
    /// What one chunk of a big table holds, in bytes of its values, about.
    pub chunk_bytes: u64,
    pub role: Option<String>,
    /// Roles that may read, or read and write, what was made.
    pub grants: Vec<Grant>,
    pub on_misfit: OnMisfit,
    pub max_rejects: Option<MaxRejects>,
    pub rejects_dir: PathBuf,
    /// Somebody has named the folder.
    pub rejects_asked: bool,
    /// `--replace`: tables that earlier runs made are dropped first.
    pub replace: bool,
    /// Read every value back and compare it with what SQLite gave.
    pub prove: bool,
    /// What of the run this process is to do, unless it is done.
    pub sections: RunSections,
    pub run_id: String,
    /// What `--resume` and `runs` must know of how the run was called.
    pub call: Call,
    pub events: Events,
    /// When the command was given.
    pub began: Instant,
}

/// How a run was called.
#[derive(Clone, Debug, Default)]
pub struct Call {
    /// The source's absolute path.
    pub source_path: String,
    /// What decides what is copied, by flag, in words: a run goes on only when all of them are the same.
    pub flags: BTreeMap<String, String>,
    /// What decides how the outcome is judged (`--allow`, `--strict`), in words: a run may go on under others.
    pub judged: String,
    /// The command line without `--resume`, `--section` and secrets, and the folder in which it was said.
    pub line: String,
    pub folder: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    pub role: String,
    pub write: bool,
}

/// A plan, and what it was made from.
pub struct Prepared {
    pub schema: Arc<Schema>,
    /// None for a run that goes on: it was looked at when it began.
    pub inspected: Option<Inspected>,
    pub plan: Plan,
    /// What `--replace` takes away first.
    redo: Redo,
    /// The run is in the journal already, and goes on.
    begun: bool,
    /// The session that holds the lock on the target schema.
    control: Client,
    clock: PhaseClock,
}

/// What a plan is made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To be carried out: no other run may write into the schema meanwhile.
    Run,
    /// For rows that were set aside: the source's own are not looked at, because what takes them in is there.
    Retry,
    /// To be looked at.
    Look,
}

impl Prepared {
    /// The tables that `--replace` drops first, with their rows.
    pub fn replaces(&self) -> &[Redone] {
        &self.redo.tables
    }

    /// The target as it will be when the run has made its part of it, in a transaction that the caller rolls back.
    pub async fn make_as_it_will_be(&self, transaction: &Transaction<'_>, job: &Job) -> Result<()> {
        prepare::make_ready(transaction, job, &self.redo).await?;
        if let Some(migrations) = &job.migrations {
            migrations.rehearse(transaction, &Name::new(job.options.schema.as_str()), Section::Indexes).await?;
        }
        Ok(())
    }

    /// The report of a dry run: what would be done, and that nothing was.
    pub fn into_planned(mut self, job: &Job, rehearsal: Rehearsal) -> MigrateReport {
        self.plan.warnings.extend(rehearsal.broken.iter().cloned());
        let inspected = self.clock.times().iter().find(|time| time.phase == Phase::Inspect).map_or(0.0, |time| time.seconds);
        let estimate = estimate(&self.plan, &rehearsal) + Duration::from_secs_f64(inspected);
        MigrateReport {
            rehearsal: Some(rehearsal),
            estimate: Some(estimate),
            inspected: None,
            run_id: job.run_id.clone(),
            source: job.snapshot.path().display().to_string(),
            target: job.address.shown(),
            mapping: job.mapping_name.clone(),
            ddl: ddl(&self.plan),
            tables: Vec::new(),
            phases: self.clock.times(),
            verify_began: None,
            elapsed: job.began.elapsed(),
            objects_created: 0,
            warnings: self.plan.warnings.clone(),
            todo: self.plan.todo.clone(),
            todo_file: None,
            rejects_dir: None,
            resume: None,
            source_changed: job.snapshot.source_changed(),
            peak_rss_bytes: peak_rss_bytes(),
            exit_reasons: Vec::new(),
            outcome: Outcome::Planned,
            sections: RunSections::ALL,
            sections_left: RunSections::default(),
            plan: Arc::new(self.plan),
        }
    }
}

/// About how long the run will take: each row is read and encoded as in the rehearsal, then written, indexed and read back on both sides.
/// What the server and the way to it do to that is not known before.
fn estimate(plan: &Plan, rehearsal: &Rehearsal) -> Duration {
    const AGAINST_READING: f64 = 10.0;
    // 3,000 tables with 9,000 keys, indexes and foreign keys took 17 s on two cores.
    const A_TABLE: f64 = 0.003;
    const AN_OBJECT: f64 = 0.0012;
    let fixed = plan.tables.len() as f64 * A_TABLE + plan.objects.len() as f64 * AN_OBJECT + 0.2;
    Duration::from_secs_f64(fixed + rehearsal.elapsed.as_secs_f64() * AGAINST_READING)
}

/// Reads both sides and makes the plan; changes nothing.
pub async fn prepare(job: &Job, purpose: Purpose) -> Result<Prepared> {
    let mut clock = PhaseClock::default();
    let mut client = match purpose {
        Purpose::Run | Purpose::Retry => run_session(&job.address, job.role.as_deref(), &job.run_id).await?,
        Purpose::Look => session(&job.address, job.role.as_deref()).await?,
    };
    target::refuse_pooler_and_standby(&client, &job.address).await?;
    if purpose != Purpose::Look {
        target::lock_schema(&client, &job.options.schema).await?;
    }
    if purpose == Purpose::Run {
        tell_by_name(&client, &job.address, &job.run_id, Phase::Inspect).await?;
    }
    let inspected = match purpose {
        Purpose::Retry => prepare::unseen(job).await?,
        Purpose::Run | Purpose::Look => prepare::inspect(job, &mut clock).await?,
    };
    if purpose == Purpose::Run {
        tell_by_name(&client, &job.address, &job.run_id, Phase::Plan).await?;
    }
    let redo = match job.replace {
        true => target::made_by_runs(&client, job, &inspected.schema).await?,
        false => Redo::default(),
    };
    let (plan, inspected) = prepare::plan(&mut client, inspected, job, &redo, &mut clock).await?;
    Ok(Prepared { schema: Arc::clone(&inspected.schema), inspected: Some(inspected), plan, redo, begun: false, control: client, clock })
}

/// Does what the plan says, or what is left of it. The plan must have no problems. Connections that break are made again for up to a minute; what
/// fails for good leaves a run that can be resumed, unless the failure says otherwise.
pub async fn run(job: &Job, prepared: Prepared) -> Result<(MigrateReport, Keeper)> {
    let Prepared { schema, inspected, plan, redo, begun, mut control, mut clock } = prepared;
    refuse_problems(&plan)?;
    writable::refuse_before(job, &plan)?;
    // Only what is known of the rows of tables that existed is asked for again; of thousands of tables it is much.
    let given = plan.tables.iter().any(|table| table.create.is_none());
    let mut inspected = inspected.filter(|_| given);
    if !begun {
        target::check_rights(&control, &plan).await?;
        target::check_roles(&control, &job.grants).await?;
        control = course::begin(job, &plan, &redo, control).await?;
        forget_name(&control).await?;
    }
    let work = course::Work { job, plan: Arc::new(plan), schema, fresh: !begun };
    let done = match course::carry_through(&work, control, &mut clock).await {
        Ok(done) => done,
        Err(error) => return Err(course::give_up(job, error).await),
    };
    let run = &done.run;
    if let Err(error) = run.snapshot.refuse_a_torn_state() {
        return Err(course::give_up(job, error).await);
    }
    // What was foreseen is said by the section that foresees it, and once more by the one that ends the run.
    let (mut warnings, mut todo) = match done.left.is_empty() || job.sections.has(RunSection::PreData) {
        true => (run.plan.warnings.clone(), run.plan.todo.clone()),
        // Who makes them says which of them could not be said.
        false if job.sections.has(RunSection::PostData) => {
            (run.plan.warnings.iter().filter(|warning| warning.is_of_post_data()).cloned().collect(), run.plan.todo.clone())
        }
        false => (Vec::new(), Vec::new()),
    };
    warnings.extend(done.built.warnings);
    todo.extend(done.built.todo);
    let todo_file = todo::write(run.rejects.folder(), &todo)?;
    let any_rejected = done.counts.iter().any(|count| count.rows_rejected > 0);
    if begun && given && job.prove && job.sections.has(RunSection::Verify) {
        inspected = Some(prepare::inspect(job, &mut clock).await?);
    }
    let mut report = MigrateReport {
        rehearsal: None,
        estimate: None,
        inspected: inspected.map(Arc::new),
        run_id: run.id.clone(),
        source: job.snapshot.path().display().to_string(),
        target: job.address.shown(),
        mapping: job.mapping_name.clone(),
        ddl: Vec::new(),
        tables: table_reports(&run.plan, &done.counts, &done.proved),
        plan: Arc::clone(&run.plan),
        phases: clock.times(),
        verify_began: clock.began(Phase::Verify),
        elapsed: job.began.elapsed(),
        objects_created: done.built.created,
        warnings,
        todo,
        todo_file,
        rejects_dir: any_rejected.then(|| run.rejects.folder().to_owned()),
        resume: None,
        source_changed: run.snapshot.source_changed(),
        peak_rss_bytes: peak_rss_bytes(),
        exit_reasons: Vec::new(),
        outcome: Outcome::Clean,
        sections: job.sections,
        sections_left: done.left,
    };
    if report.source_changed {
        let message = "was written to during the copy; the copy is of the state before that";
        report.warnings.push(crate::plan::Warning::note("source_changed", report.source.clone(), message));
    }
    Ok((report, done.keeper))
}

/// Writes into the journal how the run ended, once that is known, with the whole answer as a document.
pub async fn close(address: &Address, report: &MigrateReport, document: &impl Serialize, events: &Events) -> Result<()> {
    let is_lost = |warning: &&crate::plan::Warning| warning.severity == Severity::Loss || warning.code == NOT_IN_TARGET;
    let losses: Vec<_> = report.warnings.iter().filter(is_lost).collect();
    let rejects = report.rejects_dir.as_ref().map(std::path::absolute).transpose()?;
    let said = serde_json::json!({LOSSES: losses, "rejects_dir": rejects.map(|folder| folder.display().to_string())});
    through_cuts(events, async || {
        let client = session(address, None).await?;
        // Nothing after this commit says that the run is done.
        client.batch_execute("SET synchronous_commit = on").await?;
        let journal = Journal::open(&client).await?;
        Journal::note(&client, &report.run_id, &said).await?;
        journal.keep_report(&report.run_id, document).await?;
        if !report.sections_left.is_empty() {
            if report.sections.has(RunSection::Verify) && report.outcome != Outcome::Mismatch {
                Journal::steps_done(&client, &report.run_id, &[(RunSection::Verify.step(), Built::default().said()?)]).await?;
            }
            return journal.finish(&report.run_id, PARTIAL).await;
        }
        journal.finish(&report.run_id, report.outcome.as_str()).await
    })
    .await
}

/// The answer of a run that came to its end, as it was given then.
pub async fn answer(address: &Address, run_id: &str) -> Result<Option<serde_json::Value>> {
    let client = session(address, None).await?;
    let text = Journal::report(&client, run_id).await?;
    text.map(|text| serde_json::from_str(&text).context("read the run's answer from the journal")).transpose()
}

/// `--drop-journal`: nothing of the run is left in the target but what it was to bring.
pub async fn forget(address: &Address, run_id: &str) -> Result<()> {
    let mut client = session(address, None).await?;
    Journal::drop_run(&mut client, run_id).await
}

/// How each table of the source would be copied into the target as it is: for comparing what no run of ours has copied.
pub async fn derived_maps(job: &Job) -> Result<Vec<CopyMap>> {
    let prepared = prepare(job, Purpose::Look).await?;
    // That the tables have rows is the point here, and one that is not there is a difference: no problems.
    let problems = prepared.plan.problems.iter().filter(|problem| !["target_not_empty", "name_taken"].contains(&problem.code));
    refuse_problems(&Plan { problems: problems.cloned().collect(), ..Plan::default() })?;
    Ok(prepared.plan.tables.iter().map(TablePlan::copy_map).collect())
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
    /// The digest of every table that was read back and found to hold what was sent.
    proved: HashMap<usize, String>,
}

/// Rows in, the biggest table first; a table's own indexes start when its last chunk has landed, on workers of their own. `finishing` is false
/// where indexes are not to be made now.
async fn copy_and_index(run: &Arc<Run>, control: &Client, jobs: usize, finishing: bool, clock: &mut PhaseClock) -> Result<Copied> {
    let started = Instant::now();
    // Tables are read back while others are copied; the copy is what a person follows first.
    let proof = run.proofs.total(&run.plan)?;
    let proving = proof.is_some();
    if let Some(event) = proof {
        run.send(Event::PhaseStarted(Phase::Verify));
        run.send(event);
    }
    run.send(Event::PhaseStarted(Phase::Copy));
    let (chunks, counts) = copy::left(run);
    let with_data = || run.plan.tables.iter().filter(|table| !table.without_data);
    run.send(Event::Total {
        phase: Phase::Copy,
        tables: with_data().count() as u64,
        rows: with_data().map(|table| table.rows).sum(),
        rows_done: counts.iter().map(|count| count.rows_read).sum(),
    });
    copy::tell_complete(run, &counts);
    let after = Arc::new(Queue::new(run, finishing));
    for (table, count) in counts.iter().enumerate().filter(|(_, count)| count.chunks_left == 0) {
        after.landed(table, count.rows_rejected)?;
    }
    let queue: Arc<Mutex<VecDeque<Chunk>>> = Arc::new(Mutex::new(chunks));
    let counts = Arc::new(Mutex::new(counts));
    let mut copiers = JoinSet::new();
    let streams = queue.lock().map_err(|_| anyhow!("a copy worker panicked"))?.len().min(jobs.max(1)).min(run.snapshot.readers());
    for _ in 0..streams {
        let client = run.connect().await?;
        copiers.spawn(copy::worker(Arc::clone(run), client, Arc::clone(&queue), Arc::clone(&counts), Arc::clone(&after)));
    }
    let mut builders = JoinSet::new();
    for _ in 0..if finishing || proving { jobs.max(1) } else { 0 } {
        let after = Arc::clone(&after);
        builders.spawn(async move { after.work().await });
    }
    while let Some(copier) = copiers.join_next().await {
        copier.context("a copy worker panicked")??;
    }
    clock.note(Phase::Copy, started);
    run.phase_ended(Phase::Copy, started);
    let sequences = finish::set_sequences(run, control).await?;
    run.section_done(control, RunSection::Data).await?;
    let indexes_started = Instant::now();
    if finishing {
        run.send(Event::PhaseStarted(Phase::Indexes));
    }
    while let Some(builder) = builders.join_next().await {
        builder.context("an index worker panicked")??;
    }
    if finishing {
        run.phase_ended(Phase::Indexes, indexes_started);
    }
    if proving {
        run.phase_ended(Phase::Verify, started);
    }
    let After { mut built, clock: beside, proved } = after.end()?;
    built.merge(sequences);
    clock.merge(beside);
    let counts = counts.lock().map_err(|_| anyhow!("a copy worker panicked"))?.clone();
    Ok(Copied { counts, built, proved })
}

fn ddl(plan: &Plan) -> Vec<Option<String>> {
    let of_table = |table: &TablePlan| match &table.create {
        Some(create) => Some(statement::create_table(&table.target, create, false)),
        None => {
            let added = table.added_columns.iter().map(|(name, column_type)| statement::add_column(&table.target, name, &column_type.sql));
            Some(added.collect::<Vec<_>>().join(";\n")).filter(|statements| !statements.is_empty())
        }
    };
    plan.tables.iter().map(of_table).collect()
}

fn table_reports(plan: &Plan, counts: &[TableCount], proved: &HashMap<usize, String>) -> Vec<TableReport> {
    let report = |(place, (table, count)): (usize, (&TablePlan, &TableCount))| TableReport {
        source: table.source.clone(),
        target: table.target.to_string(),
        rows_read: count.rows_read,
        rows_written: count.rows_written,
        rows_rejected: count.rows_rejected,
        bytes: count.bytes,
        rows_before: count.rows_before,
        seconds: (count.rows_before == 0).then(|| count.started.zip(count.ended).map_or(0.0, |(start, end)| (end - start).as_secs_f64())),
        verified: proved.contains_key(&place).then_some(true),
        source_digest: proved.get(&place).cloned(),
        target_digest: proved.get(&place).cloned(),
        changes: None,
    };
    plan.tables.iter().zip(counts).enumerate().map(report).collect()
}

/// The most memory that the process ever had resident, in bytes (`ru_maxrss`, as `/proc` tells it); unknown where there is no `/proc`.
pub fn peak_rss_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let kib = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?.trim().strip_suffix("kB")?;
    Some(kib.trim().parse::<u64>().ok()? * 1024)
}
