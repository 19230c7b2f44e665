//! The target made equal, inside the one transaction: gently, with every constraint in place, or, where constraints are in the way,
//! with the foreign keys taken away and put back.

use std::collections::HashMap;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use tokio::runtime::Handle;

use super::Shared;
use super::stage::Staged;
use crate::digest::{RowDigest, TargetDigester};
use crate::migrate::finish::{self, Built};
use crate::migrate::rejects::{self, RejectedRow};
use crate::migrate::{by_partition, careful};
use crate::model::{Event, Failure, Phase};
use crate::plan::profile::RowRange;
use crate::postgres::refresh_statement::{RefreshStatements, trigger};
use crate::postgres::{
    Client, CopyRows, Fields, ForeignKeyFacts, SqlError, checks_keys_at_once, execute_unless_refused, foreign_keys_of, is_transient,
    sql_failure, statement, triggers_of,
};

/// One table with differences.
pub struct Table {
    /// Its place among the pairs.
    pub pair: usize,
    pub statements: RefreshStatements,
    pub staged: Staged,
}

/// What was written to one table.
#[derive(Clone, Copy, Debug, Default)]
pub struct Written {
    pub inserted: u64,
    pub updated: u64,
    pub deleted: u64,
    pub rejected: u64,
    /// The rows that were written read back as the source has them.
    pub identical: bool,
    /// It is taken back: this is what would be.
    pub planned: bool,
}

/// Makes the tables equal; the answers are in their order. Parents stand before their children in `tables`.
pub async fn apply(shared: &Arc<Shared>, control: &Client, tables: &[Table]) -> Result<(Vec<Written>, Built)> {
    let names: Vec<String> = tables.iter().map(|table| table.statements.table.to_string()).collect();
    let keys = foreign_keys_of(control, &names).await?;
    let triggers = triggers_of(control, &names).await?;
    for (table, name, always) in &triggers {
        execute(control, &trigger(table, name, *always).0).await.with_context(|| format!("silence the triggers of {table}"))?;
    }
    execute(control, "SET CONSTRAINTS ALL DEFERRED; SAVEPOINT refresh").await?;
    let mut built = Built::default();
    let gentle = if acts_by_itself(&keys, tables) { None } else { gently(shared, control, tables).await? };
    let written = match gentle {
        Some(written) => written,
        None => {
            execute(control, "ROLLBACK TO SAVEPOINT refresh").await?;
            for key in &keys {
                execute(control, &statement::drop_object(&key.child, &key.key)).await?;
            }
            let written = thoroughly(shared, control, tables).await?;
            // A table with checks that are still to come takes no ALTER TABLE.
            execute(control, "SET CONSTRAINTS ALL IMMEDIATE").await?;
            built.merge(put_back(shared, control, &keys).await?);
            written
        }
    };
    execute(control, "SET CONSTRAINTS ALL IMMEDIATE").await?;
    for (table, name, always) in &triggers {
        execute(control, &trigger(table, name, *always).1).await?;
    }
    Ok((written, built))
}

async fn execute(control: &Client, sql: &str) -> Result<()> {
    control.batch_execute(sql).await.map_err(|error| sql_failure(error.into()))
}

/// True when a row that goes or changes would take other rows with it (CASCADE, SET NULL), which the source may still have.
fn acts_by_itself(keys: &[ForeignKeyFacts], tables: &[Table]) -> bool {
    let acts = |key: &ForeignKeyFacts| {
        let parent = tables.iter().find(|table| key.parent.as_ref() == Some(&table.statements.table.to_string()));
        parent.is_some_and(|table| key.acts_on_delete && table.staged.gone > 0 || key.acts_on_update && table.staged.changed > 0)
    };
    keys.iter().any(acts)
}

