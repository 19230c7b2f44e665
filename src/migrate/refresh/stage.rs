//! What differs, brought to the server: the source's rows into one temporary table, the places of rows that are to go into another.

use std::sync::Arc;

use anyhow::{Context as _, Result, anyhow, bail};
use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use super::Shared;
use super::compare::{Differences, Place};
use crate::migrate::encode::{self, RowEncoder};
use crate::plan::profile::RowRange;
use crate::postgres::refresh_statement::RefreshStatements;
use crate::postgres::statement::CopyFormat;
use crate::postgres::{BINARY_HEADER, BINARY_TRAILER, Client, CopySink, sql_failure};
use crate::sqlite::has_rowid;

/// Bytes of COPY data that travel together, and how many such pieces wait at most.
const BUFFER_BYTES: usize = 256 * 1024;
const BUFFERS_IN_FLIGHT: usize = 2;

/// What of one table lies ready on the server.
#[derive(Clone, Copy, Debug, Default)]
pub struct Staged {
    pub missing: u64,
    pub changed: u64,
    pub gone: u64,
    /// The digests of the staged rows, summed without regard to order.
    pub sum: u128,
}

impl Staged {
    pub fn rows(&self) -> u64 {
        self.missing + self.changed
    }

    pub fn any(&self) -> bool {
        self.rows() + self.gone > 0
    }
}

/// Adds the differences of one group to what is staged.
pub async fn stage(
    shared: &Arc<Shared>,
    control: &Client,
    place: usize,
    statements: &RefreshStatements,
    mut differences: Differences,
    ranges: Vec<RowRange>,
    staged: &mut Staged,
) -> Result<()> {
    let gone = std::mem::take(&mut differences.gone);
    copy_gone(control, statements, &gone).await?;
    staged.gone += gone.len() as u64;
    drop(gone);
    if differences.wants_none() {
        return Ok(());
    }
    let (missing, changed) = (differences.missing, differences.changed);
    let ranges = rows_of(shared, place, &differences).unwrap_or(ranges);
    let first = staged.rows();
    let (sender, mut receiver) = mpsc::channel(BUFFERS_IN_FLIGHT);
    let (inside, runtime) = (Arc::clone(shared), Handle::current());
    let reading = tokio::task::spawn_blocking(move || encode_rows(&inside, place, differences, &ranges, first, &runtime, &sender));
    let format = encode::format(&shared.run.plan.tables[place]);
    let sent = async {
        let mut sink = CopySink::open(control, statements.copy_rows(format).as_str()).await?;
        while let Some(bytes) = receiver.recv().await {
            sink.send(bytes).await?;
        }
        anyhow::Ok(sink)
    }
    .await;
    // A reader that waits for room in the channel must learn that nobody takes it.
    drop(receiver);
    let read = reading.await.context("a reader of the source panicked")?;
    let sum = match (read, sent) {
        (Err(_), Err(error)) => return Err(sql_failure(error)),
        (Err(error), Ok(_)) => return Err(error),
        (_, Err(error)) => return Err(sql_failure(error)),
        (Ok(sum), Ok(sink)) => {
            let rows = sink.finish().await.map_err(|error| sql_failure(error.into()))?;
            if rows != missing + changed {
                bail!("PostgreSQL took {rows} rows of {} that differ", missing + changed);
            }
            sum
        }
    };
    staged.missing += missing;
    staged.changed += changed;
    staged.sum = staged.sum.wrapping_add(sum);
    Ok(())
}

/// Rows that are this near each other are read together: a range costs about as much as so many rows.
const NEAR: u64 = 16;

/// The rows that are wanted, as ranges of rowids; none where rows have none, or one digest stands for several of them.
fn rows_of(shared: &Shared, place: usize, differences: &Differences) -> Option<Vec<RowRange>> {
    let table = &shared.sides.schema.tables[shared.sides.pairs[place].source];
    if !has_rowid(table) {
        return None;
    }
    let mut rowids = differences.rowids()?;
    rowids.sort_unstable();
    let mut ranges: Vec<RowRange> = Vec::new();
    for rowid in rowids {
        match ranges.last_mut().filter(|range| rowid.abs_diff(range.last) <= NEAR) {
            Some(range) => range.last = rowid,
            None => ranges.push(RowRange { first: rowid, last: rowid, rows: 0, bytes: 0 }),
        }
    }
    Some(ranges)
}

