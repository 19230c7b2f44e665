//! `--refresh`: the target of an earlier run made equal to a source that has moved on, by writing only what differs.
//!
//! All of it is one transaction: the tables are locked against writers first, so that what was compared is what is changed; readers see
//! the state before until the commit, and an interruption leaves the target as it was.

mod apply;
mod begun;
mod compare;
mod damage;
mod declared;
mod followed;
mod ledger;
mod stage;
mod unread;

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

use anyhow::{Context as _, Result};
use serde_json::{Map, Value as Json, json};

use crate::migrate::course::{take_over, through_cuts};
use crate::migrate::earlier::{DECLARATIONS, LOSSES};
use crate::migrate::finish::{self, Built};
use crate::migrate::rejects::{self, Rejects};
use crate::migrate::report::{MigrateReport, Outcome, PhaseClock, RowChanges, TableReport};
use crate::migrate::resume::{self, FINGERPRINT};
use crate::migrate::run::Run;
use crate::migrate::standing::Standing;
use crate::migrate::{Job, Purpose, RunSections, peak_rss_bytes, target};
use crate::model::{ColumnType, Event, Failure, Name, Phase, QualifiedName, Schema};
use crate::plan::target::TargetSchema;
use crate::plan::{ColumnPlan, CopyMap, ObjectKind, Plan, SequencePlan, TablePlan, Warning};
use crate::postgres::refresh_statement::{RefreshStatements, lock_for_refresh};
use crate::postgres::{
    Client, ForeignKeyNotValid, Journal, RefreshKeys, RunRecord, TypeReader, column_sequence, foreign_keys_not_valid, is_passing,
    note_unreadable, read_schema, read_sessions, refresh_keys, session, sql_failure,
};
use crate::sides::{Pair, Sides};
use crate::sqlite::Fingerprint;
use apply::{Table, Written};
pub use begun::{REFRESHING, STOPPED, failed, stopped};
use compare::{Size, TableLedger};
use stage::Staged;
use unread::{ComputedWhenRead, Looked};

/// What the parts of a refresh share.
pub struct Shared {
    run: Run,
    sides: Arc<Sides>,
    /// From a table's place in the source's schema to its place among the pairs.
    pairs: HashMap<usize, usize>,
    /// A pair each.
    sizes: Vec<Size>,
}

impl Shared {
    fn pair_of(&self, source: usize) -> Result<usize> {
        self.pairs.get(&source).copied().context("only paired tables are read")
    }
}

/// Both sides compared, with what differs lying ready on the server; nothing has been changed. Dropped, it leaves no trace.
pub struct Compared {
    job: Arc<Job>,
    purpose: Purpose,
    shared: Arc<Shared>,
    /// Its transaction holds the locks and the temporary tables.
    control: Client,
    tables: Vec<Table>,
    ledgers: Vec<Arc<TableLedger>>,
    sequences: Vec<(usize, SequencePlan)>,
    computed_when_read: ComputedWhenRead,
    /// What of the target stays other than the source.
    said: Vec<Warning>,
    /// The settings of the run that is followed.
    before: Json,
    /// The state of the source that was read; none of a look, which the journal is told nothing of.
    fingerprint: Option<Fingerprint>,
    clock: PhaseClock,
    started: Instant,
}

