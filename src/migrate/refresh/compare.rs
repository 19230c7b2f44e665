//! Which rows differ: one reading of both sides into ledgers, then only the uneven buckets again, row by row.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context as _, Result};
use tokio::runtime::Handle;

use super::Shared;
use super::ledger::{Cut, Group, Ledger};
use crate::digest::{Misfit, RowDigest, TargetDigester};
use crate::migrate::rejects::{self, RejectedRow};
use crate::model::{Event, Name, Phase, TypeKind};
use crate::plan::convert::Scratch;
use crate::plan::profile::RowRange;
use crate::postgres::{Client, CopyRows, Fields, RefreshKeys, refresh_statement};
use crate::sides::{Pair, SourceRow};

/// Rows of both sides whose digests and places are held at once: at most 56 bytes each.
const ROWS_AT_ONCE: u64 = 300_000;
/// Of all rows: when more than this share is to be read again, reading all is quicker than reading by key.
const BY_KEY_SHARE: u64 = 4;
/// A table of which nothing is known.
const UNKNOWN_ROWS: u64 = 1 << 20;
/// Ledgers of this many buckets together are filled at once: 12 bytes each.
const BUCKETS_AT_ONCE: u64 = 1 << 20;
/// Rows set aside that are written onto the disk together.
const ASIDE_AT_ONCE: usize = 500;
/// After so many rows a reader says how far it is.
const SAY_EVERY: u64 = 16_384;

/// Where a row of the target lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub table: u32,
    pub tid: [u8; 6],
}

/// What one piece of the source gave.
#[derive(Default)]
struct SourcePart {
    rows: u64,
    /// Rows that are set aside and not yet on the disk.
    aside: Vec<RejectedRow>,
}

/// What the first reading of a table gave.
pub struct TableLedger {
    pub ledger: Ledger,
    pub source_rows: AtomicU64,
    pub target_rows: AtomicU64,
    pub misfits: AtomicU64,
}

/// What differs in one group of buckets: rows of the source by their digest, each with the row that it replaces, and rows that are to go.
#[derive(Debug, Default)]
pub struct Differences {
    pub wanted: HashMap<RowDigest, Vec<Option<Place>>>,
    pub gone: Vec<Place>,
    pub missing: u64,
    pub changed: u64,
}

/// A row of the target, by digest and place.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Stands {
    digest: RowDigest,
    place: Place,
}

/// Reads both sides of these tables once.
pub async fn balance(shared: &Arc<Shared>, keys: &HashMap<String, RefreshKeys>) -> Result<Vec<TableLedger>> {
    let sides = &shared.sides;
    let reader = sides.snapshot.reader()?;
    let sizes: Vec<(u64, Option<(i64, i64)>)> = sides
        .pairs
        .iter()
        .map(|pair| {
            let bounds = reader.rowid_bounds(&sides.schema.tables[pair.source]);
            let span = bounds.map(|(first, last)| last.abs_diff(first).saturating_add(1));
            let known = keys.get(&pair.map.target).and_then(|keys| keys.rows);
            let rows = known.into_iter().chain(span).min().unwrap_or(UNKNOWN_ROWS);
            // Keys far apart would crowd into a few buckets.
            let dense = span.is_some_and(|span| span / 8 <= rows.max(1000));
            (rows, bounds.filter(|_| dense && has_integer_key(shared, pair)))
        })
        .collect();
    drop(reader);
    let mut order: Vec<usize> = (0..sizes.len()).collect();
    order.sort_by_key(|pair| std::cmp::Reverse(sizes[*pair].0));
    let rows = sizes.iter().map(|(rows, _)| rows.saturating_mul(2)).fold(0, u64::saturating_add);
    shared.run.send(Event::Total { phase: Phase::Compare, tables: sizes.len() as u64, rows, rows_done: 0 });

    let mut all: Vec<Option<TableLedger>> = (0..sizes.len()).map(|_| None).collect();
    let mut rest = &order[..];
    while !rest.is_empty() {
        let mut buckets = 0;
        let fits = |pair: &&usize| {
            buckets += Ledger::buckets_for(sizes[**pair].0);
            buckets <= BUCKETS_AT_ONCE
        };
        let (now, later) = rest.split_at(rest.iter().take_while(fits).count().max(1));
        rest = later;
        let ledgers: HashMap<usize, TableLedger> =
            now.iter().map(|pair| (sides.pairs[*pair].source, TableLedger::new(sizes[*pair]))).collect();
        let ledgers = read_both(shared, now, ledgers).await?;
        for (source, ledger) in ledgers {
            let even = ledger.ledger.uneven(u64::MAX).is_empty();
            let pair = shared.pair_of(source)?;
            // An even table needs no buckets any more.
            let ledger = if even { TableLedger { ledger: Ledger::new(0, None), ..ledger } } else { ledger };
            all[pair] = Some(ledger);
        }
    }
    all.into_iter().map(|ledger| ledger.context("every table was read")).collect()
}

