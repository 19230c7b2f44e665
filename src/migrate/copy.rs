//! The rows: read and encoded by blocking threads, sent by async tasks, one transaction a chunk, the biggest table first.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Instant;

use anyhow::{Context as _, Result, anyhow, bail};
use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use crate::digest::Sums;
use crate::migrate::after::Queue;
use crate::migrate::asked;
use crate::migrate::careful;
use crate::migrate::encode::{self, RowEncoder};
use crate::migrate::proof::ChunkProof;
use crate::migrate::rejects::{self, Aside, RejectedRow};
use crate::migrate::run::Run;
use crate::model::{Event, Failure, Phase};
use crate::plan::profile::RowRange;
use crate::plan::{ColumnPlan, TablePlan};
use crate::postgres::statement::{self, CopyFormat};
use crate::postgres::{BINARY_HEADER, BINARY_TRAILER, Client, CopySink, LandedChunk, sql_failure};
use crate::sqlite::Scan;

/// Bytes of COPY data that travel together.
pub(super) const BUFFER_BYTES: usize = 256 * 1024;
/// Buffers between a reader and its COPY: enough to hide a hiccup of either.
const BUFFERS_IN_FLIGHT: usize = 4;

/// One unit of copying: a table, or a range of a big one.
#[derive(Clone, Debug)]
pub struct Chunk {
    pub table: usize,
    /// Its number in its table, from 0.
    pub number: usize,
    pub range: Option<RowRange>,
}

/// What a table has seen so far.
#[derive(Clone, Debug, Default)]
pub struct TableCount {
    pub rows_read: u64,
    pub rows_written: u64,
    pub rows_rejected: u64,
    pub bytes: u64,
    /// Of the rows that were written, those that another process has brought.
    pub rows_before: u64,
    pub chunks_left: usize,
    pub started: Option<Instant>,
    pub ended: Option<Instant>,
}

impl TableCount {
    /// Takes in a chunk that landed before.
    pub fn add(&mut self, landed: &LandedChunk) {
        self.rows_read += landed.rows_written + landed.rows_rejected;
        self.rows_written += landed.rows_written;
        self.rows_before += landed.rows_written;
        self.rows_rejected += landed.rows_rejected;
        self.bytes += landed.bytes;
    }
}

/// What one chunk came to.
#[derive(Clone, Copy, Debug, Default)]
pub struct ChunkCount {
    pub rows_read: u64,
    pub rows_written: u64,
    pub rows_rejected: u64,
    pub bytes: u64,
}

/// The chunks of all tables, the biggest table's first. They follow from the plan alone, so that a run that goes on finds the same.
pub fn chunks(run: &Run) -> VecDeque<Chunk> {
    let mut order: Vec<usize> = (0..run.plan.tables.len()).filter(|table| !run.plan.tables[*table].without_data).collect();
    order.sort_by_key(|table| std::cmp::Reverse(run.plan.tables[*table].bytes));
    let mut chunks = VecDeque::new();
    for table in order {
        let ranges = &run.plan.tables[table].ranges;
        if ranges.len() < 2 {
            chunks.push_back(Chunk { table, number: 0, range: None });
        } else {
            chunks.extend(ranges.iter().enumerate().map(|(number, range)| Chunk { table, number, range: Some(*range) }));
        }
    }
    chunks
}

/// The chunks that have not landed yet, and what each table has come to with those that have.
pub fn left(run: &Run) -> (VecDeque<Chunk>, Vec<TableCount>) {
    let mut counts = vec![TableCount::default(); run.plan.tables.len()];
    let mut left = chunks(run);
    left.retain(|chunk| {
        let landed = run.standing.chunk(&run.plan.tables[chunk.table].source, chunk.number);
        match landed {
            Some(landed) => counts[chunk.table].add(landed),
            None => counts[chunk.table].chunks_left += 1,
        }
        landed.is_none()
    });
    (left, counts)
}