/// Compares every row of both sides and brings what differs to the server. `of` is the run that is followed, where the source has another name by now. Where
/// `agreed`, somebody wants whatever comes of it, and the journal is told of it.
pub async fn compare(job: Arc<Job>, of: Option<&str>, purpose: Purpose, agreed: bool) -> Result<Compared> {
    let started = Instant::now();
    let mut clock = PhaseClock::default();
    damage::refuse_salvage(&job)?;
    // Before anything is locked: of a file in WAL mode every page is read for it.
    let fingerprint = match purpose {
        Purpose::Look => None,
        Purpose::Run | Purpose::Retry => Some(fingerprint(&job).await?),
    };
    // A pooler would keep the locks of the next session for somebody else.
    target::refuse_pooler_and_standby(&session(&job.address, job.role.as_deref()).await?, &job.address).await?;
    let control = take_over(&job).await?;
    if purpose == Purpose::Run {
        // What was set aside before a connection broke, or before a question was answered, is found once more.
        rejects::forget_unlanded(&job.rejects_dir, &job.rejects_dir, &job.run_id, |_, _| false)?;
    }
    let schema = job.snapshot.reader()?.schema()?;
    let (path, known) = followed::known(&control, &job, of).await?;
    let before = Journal::last_settings(&control, &job.options.schema, &path).await?;
    let (maps, left) = followed::maps(&job, &schema, known)?;
    if agreed {
        begun::tell(&job, Phase::Compare).await?;
    }
    // Rows without keys that are to go are found again by their order in the table.
    control.batch_execute("BEGIN; SET LOCAL search_path = ''; SET LOCAL synchronize_seqscans = off").await?;
    let target = lock(&control, &job.options.schema, &maps).await?;
    let mut said = declared::left_over(&left, &target);
    said.extend(declared::since(&before, &job)?);
    let pairs = followed::pair_up(maps, &schema, &target)?;
    said.extend(damage::by_indexes(&job, &schema, &pairs).await?);
    let sequences = followed::sequences(&job, &schema, &target, &pairs)?;
    let computed_when_read = ComputedWhenRead::of(&target);
    let keys = refresh_keys(&control, &job.options.schema).await?;
    let shared = Arc::new(share(&job, schema, pairs, &keys, purpose).await?);

    shared.run.send(Event::PhaseStarted(Phase::Compare));
    let compare_started = Instant::now();
    let ledgers: Vec<Arc<TableLedger>> = compare::balance(&shared).await?.into_iter().map(Arc::new).collect();
    let mut tables = Vec::new();
    for pair in parents_first(&shared.sides) {
        let indexed = keys.get(&shared.sides.pairs[pair].map.target).map_or(&[][..], |keys| &keys.indexed);
        let (table, kept) = differences(&shared, &control, pair, &ledgers[pair], indexed).await?;
        tables.extend(table);
        said.extend(rows_kept(&shared.sides.pairs[pair], kept));
    }
    shared.sides.leave_target()?;
    clock.note(Phase::Compare, compare_started);
    shared.run.send(Event::PhaseEnded { phase: Phase::Compare, seconds: compare_started.elapsed().as_secs_f64() });
    Ok(Compared {
        job,
        purpose,
        shared,
        control,
        tables,
        ledgers,
        sequences,
        computed_when_read,
        said,
        before,
        fingerprint,
        clock,
        started,
    })
}

/// What tells this state of the source from every other.
async fn fingerprint(job: &Job) -> Result<Fingerprint> {
    let snapshot = Arc::clone(&job.snapshot);
    tokio::task::spawn_blocking(move || snapshot.fingerprint(None)).await.context("a reader of the source panicked")?
}

fn rows_kept(pair: &Pair, rows: u64) -> Option<Warning> {
    let message = format!("{rows} rows of {} that the source does not have are left, as --existing keep says", pair.target);
    (rows > 0).then(|| Warning::weaker("rows_kept", &pair.map.source, message))
}

/// Locks the tables that are there, and reads what they are while they are locked.
async fn lock(control: &Client, schema: &str, maps: &[CopyMap]) -> Result<TargetSchema> {
    let there = read_schema(control, schema).await?;
    let names: HashSet<QualifiedName> = maps.iter().map(|map| QualifiedName::new(map.schema.as_str(), map.target.as_str())).collect();
    let tables: Vec<&QualifiedName> = there.tables.iter().map(|table| &table.name).filter(|name| names.contains(name)).collect();
    if tables.is_empty() {
        return Ok(there);
    }
    let locked = control.batch_execute(&lock_for_refresh(&tables)).await;
    locked.map_err(|error| sql_failure(error.into())).context("lock the tables against writers")?;
    let mut target = read_schema(control, schema).await?;
    note_unreadable(control, target.tables.iter_mut().filter(|table| names.contains(&table.name))).await?;
    Ok(target)
}

