//! `--retry-rejects`: rows that an earlier run set aside, tried again against the target as it is now.
//!
//! A file's rows go in within one transaction, together with a row of the journal. Beside the file a new one is written first, with the rows
//! that still do not fit; it takes the file's place when the transaction has committed. Whoever is killed in between finds both, and the
//! journal tells which of them is true: no row is tried twice, none is lost.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use serde_json::{Value as Json, json};
use tokio::sync::Notify;

use crate::migrate::careful::{self, BATCH_ROWS, Batch};
use crate::migrate::copy::{ChunkCount, TableCount, copied_columns};
use crate::migrate::course::{Incident, beat, interrupted, reconnect};
use crate::migrate::earlier::{DECLARATIONS, LOSSES};
use crate::migrate::encode::RowEncoder;
use crate::migrate::proof::Proofs;
use crate::migrate::rejects::{RejectedRow, Rejects};
use crate::migrate::report::PhaseClock;
use crate::migrate::run::Run;
use crate::migrate::standing::Standing;
use crate::migrate::{Job, MigrateReport, Outcome, Prepared, RunSections, finish, peak_rss_bytes, refuse_problems, resume, table_reports};
use crate::model::{Event, Failure, Kept, Phase};
use crate::plan::mapping::Mapping;
use crate::plan::target::{RebuildKind, Rebuildable};
use crate::plan::{CopyMap, Existing, OnExtra, Warning};
use crate::postgres::{Client, Journal, RunRecord, sql_failure, statement};
use crate::sides::reject_files;
use crate::sqlite::KeptRows;

/// The status of a retry that has not come to its end.
pub const RETRYING: &str = "retrying";
/// The sign on a new file that waits for its transaction.
const WAITING: &str = ".retry-";

/// What a retry changes in what a migration was told: nothing is taken away, nothing added, rows that are there stay.
pub fn prepare_job(job: &mut Job) {
    job.options.existing = vec![("*".into(), Existing::Keep)];
    job.options.on_extra = OnExtra::Fail;
    job.migrations = None;
    job.replace = false;
}

/// How the last run into the schema copied: the mapping of a retry that is given none.
pub async fn last_mapping(job: &Job) -> Result<Option<Mapping>> {
    let client = crate::postgres::session(&job.address, job.role.as_deref()).await?;
    if !Journal::exists(&client).await? {
        return Ok(None);
    }
    let source = job.snapshot.reader()?.schema()?;
    Ok(Journal::last_maps(&client, &job.options.schema, &job.call.source_path).await?.map(|maps| Mapping::of(&source, &maps)))
}

/// One line of a file: a row that was set aside.
struct Line {
    table: String,
    key: Json,
    row: Json,
}

impl Line {
    fn parse(text: &str) -> Option<(Self, Json)> {
        let json: Json = serde_json::from_str(text).ok()?;
        let line = Line { table: json.get("table")?.as_str()?.to_string(), key: json.get("key")?.clone(), row: json.get("row")?.clone() };
        Some((line, json))
    }
}