/// The key is SQLite's rowid, and as it is in PostgreSQL.
fn has_integer_key(shared: &Shared, pair: &Pair) -> bool {
    let table = &shared.sides.schema.tables[pair.source];
    let Some(column) = pair.layout.columns.first().map(|index| &pair.map.columns[*index]) else { return false };
    let alias = table.rowid_alias.is_some_and(|alias| table.columns[alias].name.eq_ignore_ascii_case(&column.source));
    let integer = matches!(column.conversion.kind, TypeKind::Int2 | TypeKind::Int4 | TypeKind::Int8);
    pair.layout.key == 1 && alias && integer && column.conversion.transform.is_none()
}

async fn read_both(shared: &Arc<Shared>, pairs: &[usize], ledgers: HashMap<usize, TableLedger>) -> Result<HashMap<usize, TableLedger>> {
    let ledgers = Arc::new(ledgers);
    let source = {
        let (ledgers, inside) = (Arc::clone(&ledgers), Arc::clone(shared));
        shared.sides.read_source(pairs, move |read: &mut SourcePart, pair, row| {
            let table = ledgers.get(&pair.source).context("only these tables are read")?;
            count(&inside, pair, &mut read.rows, &table.source_rows);
            match row.digest {
                Ok(digest) => table.ledger.source(digest, Some(row.row.key)),
                Err(misfit) => {
                    table.misfits.fetch_add(1, Ordering::Relaxed);
                    read.aside.push(rejected(&inside, pair, row, misfit)?);
                    if read.aside.len() >= ASIDE_AT_ONCE {
                        inside.run.rejects.write(&pair.map.source, 0, &std::mem::take(&mut read.aside))?;
                    }
                }
            }
            Ok(())
        })
    };
    let target = {
        let (ledgers, inside) = (Arc::clone(&ledgers), Arc::clone(shared));
        shared.sides.read_target(pairs, move |rows: &mut u64, pair, row| {
            let table = ledgers.get(&pair.source).context("only these tables are read")?;
            count(&inside, pair, rows, &table.target_rows);
            let key = if table.ledger.cut() == Cut::Digests { None } else { Fields::of(row.row).next().flatten().and_then(integer) };
            table.ledger.target(row.digest, key);
            Ok(())
        })
    };
    let (source, target) = tokio::try_join!(source, target)?;
    // What each reader had not told yet.
    for (pair, read) in &source {
        let pair = &shared.sides.pairs[*pair];
        ledgers.get(&pair.source).context("read")?.source_rows.fetch_add(read.rows % SAY_EVERY, Ordering::Relaxed);
        shared.run.rejects.write(&pair.map.source, 0, &read.aside)?;
    }
    for (pair, rows) in &target {
        ledgers.get(&shared.sides.pairs[*pair].source).context("read")?.target_rows.fetch_add(rows % SAY_EVERY, Ordering::Relaxed);
    }
    Arc::try_unwrap(ledgers).ok().context("a reader outlived its reading")
}

fn count(shared: &Shared, pair: &Pair, rows: &mut u64, all: &AtomicU64) {
    *rows += 1;
    if rows.is_multiple_of(SAY_EVERY) {
        all.fetch_add(SAY_EVERY, Ordering::Relaxed);
        shared.run.send(Event::TableAdvanced { phase: Phase::Compare, table: pair.map.source.clone(), rows: SAY_EVERY, bytes: 0 });
    }
}

