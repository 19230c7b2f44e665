//! One reading of both sides: every row of some tables is digested and shown to a visitor, by many readers at once.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use anyhow::{Context as _, Result, anyhow};
use tokio::runtime::Handle;
use tokio::task::JoinSet;

use crate::digest::{Layout, Misfit, RowDigest, SourceDigester, TargetDigester};
use crate::model::Schema;
use crate::plan::profile::RowRange;
use crate::postgres::{Fields, Pages, ReadSession, TypeReader};
use crate::sides::normalise::Normaliser;
use crate::sides::pairing::Pair;
use crate::sqlite::{Reader, Row, Scan, Snapshot};

/// One state of each side, and what is compared with what.
pub struct Sides {
    pub snapshot: Arc<Snapshot>,
    pub schema: Arc<Schema>,
    pub pairs: Vec<Pair>,
    pub jobs: usize,
    sessions: Mutex<Vec<ReadSession>>,
    pub types: Option<Arc<TypeReader>>,
}

/// Tables whose rowids span more than this are read in ranges.
const SPLIT_ROWS: u64 = 100_000;

/// A table, or a range of a big one.
struct Piece {
    pair: usize,
    range: Option<RowRange>,
}

/// The same in PostgreSQL, where a table with fewer pages is read in one.
struct TargetPiece {
    pair: usize,
    pages: Option<Pages>,
}

const SPLIT_PAGES: u64 = 2048;

/// The source's row with its digest, or the column that does not fit.
pub struct SourceRow<'a, 'row> {
    pub digest: Result<RowDigest, Misfit>,
    pub row: &'a Row<'row>,
    pub digester: &'a SourceDigester,
}

pub struct TargetRow<'a> {
    pub digest: RowDigest,
    pub row: &'a [u8],
    pub digester: &'a TargetDigester,
}

/// What looks at each row of the source; an error ends the reading.
pub trait Visit: FnMut(&SourceRow<'_, '_>) -> Result<()> {}

impl<F: FnMut(&SourceRow<'_, '_>) -> Result<()>> Visit for F {}

impl Sides {
    pub fn new(snapshot: Arc<Snapshot>, schema: Arc<Schema>, pairs: Vec<Pair>, jobs: usize, sessions: Vec<ReadSession>) -> Self {
        Sides { snapshot, schema, pairs, jobs: jobs.max(1), sessions: Mutex::new(sessions), types: None }
    }