async fn share(job: &Job, schema: Schema, mut pairs: Vec<Pair>, keys: &HashMap<String, RefreshKeys>, purpose: Purpose) -> Result<Shared> {
    let sizes = compare::sizes(&job.snapshot.reader()?, &schema, &pairs, keys);
    pairs.iter_mut().zip(&sizes).for_each(|(pair, size)| pair.ordered = size.bounds.is_some());
    let sessions = read_sessions(&job.address, job.jobs.max(1)).await?;
    let plan = Plan {
        schema: job.options.schema.clone(),
        tables: pairs.iter().map(|pair| table_plan(pair, &schema)).collect(),
        ..Plan::default()
    };
    let places = pairs.iter().enumerate().map(|(place, pair)| (pair.source, place)).collect();
    let foreign = pairs.iter().any(Pair::has_foreign_types);
    let schema = Arc::new(schema);
    let run = Run {
        id: job.run_id.clone(),
        plan: Arc::new(plan),
        schema: Arc::clone(&schema),
        standing: Standing::default(),
        snapshot: Arc::clone(&job.snapshot),
        address: job.address.clone(),
        role: job.role.clone(),
        rejects: match purpose {
            Purpose::Look => Rejects::unwritten(job.rejects_dir.clone(), &job.run_id),
            Purpose::Run | Purpose::Retry => Rejects::new(job.rejects_dir.clone(), &job.run_id),
        },
        on_misfit: job.on_misfit,
        max_rejects: job.max_rejects,
        proofs: Default::default(),
        rejected: AtomicU64::new(0),
        events: Arc::clone(&job.events),
        advanced: AtomicU64::new(0),
        phase: AtomicUsize::new(0),
        phase_began: tokio::sync::Notify::new(),
    };
    let mut sides = Sides::new(Arc::clone(&job.snapshot), schema, pairs, job.jobs, sessions);
    if foreign {
        sides.types = Some(Arc::new(TypeReader::connect(&job.address).await?));
    }
    Ok(Shared { run, sides: Arc::new(sides), pairs: places, sizes })
}

/// The copy of a pair as a plan: how its rows are encoded.
fn table_plan(pair: &Pair, schema: &Schema) -> TablePlan {
    let table = &schema.tables[pair.source];
    let columns = pair.map.columns.iter().filter_map(|column| {
        let source_index = table.column_index(&column.source)?;
        Some(Arc::new(ColumnPlan {
            source_index,
            source: column.source.clone(),
            declared: table.columns[source_index].declared.clone(),
            target: Name::new(column.target.as_str()),
            column_type: ColumnType { kind: column.conversion.kind.clone(), sql: column.sql_type.clone().into() },
            conversion: column.conversion.clone(),
            computed: column.computed,
            why: None,
        }))
    });
    TablePlan {
        source_index: pair.source,
        source: pair.map.source.clone(),
        target: pair.target.clone(),
        create: None,
        added_columns: Vec::new(),
        columns: columns.collect(),
        rows: 0,
        bytes: 0,
        ranges: Vec::new(),
        sequence: None,
        had_rows: true,
        kept_rows: None,
        truncate: false,
        rebuild: Vec::new(),
        without_data: false,
        left_out: pair.map.left_out.clone(),
    }
}

/// The pairs' places, every parent before its children as far as no ring stands against it.
fn parents_first(sides: &Sides) -> Vec<usize> {
    fn visit(place: usize, sides: &Sides, seen: &mut [bool], order: &mut Vec<usize>) {
        if std::mem::replace(&mut seen[place], true) {
            return;
        }
        for key in &sides.schema.tables[sides.pairs[place].source].foreign_keys {
            let is_parent = |pair: &Pair| pair.map.source.eq_ignore_ascii_case(&key.parent);
            if let Some(parent) = sides.pairs.iter().position(is_parent) {
                visit(parent, sides, seen, order);
            }
        }
        order.push(place);
    }
    let (mut seen, mut order) = (vec![false; sides.pairs.len()], Vec::new());
    (0..sides.pairs.len()).for_each(|place| visit(place, sides, &mut seen, &mut order));
    order
}