/// Tries every row of every file in `folder`; files keep what still does not fit. Connections that break are made again for up to a minute, as
/// in a run.
pub async fn retry(job: &Job, prepared: Prepared, folder: &Path) -> Result<MigrateReport> {
    let Prepared { schema, plan, control, mut clock, .. } = prepared;
    refuse_problems(&plan)?;
    if let Some(missing) = plan.tables.iter().find(|table| table.create.is_some() && has_file(folder, &table.source)) {
        bail!(
            Failure::new("table_not_found", format!("{} is not there to take the rows that were set aside", missing.target))
                .hint("Name the database and --schema of the run that set them aside.")
        );
    }
    let run = Run {
        id: job.run_id.clone(),
        plan: Arc::new(plan),
        schema,
        standing: Standing::default(),
        snapshot: Arc::clone(&job.snapshot),
        address: job.address.clone(),
        role: job.role.clone(),
        rejects: Rejects::new(folder.to_owned(), &job.run_id),
        on_misfit: job.on_misfit,
        max_rejects: None,
        proofs: Proofs::default(),
        rejected: AtomicU64::new(0),
        events: Arc::clone(&job.events),
        advanced: AtomicU64::new(0),
        phase: AtomicUsize::new(0),
        phase_began: Notify::new(),
    };
    // A folder that is not there is nothing for the journal.
    reject_files(folder)?;
    let mut progress = Progress { counts: vec![TableCount::default(); run.plan.tables.len()], ..Progress::default() };
    let keeper = begin(job, &run, folder, control, &mut progress).await?;
    carry_through(job, &run, folder, &mut progress, keeper, &mut clock).await.map_err(changed)?;

    let mut tables = table_reports(&run.plan, &progress.counts, &HashMap::new());
    tables.retain(|table| table.rows_read > 0);
    let left = tables.iter().any(|table| table.rows_rejected > 0);
    Ok(MigrateReport {
        rehearsal: None,
        estimate: None,
        inspected: None,
        run_id: run.id.clone(),
        source: job.snapshot.path().display().to_string(),
        target: job.address.shown(),
        mapping: job.mapping_name.clone(),
        ddl: Vec::new(),
        tables,
        phases: clock.times(),
        verify_began: None,
        elapsed: job.began.elapsed(),
        objects_created: progress.validated,
        warnings: progress.warnings,
        todo: Vec::new(),
        todo_file: None,
        rejects_dir: left.then(|| folder.to_owned()),
        source_changed: run.snapshot.source_changed(),
        peak_rss_bytes: peak_rss_bytes(),
        exit_reasons: Vec::new(),
        outcome: Outcome::Clean,
        sections: RunSections::ALL,
        sections_left: RunSections::default(),
        resume: None,
        plan: Arc::clone(&run.plan),
    })
}

/// How far the retry has come, whatever breaks meanwhile.
#[derive(Default)]
struct Progress {
    counts: Vec<TableCount>,
    warnings: Vec<Warning>,
    /// A row may wait for a parent that only a later file brings: then all files are tried once more.
    pass: usize,
    /// Names of this pass's files that are done.
    done: HashSet<String>,
    /// Rows that this pass brought, and rows that stay because their parent is missing.
    written: u64,
    orphans: u64,
    /// A file whose commit is under way: when the connection breaks, only the journal knows what became of it.
    committing: Option<Tried>,
    /// Foreign keys that became whole.
    validated: u64,
}

/// What became of one file's rows, once its transaction commits.
struct Tried {
    name: String,
    /// The new file, and the one whose place it takes.
    waiting: PathBuf,
    file: PathBuf,
    of_table: BTreeMap<usize, ChunkCount>,
    orphans: u64,
    /// Tables that the plan does not have.
    unknown: HashSet<String>,
}

impl Progress {
    /// The file's transaction has committed.
    fn settle(&mut self, run: &Run, tried: Tried) -> Result<()> {
        for (table, count) in &tried.of_table {
            let total = &mut self.counts[*table];
            // A later pass tries again what an earlier one has counted.
            total.rows_read = total.rows_read.max(count.rows_read);
            total.rows_written += count.rows_written;
            total.rows_rejected = count.rows_rejected;
            total.bytes += count.bytes;
            total.started.get_or_insert_with(Instant::now);
            total.ended = Some(Instant::now());
            self.written += count.rows_written;
        }
        self.orphans += tried.orphans;
        if self.pass == 0 {
            self.warnings.extend(tried.unknown.into_iter().map(|table| {
                Warning::note("rejects_of_no_table", table, "has rows set aside, and no place in this plan: they stay where they are")
            }));
        }
        self.done.insert(tried.name);
        run.advance();
        if tried.waiting.exists() { take_place(&tried.file, &tried.waiting) } else { Ok(()) }
    }
}

/// Writes the retry into the journal, once, however often the connection breaks meanwhile; returns a session that holds the lock on the schema.
async fn begin(job: &Job, run: &Run, folder: &Path, mut control: Client, progress: &mut Progress) -> Result<Client> {
    let mut incident = Incident::new();
    while let Err(error) = record(job, run, folder, &mut control, progress).await {
        drop(control);
        control = reconnect(job, error, &mut incident).await?;
        // The commit may have come through, and only the word of it not.
        if resume::has_begun(&control, &job.run_id).await? {
            break;
        }
    }
    Ok(control)
}

