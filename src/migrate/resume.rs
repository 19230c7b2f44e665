//! How a run begins in the journal, and how another process finds it there and goes on with it.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::json;

use crate::migrate::copy::TableCount;
use crate::migrate::course::{BEAT, is_ours, take_over};
use crate::migrate::earlier::{DECLARATIONS, Earlier, LOSSES};
use crate::migrate::process::{self, Life};
use crate::migrate::refresh::REFRESHING;
use crate::migrate::rejects;
use crate::migrate::report::PhaseClock;
use crate::migrate::section::RunSections;
use crate::migrate::standing::Standing;
use crate::migrate::target::{self, Redo};
use crate::migrate::{Job, MigrateReport, Prepared, table_reports};
use crate::model::{Event, Failure, Phase};
use crate::plan::{Plan, Warning};
use crate::postgres::{
    Address, Client, Journal, PARTIAL, RunRecord, RunState, end_run_sessions, run_session, run_sessions, session, sql_failure, written,
};
use crate::sqlite::Fingerprint;

/// Under which of a run's settings the words are by which its outcome is judged.
const JUDGED: &str = "judged";
/// Under which of a run's settings the state is that it has read of its source.
pub const FINGERPRINT: &str = "fingerprint";

/// Writes the run into the journal: its plan, its source's fingerprint, how it was called. What `--replace` takes away goes in the same transaction.
pub async fn begin(job: &Job, plan: &Plan, redo: &Redo, control: &mut Client) -> Result<()> {
    Journal::open(control).await.map_err(|error| sql_failure(error).context("prepare the journal"))?;
    let snapshot = job.snapshot.clone();
    let (fingerprint, declarations) =
        tokio::task::spawn_blocking(move || -> Result<_> { Ok((snapshot.fingerprint(None)?, snapshot.reader()?.declarations())) })
            .await
            .context("a reader of the source panicked")??;
    let earlier = Earlier::beside(control, job, plan, redo, declarations).await?;
    let record = RunRecord {
        run_id: job.run_id.clone(),
        source: job.snapshot.path().display().to_string(),
        target_schema: plan.schema.clone(),
        status: "running".into(),
        settings: json!({
            "mapping": job.mapping_name,
            "source_path": job.call.source_path,
            FINGERPRINT: fingerprint,
            "flags": job.call.flags,
            JUDGED: job.call.judged,
            "sections": job.sections.words(),
            "command": job.call.line,
            "folder": job.call.folder,
            "left_out": earlier.left_out,
            LOSSES: earlier.losses,
            "names": job.options.names,
            "rejects_into": absolute(&job.rejects_dir)?,
            "rows": plan.tables.iter().filter(|table| !table.without_data).map(|table| table.rows).sum::<u64>(),
        }),
    };
    let maps = plan.tables.iter().map(|table| (table.copy_map(), table.create.is_some()));
    let transaction = control.transaction().await.map_err(|error| sql_failure(error.into()))?;
    Journal::start(&transaction, &record, plan, maps).await.map_err(sql_failure)?;
    // Of thousands of tables these are megabytes: they are written as they are, and make no part of a larger document here.
    let declared = BTreeMap::from([(DECLARATIONS, &earlier.declarations)]);
    Journal::note(&transaction, &job.run_id, &declared).await.map_err(sql_failure)?;
    target::drop_tables(&transaction, &plan.schema, redo).await?;
    transaction.commit().await.map_err(|error| sql_failure(error.into())).context("commit the run's beginning")
}

/// True when the run is in the journal, with its plan.
pub async fn has_begun(client: &Client, run_id: &str) -> Result<bool> {
    Ok(Journal::exists(client).await? && Journal::plan(client, run_id).await?.is_some())
}

fn absolute(path: &Path) -> Result<String> {
    Ok(std::path::absolute(path)?.display().to_string())
}

/// What `--resume` finds.
#[derive(Debug)]
pub enum Resumable {
    /// Why not.
    Nothing(String),
    /// The run came to its end.
    Complete(Box<RunState>),
    Unfinished(Box<RunState>),
}

