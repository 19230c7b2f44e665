//! Both sides read, and the plan made: nothing has been changed when this is done.

use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context as _, Result, bail};

use crate::migrate::report::PhaseClock;
use crate::migrate::target::{Redo, drop_tables};
use crate::migrate::{Job, lost_rows, merged, odd_times, offsets, rounded};
use crate::model::{Event, Failure, Name, Phase, QualifiedName, Schema, Section, Table, TableKind, TypeKind};
use crate::plan::mapping::{Mapping, type_from_sql};
use crate::plan::profile::TableProfile;
use crate::plan::target::TargetSchema;
use crate::plan::{Input, Options, Plan, Problem, Warning, build, wanted};
use crate::postgres::{
    Client, GenericClient, Journal, Migrations, PARTIAL, Transaction, named_types, partition_root, read_schema, statement,
};
use crate::sqlite::{self, Snapshot};

/// What one chunk of a big table holds, in bytes of its values, unless a job says otherwise.
pub const CHUNK_BYTES: u64 = 32 * 1024 * 1024;

/// The source as it was read.
#[derive(Debug)]
pub struct Inspected {
    pub schema: Arc<Schema>,
    pub profiles: Vec<TableProfile>,
    /// What of the source cannot be read.
    pub damage: Vec<Warning>,
}

/// Reads the source's schema, and every value of every row once.
pub async fn inspect(job: &Job, clock: &mut PhaseClock) -> Result<Inspected> {
    let started = Instant::now();
    (job.events)(Event::PhaseStarted(Phase::Inspect));
    let (snapshot, readers, chunk_bytes) = (Arc::clone(&job.snapshot), job.jobs, job.chunk_bytes);
    let (options, mapping) = (job.options.clone(), job.mapping.clone());
    let inspected = tokio::task::spawn_blocking(move || read_source(&snapshot, readers, chunk_bytes, &options, &mapping))
        .await
        .context("a reader of the source panicked")??;
    clock.note(Phase::Inspect, started);
    (job.events)(Event::PhaseEnded { phase: Phase::Inspect, seconds: started.elapsed().as_secs_f64() });
    Ok(inspected)
}

/// The source's schema alone, as if its tables had no rows.
pub(super) async fn unseen(job: &Job) -> Result<Inspected> {
    let snapshot = Arc::clone(&job.snapshot);
    let schema = tokio::task::spawn_blocking(move || snapshot.reader()?.schema()).await.context("a reader of the source panicked")??;
    let profiles = schema.tables.iter().map(TableProfile::unseen).collect();
    Ok(Inspected { schema: Arc::new(schema), profiles, damage: Vec::new() })
}

/// The same, blocking.
pub(super) fn read_source(
    snapshot: &Snapshot,
    readers: usize,
    chunk_bytes: u64,
    options: &Options,
    mapping: &Mapping,
) -> Result<Inspected> {
    let mut schema = snapshot.reader()?.schema()?;
    // A glob that is none is a problem of the plan, which says it.
    let by_flags = wanted(&schema, options).ok();
    let is_wanted =
        |table: &str| by_flags.as_ref().is_none_or(|wanted| wanted(table)) && mapping.table(table).is_none_or(|mapping| !mapping.skip);
    let profiles = sqlite::profile(snapshot, &schema, readers, chunk_bytes, is_wanted)?;
    for (table, profile) in schema.tables.iter_mut().zip(&profiles) {
        if let Some(reason) = &profile.unreadable {
            table.kind = TableKind::Unreadable;
            schema.unreadable.push((table.name.clone(), reason.clone()));
        }
    }
    let mut damage = damage(snapshot, &schema, &profiles)?;
    let wanted_sums = |place: usize| {
        let (table, profile): (&Table, &TableProfile) = (&schema.tables[place], &profiles[place]);
        (table.has_data() && is_wanted(&table.name)).then(|| profile.sums.clone())
    };
    damage.extend(lost_rows::by_indexes(snapshot, &schema, readers, wanted_sums)?);
    Ok(Inspected { schema: Arc::new(schema), profiles, damage })
}

/// Table by table, what the profile pass could not read: how many rows that may be, and where they stood.
fn damage(snapshot: &Snapshot, schema: &Schema, profiles: &[TableProfile]) -> Result<Vec<Warning>> {
    let mut warnings = Vec::new();
    for (table, damage) in snapshot.damage()? {
        let rows = schema.tables.iter().zip(profiles).find(|(known, _)| known.name == table);
        let (read, by_index) = match rows {
            Some((known, profile)) => (profile.rows, snapshot.reader()?.rows_by_index(known)),
            None => (0, None),
        };
        let lost = match by_index {
            Some(rows) if rows >= read => format!("{} of {rows} rows (counted by an index) cannot be read", rows - read),
            _ => "an unknown number of rows cannot be read".to_string(),
        };
        warnings.push(Warning::damage(&table, format!("is damaged: {read} rows are read; {lost}: {}", damage.text())));
    }
    Ok(warnings)
}