async fn record(job: &Job, run: &Run, folder: &Path, control: &mut Client, progress: &mut Progress) -> Result<()> {
    Journal::open(control).await.map_err(|error| sql_failure(error).context("prepare the journal"))?;
    // What the run lost besides rows is no nearer for their coming.
    let settings = Journal::last_settings(&*control, &run.plan.schema, &job.call.source_path).await?;
    progress.warnings = Journal::setting(&settings, LOSSES)?.unwrap_or_default();
    let record = RunRecord {
        run_id: run.id.clone(),
        source: job.snapshot.path().display().to_string(),
        target_schema: run.plan.schema.clone(),
        // Nothing for --resume: the same command tries again what is left.
        status: RETRYING.into(),
        settings: json!({
            "mapping": job.mapping_name,
            "source_path": job.call.source_path,
            "retry_rejects": folder.display().to_string(),
            "rejects_dir": folder.display().to_string(),
            DECLARATIONS: settings.get(DECLARATIONS),
            "left_out": settings.get("left_out"),
            "names": settings.get("names"),
            // Known too where the retry does not come to its end.
            LOSSES: settings.get(LOSSES),
            "made_by": settings.get("made_by").or(settings.get("mapping")),
        }),
    };
    let sources: Vec<String> = run.plan.tables.iter().map(|table| table.source.clone()).collect();
    let made: HashSet<_> = Journal::made(&*control, &run.plan.schema, &sources).await?.into_iter().collect();
    let there = run.plan.tables.iter().filter(|table| table.create.is_none());
    // Rows that are there are those that the run before has brought, unless it has kept others beside them.
    let mut before = Journal::last_maps(control, &run.plan.schema, &job.call.source_path).await?.unwrap_or_default();
    before.extend(Journal::newest_maps(&*control, &run.plan.schema, &job.call.source_path).await?);
    let as_before = |mut map: CopyMap| {
        let known = before.iter().find(|known| known.source == map.source);
        (map.kept, map.kept_rows) = known.map_or((false, None), |known| (known.kept, known.kept_rows));
        map
    };
    let maps = there.map(|table| (as_before(table.copy_map()), made.contains(&table.target)));
    let transaction = control.transaction().await.map_err(|error| sql_failure(error.into()))?;
    Journal::start(&transaction, &record, &(), maps).await?;
    transaction.commit().await.map_err(|error| sql_failure(error.into())).context("commit the retry's beginning")
}

/// Goes on from where the retry stands until all files are tried, with a new connection for every one that breaks. `keeper` holds the lock on the
/// target schema.
async fn carry_through(
    job: &Job,
    run: &Run,
    folder: &Path,
    progress: &mut Progress,
    mut keeper: Client,
    clock: &mut PhaseClock,
) -> Result<()> {
    let mut incident = Incident::new();
    loop {
        let before = run.advanced.load(Ordering::Relaxed);
        let ended = tokio::select! {
            done = to_the_end(run, folder, progress, clock) => done,
            broken = beat(&keeper, run) => broken.map(|never| match never {}),
        };
        let Err(error) = ended else { return Ok(()) };
        if run.advanced.load(Ordering::Relaxed) > before {
            incident = Incident::new();
        }
        // The old session's lock must not outlive the session that takes its place.
        drop(keeper);
        keeper = reconnect(job, error, &mut incident).await?;
    }
}