/// What differs in one table, brought to the server, none when nothing does; and how many rows of the target alone stay.
async fn differences(
    shared: &Arc<Shared>,
    control: &Client,
    place: usize,
    ledger: &Arc<TableLedger>,
    indexed: &[String],
) -> Result<(Option<Table>, u64)> {
    let groups = ledger.groups();
    if groups.is_empty() {
        return Ok((None, 0));
    }
    let pair = &shared.sides.pairs[place];
    let written = shared.run.plan.tables[place].columns.iter().filter(|column| !column.computed).map(|column| column.target.clone());
    let key = pair.layout.columns[..pair.layout.key].iter().map(|index| Name::new(pair.map.columns[*index].target.as_str()));
    let statements = RefreshStatements::new(pair.target.clone(), place, written.collect(), key.collect());
    control.batch_execute(&statements.make()).await.map_err(|error| sql_failure(error.into())).context("make room for what differs")?;
    let (mut staged, mut kept) = (Staged::default(), 0);
    for group in groups {
        let group = Arc::new(group);
        let mut passed_over = 0;
        loop {
            let mut found = compare::differences(shared, control, place, ledger, &group, indexed, passed_over).await?;
            let more = found.more;
            passed_over += found.gone.len() as u64;
            if pair.map.kept {
                kept += found.gone.len() as u64;
                found.gone.clear();
            }
            stage::stage(shared, control, place, &statements, found, ledger.ranges(&group), &mut staged)
                .await
                .with_context(|| format!("bring what differs in {:?} to the server", pair.map.source))?;
            if !more {
                break;
            }
        }
    }
    control.batch_execute(&statements.analyze()).await?;
    Ok((staged.any().then_some(Table { pair: place, statements, staged }), kept))
}

impl Compared {
    /// What will be inserted, updated and deleted, by table of the source; tables without differences are left out.
    pub fn changes(&self) -> Vec<(String, RowChanges)> {
        let of = |table: &Table| RowChanges { inserted: table.staged.missing, updated: table.staged.changed, deleted: table.staged.gone };
        self.tables.iter().map(|table| (self.shared.sides.pairs[table.pair].map.source.clone(), of(table))).collect()
    }

    /// Ends the transaction, and with it every lock; what was found is forgotten.
    pub fn let_go(self) {}

    /// The report of a dry run: everything is done as a refresh does it, and taken back, but for what no rollback takes back (sequences, the rejects).
    pub async fn rehearse(mut self, allow: &[String], strict: bool) -> Result<MigrateReport> {
        let mut report = self.carry_out(allow, strict).await?;
        self.control.batch_execute("ROLLBACK").await.map_err(|error| sql_failure(error.into())).context("take everything back")?;
        report.elapsed = self.started.elapsed();
        Ok(MigrateReport { outcome: Outcome::Planned, rejects_dir: None, ..report })
    }

    /// What a refresh does within its transaction. `allow` and `strict` weigh what came out, as for a copy.
    async fn carry_out(&mut self, allow: &[String], strict: bool) -> Result<MigrateReport> {
        let started = Instant::now();
        self.shared.run.send(Event::PhaseStarted(Phase::Apply));
        let rows = self.tables.iter().map(|table| table.staged.rows() + table.staged.gone).sum();
        self.shared.run.send(Event::Total { phase: Phase::Apply, tables: self.tables.len() as u64, rows, rows_done: 0 });
        let (mut written, mut built) = match self.tables.is_empty() {
            true => (Vec::new(), Built::default()),
            false => apply::apply(&self.shared, &self.control, &self.tables).await.context("apply what differs")?,
        };
        if self.purpose == Purpose::Look {
            // Nothing of it stays to be called proved.
            written.iter_mut().filter(|written| written.identical).for_each(|written| written.planned = true);
        }
        built.merge(self.set_sequences().await?);
        built.warnings.extend(self.say_not_valid(&built.warnings).await?);
        let looked = self.computed_when_read.look(&self.control, &self.shared.sides.pairs).await?;
        built.warnings.extend(looked.warnings.iter().cloned());
        self.clock.note(Phase::Apply, started);
        let mut report = self.report(&written, built, &looked);
        report.judge(allow, strict);
        self.shared.run.send(Event::PhaseEnded { phase: Phase::Apply, seconds: started.elapsed().as_secs_f64() });
        Ok(report)
    }

