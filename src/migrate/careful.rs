//! A chunk that PostgreSQL refuses, taken in small batches and split until the row that it refuses stands alone: where PostgreSQL says at which
//! line, else in the middle.

use std::sync::Arc;

use anyhow::{Context as _, Result, anyhow};
use bytes::Bytes;
use serde_json::Value as Json;
use tokio::sync::mpsc;

use crate::migrate::asked::{self, Texts};
use crate::migrate::copy::{Chunk, ChunkCount, land, scanned_columns};
use crate::migrate::encode::{self, RowEncoder};
use crate::migrate::rejects::{self, RejectedRow};
use crate::migrate::run::Run;
use crate::model::{Event, Phase};
use crate::plan::TablePlan;
use crate::postgres::statement::{self, CopyFormat};
use crate::postgres::{BINARY_HEADER, BINARY_TRAILER, Client, CopySink, Statement, database_error, sql_failure};
use crate::sqlite::Scan;

/// Rows that are tried together.
pub const BATCH_ROWS: usize = 500;
/// Bytes at which a batch ends early.
pub const BATCH_BYTES: usize = 4 * 1024 * 1024;

/// True for errors that some row has caused: bad data (class 22), a broken constraint (23), a row too big for a page (54), a trigger's own; or what
/// a type says of a value that COPY reads: a name that means nothing (42), or what an extension calls an internal error.
pub fn is_about_rows(error: &anyhow::Error) -> bool {
    let Some(refusal) = database_error(error) else { return false };
    let code = refusal.code().code();
    // `COPY t, line 5, column v: …`, in whatever language.
    let is_value = |line: &str| line.starts_with("COPY ") && line.split(": ").next().is_some_and(|head| head.matches(", ").count() > 1);
    let in_value = || refusal.where_().is_some_and(|context| context.lines().any(is_value));
    // In a default or a check a name that means nothing is nobody's row; nor is what this role may not do.
    let may_be_value = code == "XX000" || code != "42501" && ["3F", "42"].iter().any(|class| code.starts_with(class));
    ["22", "23", "54", "P0"].iter().any(|class| code.starts_with(class)) || may_be_value && in_value()
}

pub fn sqlstate(error: &anyhow::Error) -> Option<String> {
    database_error(error).map(|error| error.code().code().to_string())
}

/// Rows encoded one after the other, with what is needed to set each aside.
#[derive(Default)]
pub struct Batch {
    pub bytes: Vec<u8>,
    /// Where each row starts in `bytes`.
    pub starts: Vec<usize>,
    pub rows: Vec<(i64, Json, Json)>,
    /// What the server is asked of them.
    pub texts: Texts,
    /// Rows that did not even encode.
    pub misfits: Vec<RejectedRow>,
}

/// The chunk again, in a transaction of its own, with savepoints.
pub async fn copy_chunk(run: &Arc<Run>, client: &Client, chunk: &Chunk) -> Result<ChunkCount> {
    let table = &run.plan.tables[chunk.table];
    let (sender, mut receiver) = mpsc::channel(1);
    let reading = {
        let (run, chunk) = (Arc::clone(run), chunk.clone());
        tokio::task::spawn_blocking(move || read(&run, &chunk, &sender))
    };
    client.batch_execute("BEGIN; SET CONSTRAINTS ALL IMMEDIATE").await?;
    let mut count = ChunkCount::default();
    let mut aside = run.rejects.aside(&table.source, chunk.number);
    while let Some(batch) = receiver.recv().await {
        if asked::columns(table).next().is_some() {
            // Of other tables the stream that was refused has said it.
            let (rows, bytes) = ((batch.starts.len() + batch.misfits.len()) as u64, batch.bytes.len() as u64);
            run.send(Event::TableAdvanced { phase: Phase::Copy, table: table.source.clone(), rows, bytes });
        }
        let refuse = |column: Option<&str>, reason: &str, rowid| run.reject(table, column, reason, rowid);
        let mut refused = Vec::new();
        copy_batch(client, table, &batch, &mut count, &mut refused, refuse).await?;
        refused.iter().chain(&batch.misfits).try_for_each(|row| aside.add(row))?;
    }
    count.rows_read = reading.await.map_err(|_| anyhow!("a reader of the source panicked"))??;
    count.rows_rejected = aside.rows;
    run.rejects.keep(aside)?;
    land(run, client, chunk, &count).await?;
    Ok(count)
}