/// Reads the group's rows of the source again and encodes those that are wanted; blocking. Returns the sum of their digests.
fn encode_rows(
    shared: &Shared,
    place: usize,
    mut differences: Differences,
    ranges: &[RowRange],
    first: u64,
    runtime: &Handle,
    sender: &mpsc::Sender<Bytes>,
) -> Result<u128> {
    let (pair, plan) = (&shared.sides.pairs[place], &shared.run.plan.tables[place]);
    let binary = encode::format(plan) == CopyFormat::Binary;
    let mut encoder = RowEncoder::new(plan, &pair.scanned);
    let mut buffer = Vec::with_capacity(BUFFER_BYTES);
    if binary {
        buffer.extend_from_slice(BINARY_HEADER);
    }
    let (mut number, mut sum) = (first, 0u128);
    let hung_up = |_| anyhow!("the COPY has ended");
    shared.sides.scan_source(place, ranges, runtime, |row| {
        let Ok(digest) = row.digest else { return Ok(()) };
        let Some(replaces) = differences.next_of(digest) else { return Ok(()) };
        let start = buffer.len();
        encoder.encode(row.row, &mut buffer).map_err(|misfit| anyhow!("the row {}: {}", row.row.key, misfit.first.reason))?;
        extend(&mut buffer, start, binary, number, row.row.key, replaces);
        number += 1;
        sum = sum.wrapping_add(digest.row);
        if buffer.len() >= BUFFER_BYTES {
            sender.blocking_send(Bytes::from(std::mem::take(&mut buffer))).map_err(hung_up)?;
        }
        Ok(())
    })?;
    if binary {
        buffer.extend_from_slice(BINARY_TRAILER);
    }
    sender.blocking_send(Bytes::from(buffer)).map_err(hung_up)?;
    Ok(sum)
}

/// Adds to the row that begins at `start` its number, the source's own, and the place of the row that it replaces.
fn extend(buffer: &mut Vec<u8>, start: usize, binary: bool, number: u64, source_row: i64, replaces: Option<Place>) {
    if !binary {
        buffer.pop();
        let place = match replaces {
            Some(place) => format!("{}\t{}", place.table, text_of(place.tid)),
            None => "\\N\t\\N".to_string(),
        };
        buffer.extend_from_slice(format!("\t{number}\t{source_row}\t{place}\n").as_bytes());
        return;
    }
    let fields = i16::from_be_bytes([buffer[start], buffer[start + 1]]) + 4;
    buffer[start..start + 2].copy_from_slice(&fields.to_be_bytes());
    let mut field = |bytes: &[u8]| {
        buffer.extend_from_slice(&(bytes.len() as i32).to_be_bytes());
        buffer.extend_from_slice(bytes);
    };
    field(&number.to_be_bytes());
    field(&source_row.to_be_bytes());
    match replaces {
        Some(place) => {
            field(&place.table.to_be_bytes());
            field(&place.tid);
        }
        None => buffer.extend_from_slice(&[0xff; 8]),
    }
}

/// `(block,offset)`
fn text_of(tid: [u8; 6]) -> String {
    format!("({},{})", u32::from_be_bytes([tid[0], tid[1], tid[2], tid[3]]), u16::from_be_bytes([tid[4], tid[5]]))
}

async fn copy_gone(control: &Client, statements: &RefreshStatements, gone: &[Place]) -> Result<()> {
    if gone.is_empty() {
        return Ok(());
    }
    let mut sink = CopySink::open(control, statements.copy_gone().as_str()).await?;
    sink.send(Bytes::from_static(BINARY_HEADER)).await?;
    for places in gone.chunks(8192) {
        let mut bytes = Vec::with_capacity(places.len() * 20);
        for place in places {
            bytes.extend_from_slice(&[0, 2, 0, 0, 0, 4]);
            bytes.extend_from_slice(&place.table.to_be_bytes());
            bytes.extend_from_slice(&[0, 0, 0, 6]);
            bytes.extend_from_slice(&place.tid);
        }
        sink.send(Bytes::from(bytes)).await?;
    }
    sink.send(Bytes::from_static(BINARY_TRAILER)).await?;
    sink.finish().await?;
    Ok(())
}