/// A row with a value that has no form in its column: recorded as a copy records it.
fn rejected(shared: &Shared, pair: &Pair, row: &SourceRow<'_, '_>, misfit: Misfit) -> Result<RejectedRow> {
    let column = &pair.map.columns[misfit.column];
    let table = &shared.sides.schema.tables[pair.source];
    let place = pair.scanned_names.iter().position(|name| name.eq_ignore_ascii_case(&column.source)).context("the column is read")?;
    let reason = match column.conversion.convert(row.row.value(place), &mut Scratch::default()) {
        Err(misfit) => misfit.reason,
        Ok(_) => "has no exact form in its column".to_string(),
    };
    let plan = &shared.run.plan.tables[shared.pair_of(pair.source)?];
    shared.run.reject(plan, Some(&column.source), &reason, row.row.key)?;
    Ok(RejectedRow {
        key: rejects::key(table, &pair.scanned, row.row),
        column: Some(column.source.clone()),
        reason,
        sqlstate: None,
        row: rejects::original(table, &pair.scanned, row.row),
    })
}

fn integer(field: &[u8]) -> Option<i64> {
    Some(match field.len() {
        2 => i64::from(i16::from_be_bytes(field.try_into().ok()?)),
        4 => i64::from(i32::from_be_bytes(field.try_into().ok()?)),
        _ => i64::from_be_bytes(field.try_into().ok()?),
    })
}

impl TableLedger {
    fn new((rows, bounds): (u64, Option<(i64, i64)>)) -> Self {
        TableLedger {
            ledger: Ledger::new(rows, bounds),
            source_rows: AtomicU64::new(0),
            target_rows: AtomicU64::new(0),
            misfits: AtomicU64::new(0),
        }
    }

    /// What has to be read again, in groups that fit into memory.
    pub fn groups(&self) -> Vec<Group> {
        self.ledger.uneven(ROWS_AT_ONCE)
    }

    /// The ranges of the source's rows that hold a group; none means all rows.
    pub fn ranges(&self, group: &Group) -> Vec<RowRange> {
        let few = group.rows <= (self.source_rows.load(Ordering::Relaxed) + self.target_rows.load(Ordering::Relaxed)) / BY_KEY_SHARE;
        if few { self.ledger.ranges(group) } else { Vec::new() }
    }
}

/// Reads one group on both sides and matches its rows.
pub async fn differences(
    shared: &Arc<Shared>,
    control: &Client,
    place: usize,
    table: &Arc<TableLedger>,
    group: &Arc<Group>,
    indexed: &[String],
) -> Result<Differences> {
    let ranges = table.ranges(group);
    let source = {
        let (shared, table, group, ranges) = (Arc::clone(shared), Arc::clone(table), Arc::clone(group), ranges.clone());
        let runtime = Handle::current();
        tokio::task::spawn_blocking(move || -> Result<Vec<RowDigest>> {
            let mut digests = Vec::new();
            shared.sides.scan_source(place, &ranges, &runtime, |row| {
                let wanted = |digest: &RowDigest| group.has(table.ledger.place(*digest, Some(row.row.key)));
                digests.extend(row.digest.ok().filter(wanted));
                Ok(())
            })?;
            digests.sort_unstable();
            Ok(digests)
        })
    };
    let pair = &shared.sides.pairs[place];
    let key = pair.layout.columns.first().map(|index| pair.map.columns[*index].target.clone());
    let by_index = key.filter(|key| !ranges.is_empty() && indexed.contains(key)).map(Name::new);
    let target = read_places(control, pair, table, group, by_index.as_ref().map(|key| (key, &ranges[..]))).await?;
    Ok(matched(source.await.context("a reader of the source panicked")??, target))
}