/// Tries ranges of rows. A range that fails is split around the row that PostgreSQL names, or halved when it names none; only a row that nothing
/// stands before in its COPY is set aside, so that a wrong line costs time and never a row.
/// `refuse` is told of its column, the reason and the rowid before.
pub async fn copy_batch(
    client: &Client,
    table: &TablePlan,
    batch: &Batch,
    count: &mut ChunkCount,
    rejected: &mut Vec<RejectedRow>,
    mut refuse: impl FnMut(Option<&str>, &str, i64) -> Result<()>,
) -> Result<()> {
    let statement = client.prepare(&statement::copy_in(table, encode::format(table))).await?;
    let mut ranges = Vec::new();
    let mut end = batch.starts.len();
    let mut changed = asked::changed(client, table, &batch.texts).await?;
    // Backwards, so that the first rows are the last of the stack.
    for row in changed.keys().rev() {
        ranges.push(row + 1..end);
        end = *row;
    }
    ranges.push(0..end);
    while let Some((row, mut values)) = changed.pop_first() {
        let (rowid, key, original) = &batch.rows[row];
        let first = values.remove(0);
        refuse(Some(&first.column), &first.reason, *rowid)?;
        rejected.push(RejectedRow::changed(first, values, key.clone(), original.clone()));
    }
    client.batch_execute("SAVEPOINT batch").await?;
    while let Some(range) = ranges.pop() {
        if range.is_empty() {
            continue;
        }
        let from = batch.starts[range.start];
        let to = batch.starts.get(range.end).copied().unwrap_or(batch.bytes.len());
        match copy_rows(client, &statement, encode::format(table), &batch.bytes[from..to]).await {
            Ok(rows) => {
                client.batch_execute("RELEASE SAVEPOINT batch; SAVEPOINT batch").await?;
                count.rows_written += rows;
                count.bytes += (to - from) as u64;
            }
            Err(error) if is_about_rows(&error) => {
                // Released as well: a savepoint left behind holds a lock until the chunk ends.
                client.batch_execute("ROLLBACK TO SAVEPOINT batch; RELEASE SAVEPOINT batch; SAVEPOINT batch").await?;
                let line = line(table, &error).filter(|line| *line < range.len());
                if range.len() == 1 || line == Some(0) {
                    let (rowid, key, row) = &batch.rows[range.start];
                    let (column, reason) = explain(table, &error);
                    refuse(column.as_deref(), &reason, *rowid)?;
                    rejected.push(RejectedRow {
                        key: key.clone(),
                        column,
                        reason,
                        also: Vec::new(),
                        sqlstate: sqlstate(&error),
                        row: row.clone(),
                    });
                    ranges.push(range.start + 1..range.end);
                    continue;
                }
                let split = range.start + line.unwrap_or(range.len() / 2);
                ranges.push(split..range.end);
                ranges.push(range.start..split);
            }
            Err(error) => return Err(sql_failure(error)),
        }
    }
    client.batch_execute("RELEASE SAVEPOINT batch").await?;
    Ok(())
}

/// The row of the COPY, from 0, at which PostgreSQL stopped: it says so in the error's context, `COPY t, line 5`, in whatever language. None for
/// what it found after the rows (a deferred key), or before they were looked at one by one (a row that no page holds).
fn line(table: &TablePlan, error: &anyhow::Error) -> Option<usize> {
    let database = database_error(error)?;
    if database.code().code() == "54000" {
        return None;
    }
    let start = format!("COPY {}, ", table.target.name.as_str());
    let rest = database.where_()?.lines().find_map(|line| line.strip_prefix(&start))?;
    let number = rest.split(|c: char| !c.is_ascii_digit()).find(|digits| !digits.is_empty())?;
    number.parse::<usize>().ok()?.checked_sub(1)
}

async fn copy_rows(client: &Client, statement: &Statement, format: CopyFormat, rows: &[u8]) -> Result<u64> {
    let mut bytes = Vec::with_capacity(rows.len() + 32);
    if format == CopyFormat::Binary {
        bytes.extend_from_slice(BINARY_HEADER);
    }
    bytes.extend_from_slice(rows);
    if format == CopyFormat::Binary {
        bytes.extend_from_slice(BINARY_TRAILER);
    }
    let mut sink = CopySink::open(client, statement).await?;
    sink.send(Bytes::from(bytes)).await?;
    Ok(sink.finish().await?)
}

/// PostgreSQL's own words, and the column of SQLite when it names one, in its fields or in the context that COPY gives.
pub fn explain(table: &TablePlan, error: &anyhow::Error) -> (Option<String>, String) {
    let Some(database) = database_error(error) else { return (None, error.to_string()) };
    let context = database.where_().unwrap_or_default();
    let named = |target: &str| {
        let after = context.split_once(", column ").map_or("", |(_, after)| after);
        let ends = |rest: &str| rest.is_empty() || rest.starts_with([':', '\n', ','].as_slice());
        database.column() == Some(target) || after.strip_prefix(target).is_some_and(ends)
    };
    let column = table.columns.iter().find(|column| named(column.target.as_str())).map(|column| column.source.clone());
    (column, format!("PostgreSQL refuses the row: {}", database.message()))
}

/// Reads the chunk in batches; blocking. Returns how many rows it read.
fn read(run: &Run, chunk: &Chunk, sender: &mpsc::Sender<Batch>) -> Result<u64> {
    let plan = &run.plan.tables[chunk.table];
    let table = &run.schema.tables[plan.source_index];
    let columns = scanned_columns(plan);
    let scan = Scan::table(table, &columns).range(table, chunk.range.as_ref());
    let mut encoder = RowEncoder::new(plan, &columns);
    let mut batch = Batch::default();
    let reader = run.snapshot.reader()?;
    let hung_up = |_| anyhow!("the COPY has ended");
    let rows_read = reader.scan(&scan, |row| {
        let start = batch.bytes.len();
        let (key, original) = (rejects::key(table, &columns, row), rejects::original(table, &columns, row));
        match encoder.encode(row, &mut batch.bytes) {
            Ok(()) => {
                batch.starts.push(start);
                batch.rows.push((row.key, key, original));
                encoder.add_texts(row, &mut batch.texts);
            }
            Err(misfit) => {
                run.reject(plan, misfit.first.source(plan), &misfit.first.reason, row.key)?;
                batch.misfits.push(RejectedRow::misfit(plan, misfit, key, original));
            }
        }
        if batch.starts.len() + batch.misfits.len() >= BATCH_ROWS || batch.bytes.len() >= BATCH_BYTES {
            sender.blocking_send(std::mem::take(&mut batch)).map_err(hung_up)?;
        }
        Ok(())
    })?;
    sender.blocking_send(batch).map_err(hung_up).context("send the last rows")?;
    Ok(rows_read)
}