/// Tells of the tables that are complete already; the rows of all that landed stand in the total.
pub fn tell_complete(run: &Run, counts: &[TableCount]) {
    for (table, count) in run.plan.tables.iter().zip(counts).filter(|(_, count)| count.chunks_left == 0 && count.rows_read > 0) {
        run.send(Event::TableEnded {
            phase: Phase::Copy,
            table: table.source.clone(),
            rows_written: count.rows_written,
            rows_rejected: count.rows_rejected,
        });
    }
}

/// Takes chunks until there are none; tells `after` when a table's last chunk has landed.
pub async fn worker(
    run: Arc<Run>,
    client: Client,
    queue: Arc<Mutex<VecDeque<Chunk>>>,
    counts: Arc<Mutex<Vec<TableCount>>>,
    after: Arc<Queue>,
) -> Result<()> {
    loop {
        let next = queue.lock().map_err(|_| anyhow!("a copy worker panicked"))?.pop_front();
        let Some(chunk) = next else { return Ok(()) };
        let table = &run.plan.tables[chunk.table];
        {
            let mut counts = counts.lock().map_err(|_| anyhow!("a copy worker panicked"))?;
            counts[chunk.table].started.get_or_insert_with(|| {
                run.send(Event::TableStarted { phase: Phase::Copy, table: table.source.clone(), rows: table.rows });
                Instant::now()
            });
        }
        let count = copy_chunk(&run, &client, &chunk).await.with_context(|| format!("copy table {:?}", table.source))?;
        let complete = {
            let mut counts = counts.lock().map_err(|_| anyhow!("a copy worker panicked"))?;
            let total = &mut counts[chunk.table];
            total.rows_read += count.rows_read;
            total.rows_written += count.rows_written;
            total.rows_rejected += count.rows_rejected;
            total.bytes += count.bytes;
            total.chunks_left -= 1;
            total.ended = Some(Instant::now());
            (total.chunks_left == 0).then(|| total.clone())
        };
        if let Some(total) = complete {
            run.send(Event::TableEnded {
                phase: Phase::Copy,
                table: table.source.clone(),
                rows_written: total.rows_written,
                rows_rejected: total.rows_rejected,
            });
            after.landed(chunk.table, total.rows_rejected)?;
        }
    }
}

/// One chunk, whole or not at all; rows that PostgreSQL refuses are found and set aside.
async fn copy_chunk(run: &Arc<Run>, client: &Client, chunk: &Chunk) -> Result<ChunkCount> {
    if asked::columns(&run.plan.tables[chunk.table]).next().is_some() {
        run.proofs.landed(chunk.table, None)?;
        return careful::copy_chunk(run, client, chunk).await;
    }
    // What is put off to the end would be the chunk's fault there, and no row's.
    client.batch_execute("BEGIN; SET CONSTRAINTS ALL IMMEDIATE").await?;
    match stream(run, client, chunk).await {
        Ok((count, aside, proof)) => {
            // First the record of what is set aside, on disk; then the rows that go without it.
            run.rejects.keep(aside)?;
            land(run, client, chunk, &count).await?;
            run.proofs.landed(chunk.table, proof)?;
            Ok(count)
        }
        Err(error) => {
            if !careful::is_about_rows(&error) {
                // What broke says more than that nothing can be rolled back any more.
                let _ = client.batch_execute("ROLLBACK").await;
                return Err(sql_failure(error));
            }
            client.batch_execute("ROLLBACK").await.context("roll the chunk back")?;
            // Which of its rows land is found out there, row by row, and without digests.
            run.proofs.landed(chunk.table, None)?;
            careful::copy_chunk(run, client, chunk).await
        }
    }
}