/// Deletes children first, then updates and inserts parents first. None when PostgreSQL refused: then nothing of it may stay.
async fn gently(shared: &Shared, control: &Client, tables: &[Table]) -> Result<Option<Vec<Written>>> {
    let mut written = vec![Written::default(); tables.len()];
    for (table, written) in tables.iter().zip(&mut written).rev() {
        let deleted = execute_unless_refused(control, &table.statements.delete_gone(), &[]).await?;
        let Some(rows) = deleted else { return Ok(None) };
        written.deleted = rows;
    }
    for (table, written) in tables.iter().zip(&mut written) {
        begin(shared, table);
        if let Some(update) = table.statements.update().filter(|_| table.staged.changed > 0) {
            let Some(rows) = execute_unless_refused(control, &update, &[]).await? else { return Ok(None) };
            written.updated = rows;
        }
        if table.staged.missing > 0 {
            let inserted = execute_unless_refused(control, &table.statements.insert(false), &[0, i64::MAX]).await?;
            let Some(rows) = inserted else { return Ok(None) };
            written.inserted = rows;
        }
        let expected = (table.staged.missing, table.staged.changed, table.staged.gone);
        if (written.inserted, written.updated, written.deleted) != expected {
            return Ok(None);
        }
        end(shared, table, written);
    }
    // What was put off is checked now, while there is still a way back.
    if execute_unless_refused(control, "SET CONSTRAINTS ALL IMMEDIATE", &[]).await?.is_none() {
        return Ok(None);
    }
    for (table, written) in tables.iter().zip(&mut written) {
        // A rule, or a trigger for replicas, may have had its own way: without it, perhaps not.
        written.identical = reads_back(shared, control, table, table.staged.sum).await?;
    }
    Ok(Some(written))
}

fn begin(shared: &Shared, table: &Table) {
    let rows = table.staged.rows() + table.staged.gone;
    shared.run.send(Event::TableStarted { phase: Phase::Apply, table: shared.sides.pairs[table.pair].map.source.clone(), rows });
}

fn end(shared: &Shared, table: &Table, written: &Written) {
    let name = shared.sides.pairs[table.pair].map.source.clone();
    let rows = written.inserted + written.updated + written.deleted;
    shared.run.send(Event::TableAdvanced { phase: Phase::Apply, table: name.clone(), rows, bytes: 0 });
    let (rows_written, rows_rejected) = (written.inserted + written.updated, written.rejected);
    shared.run.send(Event::TableEnded { phase: Phase::Apply, table: name, rows_written, rows_rejected });
}

/// First everything goes that goes or changes, then everything comes; a row that PostgreSQL refuses is set aside.
async fn thoroughly(shared: &Arc<Shared>, control: &Client, tables: &[Table]) -> Result<Vec<Written>> {
    let mut all = Vec::new();
    for table in tables {
        begin(shared, table);
        let run = async |sql: String| control.execute(&sql, &[]).await.map_err(|error| sql_failure(error.into()));
        let (deleted, replaced) = (run(table.statements.delete_gone()).await?, run(table.statements.delete_replaced()).await?);
        if (deleted, replaced) != (table.staged.gone, table.staged.changed) {
            bail!(
                "{}: {deleted} and {replaced} rows were deleted instead of {} and {}",
                table.statements.table,
                table.staged.gone,
                table.staged.changed
            );
        }
        all.push(Written { deleted, updated: replaced, inserted: table.staged.missing, ..Written::default() });
    }
    for (table, written) in tables.iter().zip(&mut all) {
        let refused = insert_carefully(control, table).await?;
        let (sum, refused_changed) = set_aside(shared, control, table, refused, written).await?;
        // The old version is gone, and the new one did not come.
        written.updated -= refused_changed;
        written.deleted += refused_changed;
        written.inserted -= written.rejected - refused_changed;
        written.identical = reads_back(shared, control, table, table.staged.sum.wrapping_sub(sum)).await?;
        end(shared, table, written);
    }
    Ok(all)
}

/// A row that PostgreSQL refused, by its number, with the error.
type Refused = Vec<(i64, anyhow::Error)>;