async fn read_places(
    control: &Client,
    pair: &Pair,
    table: &TableLedger,
    group: &Group,
    by_index: Option<(&Name, &[RowRange])>,
) -> Result<Vec<Stands>> {
    let ranges: Option<(&Name, Vec<(i64, i64)>)> =
        by_index.map(|(key, ranges)| (key, ranges.iter().map(|range| (range.first, range.last)).collect()));
    // Thousands of small ranges through the index, whatever the planner thinks of each.
    control.batch_execute(if ranges.is_some() { "SET LOCAL enable_seqscan = off" } else { "SET LOCAL enable_seqscan = on" }).await?;
    let ranges = ranges.as_ref().map(|(key, ranges)| (*key, &ranges[..]));
    let mut rows = CopyRows::open(control, &refresh_statement::read_with_places(&pair.target, &pair.items, ranges)).await?;
    let mut digester = TargetDigester::new(&pair.map, &pair.layout);
    let mut found = Vec::new();
    while let Some(row) = rows.next().await.with_context(|| format!("read {}", pair.target))? {
        let mut fields = Fields::of(&row);
        let digest = digester.row(fields.by_ref()).with_context(|| format!("read {}", pair.target))?;
        let key = if table.ledger.cut() == Cut::Digests { None } else { Fields::of(&row).next().flatten().and_then(integer) };
        if group.has(table.ledger.place(digest, key)) {
            let (oid, tid) = (fields.next().flatten(), fields.next().flatten());
            let place = oid
                .zip(tid)
                .and_then(|(oid, tid)| Some(Place { table: u32::from_be_bytes(oid.try_into().ok()?), tid: tid.try_into().ok()? }));
            found.push(Stands { digest, place: place.with_context(|| format!("read where rows of {} lie", pair.target))? });
        }
    }
    control.batch_execute("SET LOCAL enable_seqscan = on").await?;
    found.sort_unstable();
    Ok(found)
}

/// Takes out what is on both sides, as often as it is; then rows with the same key replace each other. Both lists are sorted.
fn matched(source: Vec<RowDigest>, target: Vec<Stands>) -> Differences {
    let (mut only_source, mut only_target) = (Vec::new(), Vec::new());
    let (mut a, mut b) = (source.into_iter().peekable(), target.into_iter().peekable());
    loop {
        match (a.peek(), b.peek()) {
            (Some(x), Some(y)) if *x == y.digest => {
                a.next();
                b.next();
            }
            (Some(x), Some(y)) if *x > y.digest => only_target.extend(b.next()),
            (None, Some(_)) => only_target.extend(b.next()),
            (Some(_), _) => only_source.extend(a.next()),
            (None, None) => break,
        }
    }
    let mut differences = Differences::default();
    let (mut a, mut b) = (only_source.into_iter().peekable(), only_target.into_iter().peekable());
    loop {
        let (row, stands) = match (a.peek(), b.peek()) {
            (None, None) => return differences,
            (Some(x), Some(y)) if x.key == y.digest.key => (a.next(), b.next()),
            (Some(x), Some(y)) if x.key > y.digest.key => (None, b.next()),
            (None, Some(_)) => (None, b.next()),
            (Some(_), _) => (a.next(), None),
        };
        match (row, stands) {
            (Some(row), stands) => {
                *(if stands.is_some() { &mut differences.changed } else { &mut differences.missing }) += 1;
                differences.wanted.entry(row).or_default().push(stands.map(|stands| stands.place));
            }
            (None, Some(stands)) => differences.gone.push(stands.place),
            (None, None) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_rows_cancel_as_often_as_they_stand_and_keys_pair_the_rest() {
        let row = |key: u128, row: u128| RowDigest { key, row };
        let place = |number: u8| Place { table: 1, tid: [0, 0, 0, 0, 0, number] };
        let stands = |digest, number| Stands { digest, place: place(number) };
        let source = vec![row(1, 1), row(2, 2), row(2, 2), row(3, 30), row(4, 4)];
        let target = vec![stands(row(1, 1), 1), stands(row(2, 2), 2), stands(row(3, 3), 3), stands(row(5, 5), 5)];
        let found = matched(source, target);
        assert_eq!((found.missing, found.changed), (2, 1));
        assert_eq!(found.wanted[&row(2, 2)], [None]);
        assert_eq!(found.wanted[&row(3, 30)], [Some(place(3))]);
        assert_eq!(found.wanted[&row(4, 4)], [None]);
        assert_eq!(found.gone, [place(5)]);
    }
}