    /// Makes the target equal, all at once.
    pub async fn apply(mut self, allow: &[String], strict: bool) -> Result<MigrateReport> {
        begun::tell(&self.job, Phase::Apply).await?;
        let mut report = self.carry_out(allow, strict).await?;
        self.note_in_journal(&report).await?;
        let committed = self.control.batch_execute("SET LOCAL synchronous_commit = on; COMMIT").await;
        if let Err(error) = committed.map_err(|error| sql_failure(error.into())) {
            // The commit may have come through, and only the word of it not.
            if !is_passing(&error) || !self.has_committed().await? {
                return Err(error.context("commit"));
            }
        }
        report.elapsed = self.started.elapsed();
        Ok(report)
    }

    /// Asked of the journal, when the session that committed has ended.
    async fn has_committed(&self) -> Result<bool> {
        let asked = through_cuts(&self.job.events, async || resume::has_begun(&take_over(&self.job).await?, &self.job.run_id).await).await;
        asked.map_err(|error| {
            let message = format!("the connection broke while the changes were committed, and whether they were is not known ({error:#})");
            Failure::new("commit_unknown", message)
                .hint("The same command does what is left; nothing is done twice.")
                .target_changed()
                .into()
        })
    }

    /// Foreign keys that rows without a parent have kept from being whole, unless that was said.
    async fn say_not_valid(&self, said: &[Warning]) -> Result<Vec<Warning>> {
        let tables: Vec<String> = self.shared.sides.pairs.iter().map(|pair| pair.target.to_string()).collect();
        let keys = foreign_keys_not_valid(&self.control, &tables).await?;
        let label = |table: &QualifiedName, key: &Name| format!("{}.{}", table.name.as_str(), key.as_str());
        let is_said = |table: &QualifiedName, key: &Name| said.iter().any(|warning| warning.object == label(table, key));
        let new = keys.iter().filter(|key| !is_said(&key.table, &key.name) && !is_said(&key.whole, &key.name));
        let warning = |ForeignKeyNotValid { table, name: key, .. }: &ForeignKeyNotValid| {
            let message =
                format!("is still NOT VALID: when no row lacks its parent, ALTER TABLE {table} VALIDATE CONSTRAINT {key} makes it whole");
            let class = ObjectKind::ForeignKey.allow_class().into();
            Warning { class, ..Warning::weaker("foreign_key_not_valid", label(table, key), message) }
        };
        Ok(new.map(warning).collect())
    }

    async fn set_sequences(&self) -> Result<Built> {
        let mut built = Built::default();
        let sources: Vec<String> = self.shared.sides.pairs.iter().map(|pair| pair.map.source.clone()).collect();
        let made = Journal::made(&self.control, &self.job.options.schema, &sources).await?;
        for (place, sequence) in &self.sequences {
            let pair = &self.shared.sides.pairs[*place];
            let moved = self.tables.iter().any(|table| table.pair == *place);
            if !moved && !self.shared.sides.schema.tables[pair.source].autoincrement {
                continue;
            }
            let Some(drawn) = column_sequence(&self.control, &pair.target, &sequence.column).await? else {
                built.warnings.push(finish::untold_sequence(&pair.map.source, &sequence.column));
                continue;
            };
            // No rollback takes back what a sequence was set to.
            if self.purpose == Purpose::Look {
                continue;
            }
            self.control.batch_execute("SAVEPOINT sequence").await?;
            // What a run has made goes on where the source does; any other may have given out ids that no row has any more.
            let there = Some(&drawn).filter(|drawn| !drawn.is_own || !made.contains(&pair.target));
            for sql in finish::statements_of(&pair.target, sequence, false, there) {
                if let Err(error) = self.control.batch_execute(&sql).await {
                    self.control.batch_execute("ROLLBACK TO SAVEPOINT sequence").await?;
                    let reason = sql_failure(error.into()).to_string();
                    let label = format!("{}.{}", pair.map.source, sequence.column.as_str());
                    built.warnings.push(Warning::loss(ObjectKind::Sequence, label, reason));
                }
            }
            self.control.batch_execute("RELEASE SAVEPOINT sequence").await?;
        }
        Ok(built)
    }