/// Inserts all at once; what is refused is halved until each refused row stands alone.
async fn insert_carefully(control: &Client, table: &Table) -> Result<Refused> {
    let mut refused = Vec::new();
    let rows = table.staged.rows() as i64;
    let mut ranges = if rows > 0 { vec![(0, rows - 1)] } else { Vec::new() };
    let sql = table.statements.insert(true);
    while let Some((first, last)) = ranges.pop() {
        execute(control, "SAVEPOINT rows").await?;
        match control.execute(&sql, &[&first, &last]).await {
            Ok(_) => execute(control, "RELEASE SAVEPOINT rows").await?,
            Err(error) => {
                let error = anyhow::Error::from(error);
                if !careful::is_about_rows(&error) {
                    return Err(sql_failure(error)).with_context(|| format!("insert into {}", table.statements.table));
                }
                execute(control, "ROLLBACK TO SAVEPOINT rows; RELEASE SAVEPOINT rows").await?;
                if first == last {
                    refused.push((first, error));
                } else {
                    let middle = first + (last - first) / 2;
                    ranges.push((middle + 1, last));
                    ranges.push((first, middle));
                }
            }
        }
    }
    Ok(refused)
}

/// Records refused rows as a copy records them. Returns the sum of their digests, and how many of them would have replaced a row.
async fn set_aside(shared: &Arc<Shared>, control: &Client, table: &Table, refused: Refused, written: &mut Written) -> Result<(u128, u64)> {
    if refused.is_empty() {
        return Ok((0, 0));
    }
    written.rejected = refused.len() as u64;
    let numbers: Vec<i64> = refused.iter().map(|(number, _)| *number).collect();
    let rows = control.query(&table.statements.source_rows(), &[&numbers]).await.map_err(|error| sql_failure(error.into()))?;
    let mut by_number: HashMap<i64, anyhow::Error> = refused.into_iter().collect();
    let mut errors: HashMap<i64, anyhow::Error> = HashMap::new();
    let mut replaced = 0;
    for row in &rows {
        replaced += u64::from(row.get::<_, bool>(2));
        errors.insert(row.get(1), by_number.remove(&row.get::<_, i64>(0)).context("only refused rows were asked for")?);
    }
    let (inside, place) = (Arc::clone(shared), table.pair);
    let runtime = Handle::current();
    let sum = tokio::task::spawn_blocking(move || record(&inside, place, errors, &runtime))
        .await
        .context("a reader of the source panicked")??;
    Ok((sum, replaced))
}

/// Reads the rows again and writes them into the rejects; blocking.
fn record(shared: &Shared, place: usize, mut errors: HashMap<i64, anyhow::Error>, runtime: &Handle) -> Result<u128> {
    let (pair, plan) = (&shared.sides.pairs[place], &shared.run.plan.tables[place]);
    let table = &shared.sides.schema.tables[pair.source];
    // Without rowids a row is known by its number in a whole reading.
    let ranges: Vec<RowRange> = match shared.sides.snapshot.reader()?.rowid_bounds(table) {
        Some(_) => errors.keys().map(|row| RowRange { first: *row, last: *row, rows: 0, bytes: 0 }).collect(),
        None => Vec::new(),
    };
    let (mut sum, mut aside) = (0u128, Vec::new());
    shared.sides.scan_source(place, &ranges, runtime, |row| {
        let Some(error) = errors.remove(&row.row.key) else { return Ok(()) };
        let (column, reason) = careful::explain(plan, &error);
        shared.run.reject(plan, column.as_deref(), &reason, row.row.key)?;
        if let Ok(RowDigest { row, .. }) = row.digest {
            sum = sum.wrapping_add(row);
        }
        aside.push(RejectedRow {
            key: rejects::key(table, &pair.scanned, row.row),
            column,
            reason,
            also: Vec::new(),
            sqlstate: careful::sqlstate(&error),
            row: rejects::original(table, &pair.scanned, row.row),
        });
        Ok(())
    })?;
    shared.run.rejects.write(&pair.map.source, 0, &aside)?;
    Ok(sum)
}

