//! What a run would come to, found out without a target: every row encoded as it would be, every key looked for where it should be.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::Value as Json;

use crate::migrate::copy::copied_columns;
use crate::migrate::counted_rows::unfit;
use crate::migrate::encode::RowEncoder;
use crate::migrate::{Job, OnMisfit, Prepared, foretell, rejects};
use crate::model::{Failure, ForeignKey, Schema, Table};
use crate::plan::profile::RowRange;
use crate::plan::{ObjectKind, ObjectPlan, Plan, Warning};
use crate::sqlite::{Reader, Scan, Snapshot, share};

/// Examples that are kept of each column's misfits.
pub(super) const EXAMPLES: usize = 5;

/// What was found.
#[derive(Clone, Debug, Default)]
pub struct Rehearsal {
    /// One a table of the plan, in its order.
    pub tables: Vec<TableRehearsal>,
    /// Constraints that rows of the source break, as the run will say it.
    pub broken: Vec<Warning>,
    /// How long reading and encoding every row took.
    pub elapsed: Duration,
}

#[derive(Clone, Debug, Default)]
pub struct TableRehearsal {
    pub rows_read: u64,
    /// Rows whose values have no form in their columns, or that PostgreSQL refuses.
    pub rows_rejected: u64,
    /// Bytes of COPY data.
    pub bytes: u64,
    pub misfits: Vec<Misfits>,
    pub differences: Differences,
}

/// What would be other than in the source, since PostgreSQL computes it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Differences {
    pub rows: u64,
    /// The first of them, by their keys.
    pub keys: Vec<Json>,
    /// Columns, by their names in SQLite, that PostgreSQL cannot compute for some row when it is read, and why.
    pub unreadable: Vec<(String, String)>,
}

impl Differences {
    pub fn any(&self) -> bool {
        self.rows > 0 || !self.unreadable.is_empty()
    }
}

/// The values of one column that do not fit it.
#[derive(Clone, Debug, PartialEq)]
pub struct Misfits {
    /// The column's name in SQLite; empty when it is the row as a whole (a duplicate, a check).
    pub column: String,
    pub count: u64,
    /// The first of them: the row's key, and why.
    pub examples: Vec<(Json, String)>,
}

impl TableRehearsal {
    pub(super) fn note(&mut self, column: &str, key: impl FnOnce() -> Json, reason: String) {
        let place = self.misfits.iter().position(|misfits| misfits.column == column).unwrap_or_else(|| {
            self.misfits.push(Misfits { column: column.to_string(), count: 0, examples: Vec::new() });
            self.misfits.len() - 1
        });
        let misfits = &mut self.misfits[place];
        misfits.count += 1;
        if misfits.examples.len() < EXAMPLES {
            misfits.examples.push((key(), reason));
        }
    }

    fn merge(&mut self, later: TableRehearsal) {
        self.rows_read += later.rows_read;
        self.rows_rejected += later.rows_rejected;
        self.bytes += later.bytes;
        for misfits in later.misfits {
            match self.misfits.iter_mut().find(|mine| mine.column == misfits.column) {
                Some(mine) => {
                    mine.count += misfits.count;
                    mine.examples.extend(misfits.examples);
                    mine.examples.truncate(EXAMPLES);
                }
                None => self.misfits.push(misfits),
            }
        }
    }
}

/// Encodes every row that the plan copies, looks for rows that break constraints, and has PostgreSQL try what only it can tell. Neither side is
/// changed.
pub async fn rehearse(job: &Job, prepared: &mut Prepared) -> Result<Rehearsal> {
    let (snapshot, jobs) = (Arc::clone(&job.snapshot), job.jobs);
    let (schema, plan) = (prepared.schema.clone(), prepared.plan.clone());
    let found = tokio::task::spawn_blocking(move || in_source(&snapshot, &schema, &plan, jobs));
    let mut rehearsal = found.await.context("a reader of the source panicked")??;
    foretell::ask(job, prepared, &mut rehearsal).await?;
    Ok(rehearsal)
}