/// The run that `--resume[=RUN_ID]` means: the one named, else the last of this source into the schema, else the last into the schema that did
/// not come to its end.
pub async fn look_for_run(job: &Job, wanted: Option<&str>) -> Result<Resumable> {
    let client = session(&job.address, job.role.as_deref()).await?;
    let runs = Journal::runs(&client).await?;
    let schema = &job.options.schema;
    let mut others = None;
    let found = match wanted {
        Some(run_id) => {
            let Some(run) = runs.into_iter().find(|run| run.record.run_id == run_id) else {
                bail!(
                    Failure::new("run_not_found", format!("the target's journal knows no run {run_id}"))
                        .hint("`candlefish runs` lists those that it knows.")
                );
            };
            if run.record.target_schema != *schema {
                bail!(
                    Failure::new(
                        "settings_changed",
                        format!("run {run_id} goes into schema {:?}, not {schema:?}", run.record.target_schema)
                    )
                    .hint("Say --schema as the run did.")
                );
            }
            Some(run)
        }
        None => {
            let mut into: Vec<RunState> = runs
                .into_iter()
                .filter(|run| {
                    run.record.target_schema == *schema && !["given_up", REFRESHING].contains(&run.record.status.as_str()) && !is_retry(run)
                })
                .collect();
            let of_source = into.iter().position(|run| run.record.settings["source_path"] == job.call.source_path.as_str());
            match of_source.or_else(|| into.iter().position(RunState::is_unfinished)) {
                Some(place) => Some(into.swap_remove(place)),
                None => {
                    others = into.into_iter().next();
                    None
                }
            }
        }
    };
    let Some(run) = found else { return Ok(Resumable::Nothing(why_nothing(schema, others.as_ref()))) };
    if is_retry(&run) {
        bail!(
            Failure::new("run_not_resumable", format!("run {} tried rejects again", run.record.run_id))
                .hint("The same --retry-rejects tries again what is left.")
        );
    }
    if run.record.status == REFRESHING {
        bail!(
            Failure::new(
                "run_not_resumable",
                format!("run {} was a refresh, of which nothing stays that did not come to its end", run.record.run_id)
            )
            .hint("The same --refresh does it all.")
        );
    }
    if run.record.status == "given_up" {
        bail!(
            Failure::new("run_given_up", format!("run {} was given up: a later run has taken its tables", run.record.run_id))
                .hint("`candlefish runs` lists those that can be resumed.")
        );
    }
    refuse_another_source(job, &run).await?;
    if !run.is_unfinished() {
        return Ok(Resumable::Complete(Box::new(run)));
    }
    Ok(Resumable::Unfinished(Box::new(run)))
}

/// `newest` is the last run into the schema, of another file: it may be this one under another name.
fn why_nothing(schema: &str, newest: Option<&RunState>) -> String {
    let Some(run) = newest else { return format!("no run has been begun into schema {schema:?}") };
    let run_id = &run.record.run_id;
    let path = run.record.settings["source_path"].as_str().unwrap_or(&run.record.source);
    format!(
        "no run of this file has been begun into schema {schema:?} (run {run_id} was of {path}: if that is this file, say --resume={run_id})"
    )
}

/// A run of `--retry-rejects`.
fn is_retry(run: &RunState) -> bool {
    run.record.settings.get("retry_rejects").is_some()
}

/// The rows that are there already came from another state of the source; the two would not go together.
async fn refuse_another_source(job: &Job, run: &RunState) -> Result<()> {
    let run_id = &run.record.run_id;
    let then: Option<Fingerprint> = Journal::setting(&run.record.settings, FINGERPRINT)
        .with_context(|| format!("read the fingerprint of run {run_id}'s source from the journal"))?;
    // A refresh by an older candlefish has noted none; it is whole, and nothing of it is left to do.
    let Some(then) = then else { return Ok(()) };
    let (snapshot, like) = (job.snapshot.clone(), then.clone());
    let now = tokio::task::spawn_blocking(move || snapshot.fingerprint(Some(&like))).await.context("a reader of the source panicked")??;
    let Some(difference) = then.difference(&now) else { return Ok(()) };
    let hint = if run.is_unfinished() {
        "Begin anew with --replace --yes."
    } else {
        "--refresh brings what has changed since; --replace --yes copies it again."
    };
    bail!(Failure::new("source_changed", format!("the source has changed since run {run_id} began: {difference}")).hint(hint))
}