/// True when what was written comes back as it was sent. A column that PostgreSQL computes when it is read may fail then.
async fn reads_back(shared: &Shared, control: &Client, table: &Table, sent: u128) -> Result<bool> {
    execute(control, "SAVEPOINT read_back").await?;
    match sum_of_written(shared, control, table).await {
        Ok(sum) => execute(control, "RELEASE SAVEPOINT read_back").await.map(|()| sum == sent),
        Err(error) if careful::is_about_rows(&error) => {
            execute(control, "ROLLBACK TO SAVEPOINT read_back; RELEASE SAVEPOINT read_back").await.map(|()| false)
        }
        Err(error) => Err(error),
    }
}

/// Reads back what was written, by the code that the copy does not share.
async fn sum_of_written(shared: &Shared, control: &Client, table: &Table) -> Result<u128> {
    if table.staged.rows() == 0 {
        return Ok(0);
    }
    let pair = &shared.sides.pairs[table.pair];
    let mut digester = TargetDigester::new(&pair.map, &pair.layout);
    let mut rows = CopyRows::open(control, &table.statements.read_written(&pair.items)).await?;
    let mut sum = 0u128;
    while let Some(row) = rows.next().await.with_context(|| format!("read {} back", pair.target))? {
        sum = sum.wrapping_add(digester.row(Fields::of(&row)).with_context(|| format!("read {} back", pair.target))?.row);
    }
    Ok(sum)
}

/// The foreign keys as they were. One that held before and does no longer stands NOT VALID, with a warning; where it is the key of a table that the
/// source has nothing of, the rows that it needs stay, and so does everything.
async fn put_back(shared: &Shared, control: &Client, keys: &[ForeignKeyFacts]) -> Result<Built> {
    let mut built = Built::default();
    for key in keys {
        let label = format!("{}.{}", key.child.name.as_str(), key.key.name.as_str());
        let checks_at_once = checks_keys_at_once(control, &key.child).await?;
        let statements = statement::rebuild_object(&key.child, &key.key, checks_at_once);
        let (add, validate) = statements.split_first().context("a foreign key has a statement")?;
        let context = || format!("put foreign key {} back", key.key.name);
        if let Some(refusal) = refusal(control, add).await? {
            if !checks_at_once {
                return Err(sql_failure(refusal.into())).with_context(context);
            }
            let refusal = refuse_of_others(shared, key, &label, refusal)?;
            let Some(each) = by_partition::keys(control, &key.child, &key.key).await? else {
                return Err(sql_failure(refusal.into())).with_context(context);
            };
            execute(control, &each.make).await.with_context(context)?;
            built.warnings.extend(each.not_valid(control, &label).await?);
        }
        for sql in validate.iter().filter(|_| key.key.valid) {
            let Some(refusal) = refusal(control, sql).await? else { continue };
            refuse_of_others(shared, key, &label, refusal)?;
            built.warnings.push(finish::foreign_key_not_valid(control, &key.child, &key.key.name, &label).await?);
        }
        built.warnings.extend(finish::fires_again(control, &key.key, &label).await?);
    }
    Ok(built)
}

/// A key of a table that the source has nothing of is not left broken; of any other the refusal comes back.
fn refuse_of_others(shared: &Shared, key: &ForeignKeyFacts, label: &str, refusal: SqlError) -> Result<SqlError> {
    if shared.sides.pairs.iter().any(|pair| pair.target == key.whole) {
        return Ok(refusal);
    }
    let reason = sql_failure(refusal.into());
    bail!(
        Failure::new("foreign_key_broken", format!("foreign key {label} of a table that is not refreshed would break: {reason}"))
            .hint("Bring its rows into line first, or take the key away.")
    )
}

/// Runs a statement. Why PostgreSQL refuses it, where it does: then it has done nothing, and the transaction goes on.
async fn refusal(control: &Client, sql: &str) -> Result<Option<SqlError>> {
    execute(control, "SAVEPOINT refusal").await?;
    match control.batch_execute(sql).await {
        Ok(()) => execute(control, "RELEASE SAVEPOINT refusal").await.map(|()| None),
        Err(error) if error.as_db_error().is_some() && !is_transient(&error) => {
            execute(control, "ROLLBACK TO SAVEPOINT refusal; RELEASE SAVEPOINT refusal").await?;
            Ok(Some(error))
        }
        Err(error) => Err(sql_failure(error.into())),
    }
}