/// What would stop the run is said before it touches the target, where the rows tell: for this each of them is read once more.
pub async fn refuse_foreseen(job: &Job, prepared: &mut Prepared) -> Result<()> {
    let may_stop = job.on_misfit == OnMisfit::Fail || job.max_rejects.is_some();
    if !may_stop || !prepared.plan.problems.is_empty() {
        return Ok(());
    }
    // The run finds out for itself which keys have room.
    let plan = prepared.plan.clone();
    let rehearsal = rehearse(job, prepared).await?;
    rehearsal.refuse(job, &prepared.plan)?;
    prepared.plan = plan;
    Ok(())
}

/// The same, blocking, with `readers` threads.
pub(super) fn in_source(snapshot: &Snapshot, schema: &Schema, plan: &Plan, readers: usize) -> Result<Rehearsal> {
    let started = Instant::now();
    let tables = encode_all(snapshot, schema, plan, readers)?;
    let elapsed = started.elapsed();
    Ok(Rehearsal { tables, broken: broken(&snapshot.reader()?, schema, plan)?, elapsed })
}

fn encode_all(snapshot: &Snapshot, schema: &Schema, plan: &Plan, readers: usize) -> Result<Vec<TableRehearsal>> {
    let mut pieces: Vec<(usize, Option<RowRange>)> = Vec::new();
    for (place, table) in plan.tables.iter().enumerate().filter(|(_, table)| !table.without_data) {
        match table.ranges.len() {
            0 | 1 => pieces.push((place, None)),
            _ => pieces.extend(table.ranges.iter().map(|range| (place, Some(*range)))),
        }
    }
    let results = share(snapshot, readers, &pieces, |reader, (table, range)| encode_piece(reader, schema, plan, *table, range.as_ref()))?;
    let mut tables = vec![TableRehearsal::default(); plan.tables.len()];
    for ((table, _), result) in pieces.iter().zip(results) {
        tables[*table].merge(result);
    }
    Ok(tables)
}

fn encode_piece(reader: &Reader<'_>, schema: &Schema, plan: &Plan, place: usize, range: Option<&RowRange>) -> Result<TableRehearsal> {
    let table_plan = &plan.tables[place];
    let table = &schema.tables[table_plan.source_index];
    let columns = copied_columns(table_plan);
    let scan = Scan::table(table, &columns).range(table, range);
    let mut encoder = RowEncoder::new(table_plan, &columns);
    let mut found = TableRehearsal::default();
    let mut bytes = Vec::new();
    found.rows_read = reader
        .scan(&scan, |row| {
            bytes.clear();
            match encoder.encode(row, &mut bytes) {
                Ok(()) => found.bytes += bytes.len() as u64,
                Err(misfit) => {
                    found.rows_rejected += 1;
                    for misfit in [misfit.first].into_iter().chain(misfit.others) {
                        let column = misfit.source(table_plan).unwrap_or_default();
                        found.note(column, || rejects::key(table, &columns, row), misfit.reason);
                    }
                }
            }
            Ok(())
        })
        .with_context(|| format!("read table {:?}", table.name))?;
    Ok(found)
}

/// Foreign keys and checks of the plan that rows of the source break.
pub(super) fn broken(reader: &Reader<'_>, schema: &Schema, plan: &Plan) -> Result<Vec<Warning>> {
    let mut warnings = Vec::new();
    for object in &plan.objects {
        let Some(table) = object.table.map(|table| &schema.tables[plan.tables[table].source_index]) else { continue };
        let found = match object.kind {
            ObjectKind::ForeignKey => orphans(reader, schema, table, object)?,
            ObjectKind::Check => breaking(reader, table, object)?,
            _ => None,
        };
        if let Some((code, message)) = found {
            warnings.push(Warning { class: object.kind.allow_class().into(), ..Warning::weaker(code, &object.label, message) });
        }
    }
    Ok(warnings)
}