/// The target as the run would find it, for a transaction that is rolled back: without what `--replace` takes away, and with what migrations make.
pub(super) async fn make_ready(transaction: &Transaction<'_>, job: &Job, redo: &Redo) -> Result<()> {
    let schema = &job.options.schema;
    drop_tables(transaction, schema, redo).await?;
    if let Some(migrations) = &job.migrations {
        if job.options.create_schema {
            transaction.batch_execute(&statement::create_schema(schema)).await?;
        }
        migrations.rehearse(transaction, &Name::new(schema.as_str()), Section::Schema).await?;
    }
    Ok(())
}

/// Plans against the target as it is or, with migrations, as it will be once they have run: they are tried in a transaction that is
/// rolled back. What `--replace` takes away will be gone by then.
pub async fn plan(client: &mut Client, inspected: Inspected, job: &Job, redo: &Redo, clock: &mut PhaseClock) -> Result<(Plan, Inspected)> {
    let started = Instant::now();
    let schema = &job.options.schema;
    let transaction = client.transaction().await?;
    make_ready(&transaction, job, redo).await?;
    refuse_unknown_types(&transaction, job).await?;
    let named = named_types(&transaction, &types_in_mapping(job)).await?;
    // Definitions read from here on name everything with its schema.
    transaction.batch_execute("SET LOCAL search_path = ''").await?;
    let mut target = read_schema(&transaction, schema).await?;
    target.named = named;
    add_kept(&transaction, &mut target, schema).await?;
    let interrupted = interrupted(&transaction, job, &inspected, &target).await?;
    if job.replace && job.migrations.is_some() && Journal::exists(&transaction).await? {
        let filled = Journal::filled(&transaction, schema).await?;
        target.tables.iter_mut().for_each(|table| table.replaceable = filled.contains(&table.name));
    }
    let applied = match &job.migrations {
        Some(migrations) => migrations.applied_tables(&transaction, &Name::new(schema.as_str())).await?,
        None => Vec::new(),
    };
    transaction.rollback().await?;
    if job.migrations.is_some() && job.options.create_schema {
        target.exists = read_schema(client, schema).await?.exists;
    }
    let kept = redo.kept.clone();
    let (snapshot, mapping, options) = (Arc::clone(&job.snapshot), job.mapping.clone(), job.options.clone());
    // Apart from the connections and the signals, which are heeded meanwhile.
    let planned = tokio::task::spawn_blocking(move || -> Result<(Plan, Inspected)> {
        let Inspected { schema: source, profiles, damage } = &inspected;
        let mut plan = build(&Input { source, profiles, mapping: &mapping, target: &target, options: &options });
        plan.problems.splice(0..0, interrupted);
        say_what_is_kept(&mut plan, &kept);
        plan.warnings.splice(0..0, damage.iter().cloned());
        if profiles.iter().any(|profile| profile.unseen) {
            return Ok((plan, inspected));
        }
        let notes = odd_times::notes(&snapshot, source, &plan)?;
        plan.warnings.extend(notes);
        let notes = offsets::notes(&snapshot, source, profiles, &plan)?;
        plan.warnings.extend(notes);
        let merged = merged::losses(&snapshot, source, profiles, &plan)?;
        plan.warnings.extend(merged);
        Ok((plan, inspected))
    });
    let mut planned = planned.await.context("the planner panicked")??;
    planned.0.problems.extend(undone(&planned.0, &applied));
    let elsewhere = job.migrations.as_ref().and_then(|migrations| elsewhere(&planned.0, migrations));
    planned.0.problems.extend(elsewhere);
    if planned.0.problems.is_empty() && !planned.1.profiles.iter().any(|profile| profile.unseen) {
        let notes = rounded::notes(client, &job.snapshot, &planned.1.schema, &planned.0).await?;
        planned.0.warnings.extend(notes);
    }
    // Rows that migrations bring are not there yet.
    for table in planned.0.tables.iter_mut().filter(|table| job.migrations.is_none() && table.keeps_rows()) {
        let row = client.query_one(&statement::count_rows(&table.target), &[]).await;
        table.kept_rows = Some(row.with_context(|| format!("count the rows of {}", table.target))?.get::<_, i64>(0) as u64);
    }
    clock.note(Phase::Plan, started);
    Ok(planned)
}

/// A table that a migration is said to have made or built upon is not there: the schema was made again, and its history stayed. To derive it would
/// leave out whatever the files say of it.
fn undone(plan: &Plan, applied: &[(QualifiedName, String)]) -> Option<Problem> {
    let is_gone = |name: &QualifiedName| plan.tables.iter().any(|table| table.create.is_some() && table.target == *name);
    let gone: Vec<&(QualifiedName, String)> = applied.iter().filter(|(name, _)| is_gone(name)).collect();
    Some(Problem {
        code: "migrations_undone",
        message: Migrations::undone(&Name::new(plan.schema.as_str()), &gone)?,
        hint: format!(
            "If the schema was made again, let its migrations run again with {} Otherwise put the table back, or leave it out with --exclude.",
            Migrations::forget_history(&Name::new(plan.schema.as_str()))
        ),
    })
}