    /// Reads these pairs' rows in SQLite. Each piece of work starts with a new `S`; they come back with the pair that they are of. Without `keys`
    /// the rows of an ordered pair have no digest of their keys.
    pub async fn read_source<S, V>(self: &Arc<Self>, pairs: &[usize], keys: bool, visit: V) -> Result<Vec<(usize, S)>>
    where
        S: Default + Send + 'static,
        V: Fn(&mut S, &Pair, &SourceRow<'_, '_>) -> Result<()> + Send + Sync + 'static,
    {
        let (sides, pairs) = (Arc::clone(self), pairs.to_vec());
        let runtime = Handle::current();
        let read = move || -> Result<Vec<(usize, S)>> {
            let pieces = sides.pieces(&pairs)?;
            let next = AtomicUsize::new(0);
            let work = || -> Result<Vec<(usize, S)>> {
                let mut done = Vec::new();
                let reader = sides.snapshot.reader()?;
                while let Some(piece) = pieces.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let pair = &sides.pairs[piece.pair];
                    let mut state = S::default();
                    let digester = pair.digester(keys || !pair.ordered)?;
                    sides.scan(&reader, pair, piece.range.as_slice(), digester, &runtime, |row| visit(&mut state, pair, row))?;
                    done.push((piece.pair, state));
                }
                Ok(done)
            };
            std::thread::scope(|scope| {
                let threads: Vec<_> = (0..sides.jobs.min(sides.snapshot.readers())).map(|_| scope.spawn(work)).collect();
                let results = threads.into_iter().map(|thread| thread.join().map_err(|_| anyhow!("a reader of the source panicked"))?);
                let done: Vec<Vec<(usize, S)>> = results.collect::<Result<_>>()?;
                Ok(done.into_iter().flatten().collect())
            })
        };
        tokio::task::spawn_blocking(read).await.context("a reader of the source panicked")?
    }

    /// Ends the sessions that read the target, and with them their locks.
    pub fn leave_target(&self) -> Result<()> {
        self.sessions.lock().map_err(|_| anyhow!("a reader of the target panicked"))?.clear();
        Ok(())
    }

    /// Reads one table's rows in SQLite with one reader, in this thread, which may wait: all of them, or those of the ranges.
    pub fn scan_source(&self, pair: usize, ranges: &[RowRange], runtime: &Handle, visit: impl Visit) -> Result<()> {
        let digester = self.pairs[pair].digester(true)?;
        self.scan(&self.snapshot.reader()?, &self.pairs[pair], ranges, digester, runtime, visit)
    }

    fn scan(
        &self,
        reader: &Reader<'_>,
        pair: &Pair,
        ranges: &[RowRange],
        mut digester: SourceDigester,
        runtime: &Handle,
        mut visit: impl Visit,
    ) -> Result<()> {
        let mut normaliser = Normaliser::new(pair.careful.then(|| self.types.clone()).flatten(), runtime.clone());
        let table = &self.schema.tables[pair.source];
        let all = Scan::table(table, &pair.scanned);
        let mut read = |scan: &Scan| {
            let each = |row: &Row<'_>| {
                let digest = digester.row(|place| row.value(place), &mut normaliser);
                normaliser.check()?;
                visit(&SourceRow { digest, row, digester: &digester })
            };
            reader.scan(scan, each).with_context(|| format!("read table {:?} of the source", table.name))
        };
        if ranges.is_empty() {
            read(&all)?;
        }
        for range in ranges {
            read(&all.clone().range(table, Some(range)))?;
        }
        Ok(())
    }

    /// The same for PostgreSQL: one session reads one table, or some pages of a big one, at a time.
    pub async fn read_target<S, V>(self: &Arc<Self>, pairs: &[usize], keys: bool, visit: V) -> Result<Vec<(usize, S)>>
    where
        S: Default + Send + 'static,
        V: Fn(&mut S, &Pair, &TargetRow<'_>) -> Result<()> + Send + Sync + 'static,
    {
        let visit = Arc::new(visit);
        let mut readers = JoinSet::new();
        let sessions = std::mem::take(&mut *self.sessions.lock().map_err(|_| anyhow!("a reader of the target panicked"))?);
        let pieces = self.target_pieces(pairs, &sessions).await?;
        let queue = Arc::new(Mutex::new(pieces));
        for session in sessions {
            let (sides, queue, visit) = (Arc::clone(self), Arc::clone(&queue), Arc::clone(&visit));
            readers.spawn(async move {
                let mut done = Vec::new();
                loop {
                    let next = queue.lock().map_err(|_| anyhow!("a reader of the target panicked"))?.pop_front();
                    let Some(piece) = next else { return anyhow::Ok((session, done)) };
                    let read = read_table(&session, &sides.pairs[piece.pair], piece.pages.as_ref(), keys, &*visit).await?;
                    done.push((piece.pair, read));
                }
            });
        }
        let mut all = Vec::new();
        while let Some(reader) = readers.join_next().await {
            let (session, done) = reader.context("a reader of the target panicked")??;
            self.sessions.lock().map_err(|_| anyhow!("a reader of the target panicked"))?.push(session);
            all.extend(done);
        }
        Ok(all)
    }

    /// Big tables in ranges of pages, so that no session is left alone with one.
    async fn target_pieces(&self, pairs: &[usize], sessions: &[ReadSession]) -> Result<VecDeque<TargetPiece>> {
        let whole = |pair: &usize| TargetPiece { pair: *pair, pages: None };
        let (Some(session), true) = (sessions.first(), sessions.len() > 1) else { return Ok(pairs.iter().map(whole).collect()) };
        let names: Vec<String> = pairs.iter().map(|pair| self.pairs[*pair].target.to_string()).collect();
        let mut pieces = VecDeque::new();
        for (pair, pages) in pairs.iter().zip(session.pages(&names).await?) {
            let parts = if pages < SPLIT_PAGES { 1 } else { sessions.len() as u64 * 2 };
            let start = |part: u64| u32::try_from(pages * part / parts).ok();
            if parts == 1 {
                pieces.push_back(whole(pair));
                continue;
            }
            for part in 0..parts {
                let first = start(part).context("a table has fewer than 2^32 pages")?;
                pieces.push_back(TargetPiece {
                    pair: *pair,
                    pages: Some(Pages { first, end: start(part + 1).filter(|_| part + 1 < parts) }),
                });
            }
        }
        Ok(pieces)
    }

    /// Big tables in ranges of rowids, so that no reader is left alone with one.
    fn pieces(&self, pairs: &[usize]) -> Result<Vec<Piece>> {
        let reader = self.snapshot.reader()?;
        let mut pieces = Vec::new();
        for pair in pairs {
            let table = &self.schema.tables[self.pairs[*pair].source];
            match reader.rowid_bounds(table).filter(|(first, last)| self.jobs > 1 && last.abs_diff(*first) > SPLIT_ROWS) {
                Some((first, last)) => {
                    let step = last.abs_diff(first) / (self.jobs as u64 * 4) + 1;
                    let mut from = Some(first);
                    while let Some(start) = from.filter(|start| *start <= last) {
                        let end = start.checked_add_unsigned(step - 1).map_or(last, |end| end.min(last));
                        pieces.push(Piece { pair: *pair, range: Some(RowRange { first: start, last: end, rows: 0, bytes: 0 }) });
                        from = end.checked_add(1);
                    }
                }
                None => pieces.push(Piece { pair: *pair, range: None }),
            }
        }
        Ok(pieces)
    }
}

async fn read_table<S: Default>(
    session: &ReadSession,
    pair: &Pair,
    pages: Option<&Pages>,
    keys: bool,
    visit: &(impl Fn(&mut S, &Pair, &TargetRow<'_>) -> Result<()> + Send + Sync),
) -> Result<S> {
    let mut digester = TargetDigester::new(&pair.map, &pair.shape(keys || !pair.ordered));
    let mut state = S::default();
    let mut rows = session.rows(&pair.target, &pair.items, pages).await?;
    while let Some(row) = rows.next().await.with_context(|| format!("read {}", pair.target))? {
        let digest = digester.row(Fields::of(&row)).with_context(|| format!("read {}", pair.target))?;
        visit(&mut state, pair, &TargetRow { digest, row: &row, digester: &digester })?;
    }
    Ok(state)
}

impl Pair {
    /// The layout; without keys a row's digest stands for its key's too, which saves half of the hashing.
    fn shape(&self, keys: bool) -> Layout {
        Layout { key: if keys { self.layout.key } else { 0 }, ..self.layout.clone() }
    }

    pub fn source_digester(&self) -> Result<SourceDigester> {
        self.digester(true)
    }

    fn digester(&self, keys: bool) -> Result<SourceDigester> {
        let names: Vec<&str> = self.scanned_names.iter().map(String::as_str).collect();
        let digester = SourceDigester::new(&self.map, &self.shape(keys), &names).map_err(|name| anyhow!("column {name:?} is not read"))?;
        Ok(if self.takes_computed { digester.taking_computed() } else { digester })
    }
}