/// Goes on with a run: refuses when it was called otherwise or is still under way, ends what it left behind, and takes its plan.
pub async fn reopen(job: &Job, run: &RunState) -> Result<Prepared> {
    let planned = Instant::now();
    let mut clock = PhaseClock::default();
    let run_id = &run.record.run_id;
    if run.version != env!("CARGO_PKG_VERSION") {
        bail!(
            Failure::new(
                "version_changed",
                format!("run {run_id} was begun by candlefish {}, and this is {}", run.version, env!("CARGO_PKG_VERSION"))
            )
            .hint("Resume it with that version, or begin anew with --replace --yes.")
        );
    }
    refuse_other_flags(job, run)?;
    refuse_one_under_way(&job.address, run).await?;
    let client = take_over(job).await?;
    target::refuse_pooler_and_standby(&client, &job.address).await?;
    let text = Journal::plan(&client, run_id).await?.with_context(|| format!("the journal has no plan of run {run_id}"))?;
    let mut plan: Plan = written(&text, "what was planned", run_id, &run.version)?;
    let standing = Standing::read(&client, run_id).await?;
    let done = RunSections::done(&standing);
    job.sections.refuse_out_of_order(done, &format!("run {run_id} has not done"))?;
    let rows: u64 = standing.chunks().map(|chunk| chunk.rows_written).sum();
    (job.events)(Event::Note(format!("run {run_id} goes on: {rows} of its rows are in PostgreSQL")));
    if let Some(then) = Journal::setting::<String>(&run.record.settings, JUDGED)?.filter(|then| *then != job.call.judged) {
        let word = |words: &str| if words.is_empty() { "neither --strict nor --allow".to_string() } else { words.to_string() };
        let now = word(&job.call.judged);
        (job.events)(Event::Note(format!("the outcome is judged by {now}, as said now; run {run_id} was begun with {}", word(&then))));
    }
    if run.record.status != PARTIAL {
        plan.warnings.push(Warning::note(
            "resumed",
            run_id,
            format!("was interrupted and resumed; {rows} rows were in PostgreSQL by then"),
        ));
    }
    bring_rejects(job, run, &standing, &client).await?;
    let journal = Journal::open(&client).await?;
    // What is interrupted from here on is gone on with as it was called now.
    let called = json!({"sections": job.sections.words(), JUDGED: job.call.judged, "command": job.call.line, "folder": job.call.folder});
    Journal::note(&client, run_id, &called).await?;
    // From here on the run is this process's.
    Journal::beat(&client, run_id, &process::this(), Phase::Plan.as_str()).await?;
    journal.resumed(run_id).await?;
    let snapshot = job.snapshot.clone();
    let schema = tokio::task::spawn_blocking(move || snapshot.reader()?.schema()).await.context("a reader of the source panicked")??;
    clock.note(Phase::Plan, planned);
    Ok(Prepared { schema: Arc::new(schema), inspected: None, plan, redo: Redo::default(), begun: true, control: client, clock })
}

/// The plan was made under other flags, and what they say would not be done.
fn refuse_other_flags(job: &Job, run: &RunState) -> Result<()> {
    let then: BTreeMap<String, String> =
        serde_json::from_value(run.record.settings["flags"].clone()).context("read from the journal how the run was called")?;
    let now = &job.call.flags;
    let word = |flags: &BTreeMap<String, String>, flag: &str| flags.get(flag).map_or("not given".to_string(), |value| format!("{value:?}"));
    let mut differences = Vec::new();
    for flag in then.keys().chain(now.keys().filter(|flag| !then.contains_key(*flag))) {
        if then.get(flag) != now.get(flag) {
            differences.push(format!("{flag} was {} and is {}", word(&then, flag), word(now, flag)));
        }
    }
    if differences.is_empty() {
        return Ok(());
    }
    bail!(
        Failure::new("settings_changed", format!("run {} was called otherwise: {}", run.record.run_id, differences.join("; ")))
            .hint("Say it as before (`candlefish runs` has the line), or begin anew with --replace --yes.")
    )
}