/// Writes the chunk into the journal and commits both together. The journal's key lets a chunk land once, whoever else still tries.
pub(super) async fn land(run: &Run, client: &Client, chunk: &Chunk, count: &ChunkCount) -> Result<()> {
    let source = run.plan.tables[chunk.table].source.as_str();
    let landed = LandedChunk {
        source: source.to_string(),
        number: chunk.number,
        rows_written: count.rows_written,
        rows_rejected: count.rows_rejected,
        bytes: count.bytes,
    };
    // As text: a statement of its own would be prepared, which thousands of small tables would wait for.
    if let Err(error) = client.batch_execute(&statement::journal_chunk(&run.id, &landed)).await {
        if error.as_db_error().is_some_and(|error| error.code().code() == "23505") {
            bail!(
                Failure::new(LANDED_ALREADY, format!("chunk {} of table {source:?} has landed already", chunk.number))
                    .hint("Another session goes on with this run.")
            );
        }
        return Err(sql_failure(error.into())).context("write the chunk into the journal");
    }
    client.batch_execute("COMMIT").await.map_err(|error| sql_failure(error.into())).context("commit the chunk")?;
    run.advance();
    Ok(())
}

/// A session that was given up for dead has committed the chunk after all; the journal then knows more than this process.
pub(super) const LANDED_ALREADY: &str = "landed_already";

/// What goes from the reading thread to the COPY.
enum Piece {
    Rows(Bytes, u64),
    /// The reader came to the end; without it the COPY is not finished, and nothing of it stays.
    End(ReadEnd),
}

struct ReadEnd {
    rows_read: u64,
    aside: Aside,
    proof: Option<(Sums, bool)>,
}

/// SQLite rows → buffers → COPY, with a bounded channel between.
async fn stream(run: &Arc<Run>, client: &Client, chunk: &Chunk) -> Result<(ChunkCount, Aside, Option<(Sums, bool)>)> {
    let table = &run.plan.tables[chunk.table];
    let (sender, mut receiver) = mpsc::channel(BUFFERS_IN_FLIGHT);
    let reading = {
        let (run, chunk) = (Arc::clone(run), chunk.clone());
        tokio::task::spawn_blocking(move || read(&run, &chunk, &sender))
    };
    let sent = send(run, client, table, &mut receiver).await;
    // A reader that waits for room in the channel must learn that nobody takes it.
    drop(receiver);
    let read = reading.await.map_err(|_| anyhow!("a reader of the source panicked"))?;
    let (mut count, end) = match (read, sent) {
        (Err(error), Ok(None)) => return Err(error),
        (_, Err(error)) => return Err(error),
        (_, Ok(Some(sent))) => sent,
        (Ok(()), Ok(None)) => bail!("the reader stopped before its end"),
    };
    count.rows_read = end.rows_read;
    count.rows_rejected = end.aside.rows;
    if count.rows_written + count.rows_rejected != count.rows_read {
        bail!("PostgreSQL took {} rows of {} that were sent", count.rows_written, count.rows_read - count.rows_rejected);
    }
    Ok((count, end.aside, end.proof))
}

/// Feeds the COPY from the channel; none when the reader stopped before its end.
async fn send(
    run: &Run,
    client: &Client,
    table: &TablePlan,
    receiver: &mut mpsc::Receiver<Piece>,
) -> Result<Option<(ChunkCount, ReadEnd)>> {
    let mut count = ChunkCount::default();
    let mut sink = CopySink::open(client, statement::copy_in(table, encode::format(table)).as_str()).await?;
    while let Some(piece) = receiver.recv().await {
        match piece {
            Piece::Rows(bytes, rows) => {
                let length = bytes.len() as u64;
                count.bytes += length;
                sink.send(bytes).await?;
                run.send(Event::TableAdvanced { phase: Phase::Copy, table: table.source.clone(), rows, bytes: length });
            }
            Piece::End(end) => {
                count.rows_written = sink.finish().await?;
                if encode::format(table) == CopyFormat::Binary {
                    count.bytes -= (BINARY_HEADER.len() + BINARY_TRAILER.len()) as u64;
                }
                return Ok(Some((count, end)));
            }
        }
    }
    Ok(None)
}