impl Rehearsal {
    /// What would stop the run, before it begins.
    pub fn refuse(&self, job: &Job, plan: &Plan) -> Result<()> {
        let rejected: u64 = self.tables.iter().map(|table| table.rows_rejected).sum();
        let first = plan.tables.iter().zip(&self.tables).find_map(|(table, found)| Some((table, found.misfits.first()?)));
        let Some((table, misfits)) = first else { return Ok(()) };
        let (key, reason) = misfits.examples.first().cloned().unwrap_or_default();
        if job.on_misfit == OnMisfit::Fail {
            // A row that PostgreSQL refuses as a whole has no such column.
            let place = if misfits.column.is_empty() { String::new() } else { format!("column {:?}, ", misfits.column) };
            bail!(
                Failure::new("misfit", format!("table {:?}: {place}{key}: {reason}; {}", table.source, unfit(rejected)))
                    .hint("Widen the column (the default), or set such rows aside with --on-misfit reject.")
            );
        }
        let rows: u64 = plan.tables.iter().map(|table| table.rows).sum();
        if let Some(most) = job.max_rejects.map(|most| most.of(rows)).filter(|most| rejected > *most) {
            bail!(
                Failure::new("too_many_rejects", format!("{}, more than {most}; table {:?}, {reason}", unfit(rejected), table.source))
                    .hint("Look at the misfits, change the mapping, or raise --max-rejects.")
            );
        }
        Ok(())
    }
}

type Said = Option<(&'static str, String)>;

fn orphans(reader: &Reader<'_>, schema: &Schema, table: &Table, object: &ObjectPlan) -> Result<Said> {
    let label = |key: &ForeignKey| format!("{}.{} → {}", table.name, key.columns.join(", "), key.parent);
    let Some(key) = table.foreign_keys.iter().find(|key| label(key) == object.label) else { return Ok(None) };
    let Some(parent) = schema.table(&key.parent) else { return Ok(None) };
    let columns: Vec<String> = match key.parent_columns.is_empty() {
        true => parent.primary_key.iter().flat_map(|key| &key.columns).map(|column| parent.columns[*column].name.clone()).collect(),
        false => key.parent_columns.clone(),
    };
    let (count, examples) = reader.orphans(table, &key.columns, parent, &columns)?;
    let rows = if count == 1 { "1 row has no parent".to_string() } else { format!("{count} rows have no parent") };
    Ok((count > 0).then(|| ("foreign_key_not_valid", format!("is NOT VALID: {rows} ({})", listed(examples)))))
}

/// Rows of the source that break a CHECK, by SQLite's own word.
fn breaking(reader: &Reader<'_>, table: &Table, object: &ObjectPlan) -> Result<Said> {
    let found = breaking_rows(reader, table, object)?;
    Ok(found.map(|(count, examples)| ("constraint_not_valid", breaks(count, examples))))
}

/// How many they are, and the first of them; nothing where none does, or SQLite cannot tell.
pub(super) fn breaking_rows(reader: &Reader<'_>, table: &Table, object: &ObjectPlan) -> Result<Option<(u64, Vec<String>)>> {
    let check = table.checks.iter().find(|check| format!("CHECK ({})", check.expression) == *object.original);
    let Some(check) = check else { return Ok(None) };
    // A function of the application's own is not here to be asked.
    Ok(reader.breaking(table, &check.expression).ok().filter(|(count, _)| *count > 0))
}

/// What is said of a CHECK that so many rows break, with some of them.
pub(super) fn breaks(count: u64, examples: Vec<String>) -> String {
    let rows = if count == 1 { "1 row breaks it".to_string() } else { format!("{count} rows break it") };
    format!("is NOT VALID: {rows} ({})", listed(examples))
}

fn listed(mut examples: Vec<String>) -> String {
    if examples.len() == EXAMPLES {
        examples.push("…".into());
    }
    examples.join("; ")
}