/// Files for another schema make their tables there: to derive the same ones in this would leave out whatever the files say of them.
fn elsewhere(plan: &Plan, migrations: &Migrations) -> Option<Problem> {
    let schema = Name::new(plan.schema.as_str());
    let tables = migrations.tables(&schema);
    if tables.iter().any(|(table, _)| table.schema == schema) {
        return None;
    }
    let derived = |name: &Name| plan.tables.iter().find(|table| table.create.is_some() && table.target.name == *name);
    let (derived, table, file) = tables.iter().find_map(|(table, file)| Some((&derived(&table.name)?.target, table, file)))?;
    let (theirs, ours) = (table.schema.as_str(), plan.schema.as_str());
    Some(Problem {
        code: "migrations_elsewhere",
        message: format!("{file} is about table {table}, and {derived} would be derived beside it"),
        hint: format!(
            "The files are for schema {theirs:?}: say --schema {theirs}, or make them for {ours:?} with `candlefish schema generate --schema {ours}`."
        ),
    })
}

/// `--replace` was said, and does not take this table: why not.
fn say_what_is_kept(plan: &mut Plan, kept: &[(QualifiedName, String)]) {
    for (table, reason) in kept {
        let already = format!("table {table} already has rows");
        for problem in plan.problems.iter_mut().filter(|problem| problem.message == already) {
            problem.message = format!("{already}, and --replace leaves it alone: it {reason}");
            problem.hint = "Drop it yourself if it is to go, or say what to do with its rows: --existing truncate, --existing keep.".into();
        }
    }
}

/// Tables that an interrupted run made lack their keys, indexes and constraints: filling them again would look whole and not be.
async fn interrupted(client: &impl GenericClient, job: &Job, inspected: &Inspected, target: &TargetSchema) -> Result<Option<Problem>> {
    let schema = &job.options.schema;
    if !Journal::exists(client).await? {
        return Ok(None);
    }
    let Some((run_id, status)) = Journal::interrupted(client, schema).await? else { return Ok(None) };
    let sources: Vec<String> = inspected.schema.tables.iter().map(|table| table.name.clone()).collect();
    let made = Journal::made(client, schema, &sources).await?;
    let left = target.tables.iter().any(|table| made.contains(&table.name));
    let (message, go_on) = match status.as_str() {
        PARTIAL => {
            (format!("run {run_id} has begun these tables, and not all of its sections are done"), "Go on with it with its next --section")
        }
        _ => (format!("run {run_id} was interrupted, and its tables lack their keys and indexes"), "Go on with it with --resume"),
    };
    Ok(left.then(|| Problem { code: "interrupted_run", message, hint: format!("{go_on}, or make them again with --replace --yes.") }))
}

/// A type that only a mapping names must be one that the target knows, once its migrations have run.
async fn refuse_unknown_types(client: &impl GenericClient, job: &Job) -> Result<()> {
    for (table, mapping) in &job.mapping.tables {
        let columns = mapping.columns.iter().map(|(name, column)| (name, &column.sql_type));
        let added = mapping.add.iter().map(|(name, column)| (name, &column.sql_type));
        for (column, sql) in columns.chain(added).filter_map(|(name, sql)| Some((name, sql.as_ref()?))) {
            // A broken type is an error here, an unknown one NULL.
            let known = client.query_one("SELECT to_regtype($1) IS NOT NULL", &[sql]).await.is_ok_and(|row| row.get(0));
            if !known {
                bail!(
                    Failure::new("bad_mapping", format!("the mapping gives {table:?}.{column:?} the type {sql:?}: type {sql:?} does not exist"))
                        .hint("Types are written as in SQL: text, bigint, numeric(10,2), timestamptz; those of an extension need the extension first.")
                );
            }
        }
    }
    Ok(())
}

/// The types of the mapping that only the server knows.
fn types_in_mapping(job: &Job) -> Vec<&str> {
    let tables = || job.mapping.tables.values();
    let columns = tables().flat_map(|table| table.columns.values()).filter_map(|column| column.sql_type.as_deref());
    let added = tables().flat_map(|table| table.add.values()).filter_map(|column| column.sql_type.as_deref());
    let mut types: Vec<&str> = columns.chain(added).collect();
    types.retain(|sql| type_from_sql(sql).kind == TypeKind::Other);
    types.sort_unstable();
    types.dedup();
    types
}

/// What an interrupted run took away and never built again belongs to its table still.
async fn add_kept(client: &impl GenericClient, target: &mut TargetSchema, schema: &str) -> Result<()> {
    if !Journal::exists(client).await? {
        return Ok(());
    }
    for (mut table, mut object) in Journal::kept(client, schema).await? {
        if let Some(whole) = partition_root(client, &table).await? {
            object.partition = Some(std::mem::replace(&mut table, whole));
        }
        if let Some(known) = target.tables.iter_mut().find(|known| known.name == table)
            && known
                .rebuildable
                .iter()
                .all(|other| (other.kind, &other.name, &other.partition) != (object.kind, &object.name, &object.partition))
        {
            known.rebuildable.push(object);
        }
    }
    Ok(())
}