/// A run whose process lives is not to be taken from it: asked of the process table, and where that cannot know, of the run's heartbeat.
async fn refuse_one_under_way(address: &Address, run: &RunState) -> Result<()> {
    let client = session(address, None).await?;
    let run_id = &run.record.run_id;
    let Some((process, _)) = Journal::last_beat(&client, run_id).await? else { return Ok(()) };
    if run_sessions(&client, run_id).await?.is_empty() {
        return Ok(());
    }
    let alive = match process::life(&process) {
        Life::Alive => true,
        Life::Dead => false,
        Life::Unknown => {
            let before = Journal::last_beat(&client, run_id).await?;
            tokio::time::sleep(BEAT * 3).await;
            let after = Journal::last_beat(&client, run_id).await?;
            // A beat in between sets the age back.
            after.zip(before).is_some_and(|((_, after), (_, before))| after < before + BEAT.as_secs_f64())
        }
    };
    if alive {
        bail!(
            Failure::new("run_in_progress", format!("run {run_id} is under way right now"))
                .hint("`candlefish runs --watch` follows it; stop that process first to go on with the run here.")
        );
    }
    Ok(())
}

/// The folder in which a run sets rows aside, unless it is told another.
pub fn rejects_folder(run: &RunState, default: &Path) -> PathBuf {
    run.record.settings["rejects_into"].as_str().map_or_else(|| default.to_owned(), PathBuf::from)
}

/// Ends whatever a run of this process still has open, and tells what stands of it.
pub async fn stop(job: &Job) -> Result<MigrateReport> {
    let stopped = async {
        let client = run_session(&job.address, job.role.as_deref(), &job.run_id).await?;
        if !is_ours(&client, &job.run_id).await? {
            bail!(Failure::new("run_in_progress", format!("another process has taken run {} over", job.run_id)));
        }
        end_run_sessions(&client, &job.run_id).await?;
        let text = if Journal::exists(&client).await? { Journal::plan(&client, &job.run_id).await? } else { None };
        // A retry of rejects has no plan to go on with.
        let Some(text) = text.filter(|text| text != "null") else { return Ok(MigrateReport::stopped(job, None, Vec::new())) };
        let plan: Plan = serde_json::from_str(&text).context("read the plan from the journal")?;
        client.batch_execute("SET synchronous_commit = on").await.map_err(|error| sql_failure(error.into()))?;
        Journal::open(&client).await?.stopped(&job.run_id).await?;
        let standing = Standing::read(&client, &job.run_id).await?;
        let mut counts = vec![TableCount::default(); plan.tables.len()];
        for (table, count) in plan.tables.iter().zip(&mut counts) {
            standing.chunks_of(&table.source).for_each(|chunk| count.add(chunk));
        }
        let tables = table_reports(&plan, &counts, &HashMap::new());
        let sections_left = RunSections::ALL.without(RunSections::done(&standing));
        anyhow::Ok(MigrateReport { sections_left, ..MigrateReport::stopped(job, Some(plan), tables) })
    };
    tokio::time::timeout(STOP_PATIENCE, stopped).await.context("the target does not answer")?
}

/// How long a stop may take before it is only said how to go on.
const STOP_PATIENCE: Duration = Duration::from_secs(20);

/// The rows that the run has set aside so far are to be found in one folder, this one.
async fn bring_rejects(job: &Job, run: &RunState, standing: &Standing, client: &Client) -> Result<()> {
    let into = absolute(&job.rejects_dir)?;
    let from = run.record.settings["rejects_into"].as_str().unwrap_or(&into).to_string();
    if from == into {
        return Ok(());
    }
    let landed = |table: &str, chunk: usize| standing.chunk(table, chunk).is_some();
    if standing.chunks().any(|chunk| chunk.rows_rejected > 0) && !Path::new(&from).is_dir() {
        (job.events)(Event::Warning(format!("the rows that the run has set aside before are not here: {from}")));
    }
    rejects::forget_unlanded(from.as_ref(), &job.rejects_dir, &job.run_id, landed)?;
    Journal::open(client).await?;
    Journal::note(client, &job.run_id, &json!({"rejects_into": into})).await
}