/// Every file that is not done, then the foreign keys.
async fn to_the_end(run: &Run, folder: &Path, progress: &mut Progress, clock: &mut PhaseClock) -> Result<()> {
    let client = run.connect().await?;
    // A file gives up its rows only when the disk has them.
    client.batch_execute("SET synchronous_commit = on").await?;
    if let Some(tried) = &progress.committing {
        let landed = Journal::landed(&client, &run.id, &tried.name, progress.pass as i32).await?;
        if let Some(tried) = progress.committing.take().filter(|_| landed) {
            progress.settle(run, tried)?;
        }
    }
    finish_waiting(&client, folder).await?;
    let copying = Instant::now();
    run.send(Event::PhaseStarted(Phase::Copy));
    let files = reject_files(folder)?;
    loop {
        for file in &files {
            let name = file.file_name().map(|name| name.to_string_lossy().into_owned()).context("a file has a name")?;
            if progress.done.contains(&name) || !file.exists() {
                continue;
            }
            let tried = try_file(run, &client, file, name, progress.pass).await?;
            progress.committing = Some(tried);
            client.batch_execute("COMMIT").await.map_err(|error| sql_failure(error.into())).context("commit the rows")?;
            if let Some(tried) = progress.committing.take() {
                progress.settle(run, tried)?;
            }
        }
        // A row may wait for its parent, which has only now come.
        if progress.written == 0 || progress.orphans == 0 {
            break;
        }
        progress.done.clear();
        (progress.pass, progress.written, progress.orphans) = (progress.pass + 1, 0, 0);
    }
    clock.note(Phase::Copy, copying);
    let constraints = Instant::now();
    progress.validated += finish::validate_foreign_keys(run, &client).await?;
    clock.note(Phase::Constraints, constraints);
    let came: Vec<_> = run
        .plan
        .tables
        .iter()
        .zip(&progress.counts)
        .map(|(table, count)| (table.source.clone(), count.rows_written, count.rows_rejected))
        .collect();
    Journal::open(&client).await?.tables_came_to(&run.id, &came).await
}

/// One file's rows in a transaction that waits for its commit; beside the file stands the new one, with what comes back.
async fn try_file(run: &Run, client: &Client, file: &Path, name: String, pass: usize) -> Result<Tried> {
    let context = || format!("retry {}", file.display());
    let waiting = file.with_file_name(format!("{name}{WAITING}{}-{pass}", run.id));
    let mut tried =
        Tried { name, waiting: waiting.clone(), file: file.to_owned(), of_table: BTreeMap::new(), orphans: 0, unknown: HashSet::new() };
    let mut left = File::create(&waiting).with_context(|| format!("write {}", waiting.display()))?;
    client.batch_execute("BEGIN; SET CONSTRAINTS ALL IMMEDIATE").await?;
    let mut silenced: HashSet<usize> = HashSet::new();
    let mut lines = BufReader::new(File::open(file).with_context(context)?).lines();
    let mut next: Option<(usize, Line)> = None;
    loop {
        // As many rows of one table as go together.
        let mut group: Vec<Line> = Vec::new();
        let mut table = None;
        while group.len() < BATCH_ROWS {
            let (place, line) = match next.take() {
                Some(next) => next,
                None => {
                    let Some(text) = lines.next() else { break };
                    let text = text.with_context(context)?;
                    let Some((line, json)) = Line::parse(&text) else {
                        bail!("{}: a line is not what migrate writes there: {}", file.display(), text.chars().take(80).collect::<String>())
                    };
                    match run.plan.tables.iter().position(|table| table.source == line.table) {
                        Some(place) => (place, line),
                        None => {
                            tried.unknown.insert(line.table);
                            writeln!(left, "{json}")?;
                            continue;
                        }
                    }
                }
            };
            if *table.get_or_insert(place) != place {
                next = Some((place, line));
                break;
            }
            group.push(line);
        }
        let Some(table) = table else { break };
        if silenced.insert(table) {
            for trigger in triggers(run, table) {
                let silence = statement::drop_object(&run.plan.tables[table].target, trigger);
                client.batch_execute(&silence).await.map_err(|error| sql_failure(error.into()))?;
            }
        }
        let count = tried.of_table.entry(table).or_default();
        count.rows_read += group.len() as u64;
        for row in try_rows(run, client, table, &group, count).await.with_context(context)? {
            tried.orphans += u64::from(row.sqlstate.as_deref() == Some("23503"));
            count.rows_rejected += 1;
            writeln!(left, "{}", row.line(&run.plan.tables[table].source))?;
        }
    }
    for table in &silenced {
        for sql in triggers(run, *table).flat_map(|trigger| statement::rebuild_object(&run.plan.tables[*table].target, trigger, false)) {
            client.batch_execute(&sql).await.map_err(|error| sql_failure(error.into()))?;
        }
    }
    left.sync_all().with_context(|| format!("write {}", waiting.display()))?;
    let written = tried.of_table.values().map(|count| count.rows_written).sum();
    Journal::land(client, &run.id, &tried.name, pass, written).await?;
    Ok(tried)
}