/// The columns of SQLite that a table's copy needs, each once.
pub(super) fn copied_columns(table: &TablePlan) -> Vec<usize> {
    each_once(encode::copied(table))
}

/// Those and the ones that PostgreSQL computes: a rejected row is written with all of them, and `verify` knows it by them.
pub(super) fn scanned_columns(table: &TablePlan) -> Vec<usize> {
    each_once(table.columns.iter().map(Arc::as_ref))
}

fn each_once<'a>(columns: impl Iterator<Item = &'a ColumnPlan>) -> Vec<usize> {
    let mut columns: Vec<usize> = columns.map(|column| column.source_index).collect();
    columns.sort_unstable();
    columns.dedup();
    columns
}

/// Reads and encodes the rows of a chunk; blocking.
fn read(run: &Run, chunk: &Chunk, sender: &mpsc::Sender<Piece>) -> Result<()> {
    let plan = &run.plan.tables[chunk.table];
    let table = &run.schema.tables[plan.source_index];
    let columns = scanned_columns(plan);
    let scan = Scan::table(table, &columns).range(table, chunk.range.as_ref());
    let mut encoder = RowEncoder::new(plan, &columns);
    let binary = encode::format(plan) == CopyFormat::Binary;
    let mut buffer = Vec::with_capacity(BUFFER_BYTES + BUFFER_BYTES / 4);
    if binary {
        buffer.extend_from_slice(BINARY_HEADER);
    }
    let mut aside = run.rejects.aside(&plan.source, chunk.number);
    let mut rows_in_buffer = 0;
    let mut proof = run.proofs.begin(chunk.table, plan, &run.schema)?;
    let reader = run.snapshot.reader()?;
    let rows_read = reader.scan(&scan, |row| {
        match encoder.encode(row, &mut buffer) {
            Ok(()) => {
                rows_in_buffer += 1;
                if let Some(proof) = &mut proof {
                    proof.add(row);
                }
            }
            Err(misfit) => {
                run.reject(plan, misfit.first.source(plan), &misfit.first.reason, row.key)?;
                let (key, original) = (rejects::key(table, &columns, row), rejects::original(table, &columns, row));
                aside.add(&RejectedRow::misfit(plan, misfit, key, original))?;
            }
        }
        if buffer.len() >= BUFFER_BYTES {
            hand_over(std::mem::take(&mut buffer), std::mem::take(&mut rows_in_buffer), sender)?;
            buffer.reserve(BUFFER_BYTES + BUFFER_BYTES / 4);
        }
        Ok(())
    })?;
    if binary {
        buffer.extend_from_slice(BINARY_TRAILER);
    }
    hand_over(buffer, rows_in_buffer, sender)?;
    let end = ReadEnd { rows_read, aside, proof: proof.map(ChunkProof::end) };
    sender.blocking_send(Piece::End(end)).map_err(|_| anyhow!("the COPY has ended"))
}

/// Gives a buffer to the COPY, in pieces that the channel's bound can count: a row of many megabytes makes a buffer as large, and the next row is
/// not read before nearly all of that is on its way.
fn hand_over(buffer: Vec<u8>, mut rows: u64, sender: &mpsc::Sender<Piece>) -> Result<()> {
    let ended = || anyhow!("the COPY has ended");
    let large = buffer.len() > 4 * BUFFER_BYTES;
    let mut rest = Bytes::from(buffer);
    while !rest.is_empty() {
        let piece = rest.split_to(rest.len().min(2 * BUFFER_BYTES));
        sender.blocking_send(Piece::Rows(piece, std::mem::take(&mut rows))).map_err(|_| ended())?;
    }
    if large {
        drop(Handle::current().block_on(sender.reserve_many(BUFFERS_IN_FLIGHT)).map_err(|_| ended())?);
    }
    Ok(())
}