    /// The run and what it did, in the transaction that did it.
    async fn note_in_journal(&self, report: &MigrateReport) -> Result<()> {
        let tables: Map<String, Json> = report
            .tables
            .iter()
            .filter_map(|table| {
                let changes = table.changes?;
                let counts = json!({"inserted": changes.inserted, "updated": changes.updated, "deleted": changes.deleted});
                Some((table.source.clone(), counts))
            })
            .collect();
        // As verify will look for it, from wherever it is called.
        let rejects = report.rejects_dir.as_ref().map(std::path::absolute).transpose()?;
        let before = &self.before;
        let record = RunRecord {
            run_id: report.run_id.clone(),
            source: report.source.clone(),
            target_schema: self.job.options.schema.clone(),
            status: "running".into(),
            settings: json!({
                "mapping": report.mapping, "source_path": self.job.call.source_path, "refresh": tables, "rejects_dir": rejects,
                FINGERPRINT: self.fingerprint,
                // A refresh brings rows alone: what else the run before it left out or lost is so still.
                DECLARATIONS: declared::baseline(before, &self.job)?, LOSSES: before.get(LOSSES), "left_out": before.get("left_out"), "names": before.get("names"),
                "made_by": before.get("made_by").or(before.get("mapping")),
            }),
        };
        let journal = Journal::open(&self.control).await?;
        let maps = self.shared.sides.pairs.iter().map(|pair| (pair.whole_map(), false));
        Journal::start(&self.control, &record, &(), maps).await?;
        let aside = report.tables.iter().map(|table| (table.source.as_str(), table.rows_rejected));
        Journal::aside(&self.control, &report.run_id, aside).await?;
        journal.finish(&report.run_id, report.outcome.as_str()).await
    }

    fn report(&self, written: &[Written], built: Built, looked: &Looked) -> MigrateReport {
        let shared = &self.shared;
        let by_pair: HashMap<usize, &Written> = self.tables.iter().map(|table| table.pair).zip(written).collect();
        let tables = shared.sides.pairs.iter().enumerate().map(|(place, pair)| {
            let (ledger, none) = (&self.ledgers[place], Written { identical: true, ..Written::default() });
            let written = by_pair.get(&place).copied().unwrap_or(&none);
            TableReport {
                source: pair.map.source.clone(),
                target: pair.target.to_string(),
                rows_read: ledger.source_rows.load(Ordering::Relaxed),
                rows_written: written.inserted + written.updated,
                rows_rejected: ledger.misfits.load(Ordering::Relaxed) + written.rejected,
                verified: match written.identical && !looked.different.contains(&place) {
                    true => Some(true).filter(|_| !written.planned && !looked.not_compared.contains(&place)),
                    false => Some(false),
                },
                changes: Some(RowChanges { inserted: written.inserted, updated: written.updated, deleted: written.deleted }),
                ..TableReport::default()
            }
        });
        let tables: Vec<TableReport> = tables.collect();
        let aside = tables.iter().any(|table| table.rows_rejected > 0);
        let rejects_dir: Option<PathBuf> = aside.then(|| shared.run.rejects.folder().to_owned());
        let mut report = MigrateReport {
            run_id: shared.run.id.clone(),
            source: self.job.snapshot.path().display().to_string(),
            target: self.job.address.shown(),
            mapping: self.job.mapping_name.clone(),
            plan: Arc::clone(&shared.run.plan),
            ddl: Vec::new(),
            tables,
            phases: self.clock.times(),
            verify_began: None,
            elapsed: self.started.elapsed(),
            objects_created: 0,
            warnings: self.said.iter().cloned().chain(built.warnings).collect(),
            todo: built.todo,
            todo_file: None,
            rejects_dir,
            resume: None,
            estimate: None,
            inspected: None,
            rehearsal: None,
            source_changed: self.job.snapshot.source_changed(),
            peak_rss_bytes: peak_rss_bytes(),
            exit_reasons: Vec::new(),
            outcome: Outcome::Clean,
            sections: RunSections::ALL,
            sections_left: RunSections::default(),
        };
        if report.source_changed {
            let message = "was written to meanwhile; the target is equal to the state before that";
            report.warnings.push(Warning::note("source_changed", report.source.clone(), message));
        }
        report
    }
}