/// The triggers of a table that would fire.
fn triggers(run: &Run, table: usize) -> impl Iterator<Item = &Rebuildable> {
    run.plan.tables[table].rebuild.iter().filter(|object| object.kind == RebuildKind::Trigger)
}

/// Whatever fails once files are tried has left something in the target; there is nothing for `--resume` in it.
fn changed(error: anyhow::Error) -> anyhow::Error {
    let mut error = interrupted(error);
    if let Some(failure) = error.downcast_mut::<Failure>() {
        failure.resumable = false;
    }
    error
}

/// The rows in PostgreSQL, but for those that come back.
async fn try_rows(run: &Run, client: &Client, table: usize, lines: &[Line], count: &mut ChunkCount) -> Result<Vec<RejectedRow>> {
    let plan = &run.plan.tables[table];
    let source = &run.schema.tables[plan.source_index];
    let columns = copied_columns(plan);
    let mut rejected = Vec::new();
    let rows = KeptRows::new(columns.len())?;
    let mut known: Vec<&Line> = Vec::new();
    for line in lines {
        let value = |column: &usize| Kept::parse(line.row.get(&source.columns[*column].name)?);
        match columns.iter().map(value).collect::<Option<Vec<Kept>>>() {
            Some(values) => {
                rows.push(&values)?;
                known.push(line);
            }
            None => rejected.push(RejectedRow {
                key: line.key.clone(),
                column: None,
                reason: "the file does not have the value of every column that is copied now".into(),
                also: Vec::new(),
                sqlstate: None,
                row: line.row.clone(),
            }),
        }
    }
    let mut batch = Batch::default();
    let mut encoder = RowEncoder::new(plan, &columns);
    rows.scan(|row| {
        let line = known[row.key as usize - 1];
        let start = batch.bytes.len();
        match encoder.encode(row, &mut batch.bytes) {
            Ok(()) => {
                batch.starts.push(start);
                batch.rows.push((row.key, line.key.clone(), line.row.clone()));
                encoder.add_texts(row, &mut batch.texts);
            }
            Err(misfit) => {
                batch.misfits.push(RejectedRow::misfit(plan, misfit, line.key.clone(), line.row.clone()));
            }
        }
        Ok(())
    })?;
    let refuse = |column: Option<&str>, reason: &str, rowid| run.reject(plan, column, reason, rowid);
    careful::copy_batch(client, plan, &batch, count, &mut rejected, refuse).await?;
    rejected.extend(batch.misfits);
    Ok(rejected)
}

fn has_file(folder: &Path, table: &str) -> bool {
    crate::migrate::rejects::path(folder, table).exists()
}

/// What a retry that was killed has left: its new files take their place when its rows are there, and go when they are not.
async fn finish_waiting(client: &Client, folder: &Path) -> Result<()> {
    let Ok(entries) = fs::read_dir(folder) else { return Ok(()) };
    for entry in entries {
        let waiting = entry?.path();
        let name = waiting.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let Some((file, (run_id, pass))) = name
            .split_once(WAITING)
            .and_then(|(file, rest)| Some((file, rest.rsplit_once('-').and_then(|(id, pass)| Some((id, pass.parse().ok()?)))?)))
        else {
            continue;
        };
        if Journal::landed(client, run_id, file, pass).await? {
            take_place(&folder.join(file), &waiting)?;
        } else {
            fs::remove_file(&waiting).with_context(|| format!("remove {}", waiting.display()))?;
        }
    }
    Ok(())
}

/// The old file is kept beside, as what was retried; a new one without rows is none.
fn take_place(file: &Path, waiting: &Path) -> Result<()> {
    let replace = || -> std::io::Result<()> {
        if file.exists() {
            let sign = waiting.extension().map(|extension| extension.to_string_lossy().into_owned()).unwrap_or_default();
            fs::rename(file, file.with_extension(format!("jsonl.done-{}", sign.trim_start_matches("retry-"))))?;
        }
        if fs::metadata(waiting)?.len() > 0 {
            fs::rename(waiting, file)?
        } else {
            fs::remove_file(waiting)?
        }
        File::open(file.parent().unwrap_or(Path::new(".")))?.sync_all()
    };
    replace().with_context(|| format!("replace {}", file.display()))
}
