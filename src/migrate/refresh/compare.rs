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
use crate::model::{Event, Name, Phase, Schema, TypeKind};
use crate::plan::convert::Scratch;
use crate::plan::profile::RowRange;
use crate::postgres::{Client, CopyRows, Fields, RefreshKeys, refresh_statement};
use crate::sides::{Pair, SourceRow};
use crate::sqlite::Reader;

/// Rows of both sides whose digests and places are held at once. A row of each is in a map and three lists for a moment, some 200 bytes of them in all; half of
/// this many, the rows of one side, fill a map of 65,536 places and no larger one.
const ROWS_AT_ONCE: u64 = 112_000;
/// Places of rows without a key that are held at once.
const GONE_AT_ONCE: usize = 500_000;
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

/// What differs in one group of buckets: rows of the source by their digest, and rows of the target that are to go.
#[derive(Debug, Default)]
pub struct Differences {
    /// In the order of their digests.
    wanted: Vec<(RowDigest, Wanted)>,
    /// The rows of the target that wanted ones replace.
    replaced: Vec<Place>,
    pub gone: Vec<Place>,
    /// More rows are to go than are held at once; the next reading passes over these.
    pub more: bool,
    pub missing: u64,
    pub changed: u64,
}

/// Rows of the source that have one digest and are not in the target as often. There is one for every row that differs, so that nothing of it is elsewhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Wanted {
    /// Rows that replace none.
    missing: u64,
    /// Where those that the others replace stand among all that are replaced.
    first: u32,
    end: u32,
    /// Where one of them stands in the source.
    rowid: i64,
}

impl Wanted {
    fn rows(&self) -> u64 {
        self.missing + u64::from(self.end - self.first)
    }
}

impl Differences {
    pub fn wants_none(&self) -> bool {
        self.wanted.is_empty()
    }

    /// Where each of the wanted rows stands in the source; none where one digest stands for several of them.
    pub fn rowids(&self) -> Option<Vec<i64>> {
        self.wanted.iter().map(|(_, wanted)| (wanted.rows() == 1).then_some(wanted.rowid)).collect()
    }

    /// The next row with this digest, where one is still wanted: which row of the target it replaces.
    pub fn next_of(&mut self, digest: RowDigest) -> Option<Option<Place>> {
        let at = self.wanted.binary_search_by_key(&digest, |(digest, _)| *digest).ok()?;
        let wanted = &mut self.wanted[at].1;
        if wanted.first < wanted.end {
            wanted.first += 1;
            return Some(Some(self.replaced[wanted.first as usize - 1]));
        }
        wanted.missing = wanted.missing.checked_sub(1)?;
        Some(None)
    }
}

/// Rows of the source that have one digest, and where the last of them stands.
#[derive(Clone, Copy, Debug, Default)]
struct Same {
    rows: u64,
    rowid: i64,
}

type Digests = HashMap<RowDigest, Same>;

fn note(digests: &mut Digests, digest: RowDigest, rows: u64, rowid: i64) {
    let same = digests.entry(digest).or_default();
    *same = Same { rows: same.rows + rows, rowid };
}

/// A row of the target, by digest and place.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Stands {
    digest: RowDigest,
    place: Place,
}

/// About how many rows a table has, and between which integer keys they are, where those can be cut into buckets.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    rows: u64,
    pub bounds: Option<(i64, i64)>,
}

/// One a pair.
pub fn sizes(reader: &Reader<'_>, schema: &Schema, pairs: &[Pair], keys: &HashMap<String, RefreshKeys>) -> Vec<Size> {
    let size = |pair: &Pair| {
        let bounds = reader.rowid_bounds(&schema.tables[pair.source]);
        let span = bounds.map(|(first, last)| last.abs_diff(first).saturating_add(1));
        let known = keys.get(&pair.map.target).and_then(|keys| keys.rows);
        let rows = known.into_iter().chain(span).min().unwrap_or(UNKNOWN_ROWS);
        // Keys far apart would crowd into a few buckets.
        let dense = span.is_some_and(|span| span / 8 <= rows.max(1000));
        Size { rows, bounds: bounds.filter(|_| dense && has_integer_key(schema, pair)) }
    };
    pairs.iter().map(size).collect()
}

/// Reads both sides of these tables once.
pub async fn balance(shared: &Arc<Shared>) -> Result<Vec<TableLedger>> {
    let (sides, sizes) = (&shared.sides, &shared.sizes);
    let mut order: Vec<usize> = (0..sizes.len()).collect();
    order.sort_by_key(|pair| std::cmp::Reverse(sizes[*pair].rows));
    let rows = sizes.iter().map(|size| size.rows.saturating_mul(2)).fold(0, u64::saturating_add);
    shared.run.send(Event::Total { phase: Phase::Compare, tables: sizes.len() as u64, rows, rows_done: 0 });

    let mut all: Vec<Option<TableLedger>> = (0..sizes.len()).map(|_| None).collect();
    let mut rest = &order[..];
    while !rest.is_empty() {
        let mut buckets = 0;
        let fits = |pair: &&usize| {
            buckets += Ledger::buckets_for(sizes[**pair].rows);
            buckets <= BUCKETS_AT_ONCE
        };
        let (now, later) = rest.split_at(rest.iter().take_while(fits).count().max(1));
        rest = later;
        let mut ledgers: Ledgers = (0..sides.schema.tables.len()).map(|_| None).collect();
        now.iter().for_each(|pair| ledgers[sides.pairs[*pair].source] = Some(TableLedger::new(sizes[*pair])));
        let ledgers = read_both(shared, now, ledgers).await?;
        for (source, ledger) in ledgers.into_iter().enumerate() {
            let Some(ledger) = ledger else { continue };
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
fn has_integer_key(schema: &Schema, pair: &Pair) -> bool {
    let table = &schema.tables[pair.source];
    let Some(column) = pair.layout.columns.first().map(|index| &pair.map.columns[*index]) else { return false };
    let alias = table.rowid_alias.is_some_and(|alias| table.columns[alias].name.eq_ignore_ascii_case(&column.source));
    let integer = matches!(column.conversion.kind, TypeKind::Int2 | TypeKind::Int4 | TypeKind::Int8);
    pair.layout.key == 1 && alias && integer && column.conversion.transform.is_none()
}

/// By a table's place in the source's schema: asked for each row.
type Ledgers = Vec<Option<TableLedger>>;

fn ledger_of<'l>(ledgers: &'l [Option<TableLedger>], pair: &Pair) -> Result<&'l TableLedger> {
    ledgers[pair.source].as_ref().context("only these tables are read")
}

async fn read_both(shared: &Arc<Shared>, pairs: &[usize], ledgers: Ledgers) -> Result<Ledgers> {
    let ledgers = Arc::new(ledgers);
    let source = {
        let (ledgers, inside) = (Arc::clone(&ledgers), Arc::clone(shared));
        shared.sides.read_source(pairs, false, move |read: &mut SourcePart, pair, row| {
            let table = ledger_of(&ledgers, pair)?;
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
        shared.sides.read_target(pairs, false, move |rows: &mut u64, pair, row| {
            let table = ledger_of(&ledgers, pair)?;
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
        ledger_of(&ledgers, pair)?.source_rows.fetch_add(read.rows % SAY_EVERY, Ordering::Relaxed);
        shared.run.rejects.write(&pair.map.source, 0, &read.aside)?;
    }
    for (pair, rows) in &target {
        ledger_of(&ledgers, &shared.sides.pairs[*pair])?.target_rows.fetch_add(rows % SAY_EVERY, Ordering::Relaxed);
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
        Ok(_) if column.conversion.asked().is_some() => format!("{} makes another value of it, or refuses it", column.sql_type),
        Ok(_) => "has no exact form in its column".to_string(),
    };
    let plan = &shared.run.plan.tables[shared.pair_of(pair.source)?];
    shared.run.reject(plan, Some(&column.source), &reason, row.row.key)?;
    Ok(RejectedRow {
        key: rejects::key(table, &pair.scanned, row.row),
        column: Some(column.source.clone()),
        reason,
        also: Vec::new(),
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
    fn new(size: Size) -> Self {
        TableLedger {
            ledger: Ledger::new(size.rows, size.bounds),
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

/// Reads one group on both sides and matches its rows. Of rows without a key, the first `passed_over` that are to go were found before, and
/// only those are looked for.
pub async fn differences(
    shared: &Arc<Shared>,
    control: &Client,
    place: usize,
    table: &Arc<TableLedger>,
    group: &Arc<Group>,
    indexed: &[String],
    passed_over: u64,
) -> Result<Differences> {
    let ranges = table.ranges(group);
    let source = tokio::spawn(source_digests(Arc::clone(shared), place, Arc::clone(table), Arc::clone(group), ranges.clone()));
    let pair = &shared.sides.pairs[place];
    let key = pair.layout.columns.first().map(|index| pair.map.columns[*index].target.clone());
    let by_index = key.filter(|key| !ranges.is_empty() && indexed.contains(key)).map(Name::new);
    let by_index = by_index.as_ref().map(|key| (key, &ranges[..]));
    let mut matching = Matching { keyless: pair.layout.key == 0, passed_over, ..Matching::default() };
    if group.rows > ROWS_AT_ONCE * 2 {
        // So many rows share a bucket when they are the same: what matches is not kept.
        matching.source = source.await.context("a reader of the source panicked")??;
        read_places(control, pair, table, group, by_index, |stands| matching.take(stands)).await?;
    } else {
        let mut found = Vec::new();
        read_places(control, pair, table, group, by_index, |stands| found.push(stands)).await?;
        matching.source = source.await.context("a reader of the source panicked")??;
        matching.take_all(found);
    }
    Ok(matching.end())
}

/// The group's rows in the source.
async fn source_digests(
    shared: Arc<Shared>,
    place: usize,
    table: Arc<TableLedger>,
    group: Arc<Group>,
    ranges: Vec<RowRange>,
) -> Result<Digests> {
    let runtime = Handle::current();
    if ranges.is_empty() {
        let pairs = [place];
        let parts = shared.sides.read_source(&pairs, true, move |digests: &mut Digests, _, row| {
            if let Some(digest) = row.digest.ok().filter(|digest| group.has(table.ledger.place(*digest, Some(row.row.key)))) {
                note(digests, digest, 1, row.row.key);
            }
            Ok(())
        });
        let mut parts = parts.await?.into_iter().map(|(_, digests)| digests);
        let mut all = parts.next().unwrap_or_default();
        parts.flatten().for_each(|(digest, same)| note(&mut all, digest, same.rows, same.rowid));
        return Ok(all);
    }
    let read = move || -> Result<Digests> {
        let mut digests = Digests::new();
        shared.sides.scan_source(place, &ranges, &runtime, |row| {
            if let Some(digest) = row.digest.ok().filter(|digest| group.has(table.ledger.place(*digest, Some(row.row.key)))) {
                note(&mut digests, digest, 1, row.row.key);
            }
            Ok(())
        })?;
        Ok(digests)
    };
    tokio::task::spawn_blocking(read).await.context("a reader of the source panicked")?
}

async fn read_places(
    control: &Client,
    pair: &Pair,
    table: &TableLedger,
    group: &Group,
    by_index: Option<(&Name, &[RowRange])>,
    mut found: impl FnMut(Stands),
) -> Result<()> {
    let ranges: Option<(&Name, Vec<(i64, i64)>)> =
        by_index.map(|(key, ranges)| (key, ranges.iter().map(|range| (range.first, range.last)).collect()));
    // Thousands of small ranges through the index, whatever the planner thinks of each.
    control.batch_execute(if ranges.is_some() { "SET LOCAL enable_seqscan = off" } else { "SET LOCAL enable_seqscan = on" }).await?;
    let ranges = ranges.as_ref().map(|(key, ranges)| (*key, &ranges[..]));
    let mut rows = CopyRows::open(control, &refresh_statement::read_with_places(&pair.target, &pair.items, ranges)).await?;
    let mut digester = TargetDigester::new(&pair.map, &pair.layout);
    while let Some(row) = rows.next().await.with_context(|| format!("read {}", pair.target))? {
        let mut fields = Fields::of(&row);
        let digest = digester.row(fields.by_ref()).with_context(|| format!("read {}", pair.target))?;
        let key = if table.ledger.cut() == Cut::Digests { None } else { Fields::of(&row).next().flatten().and_then(integer) };
        if group.has(table.ledger.place(digest, key)) {
            let (oid, tid) = (fields.next().flatten(), fields.next().flatten());
            let place = oid
                .zip(tid)
                .and_then(|(oid, tid)| Some(Place { table: u32::from_be_bytes(oid.try_into().ok()?), tid: tid.try_into().ok()? }));
            found(Stands { digest, place: place.with_context(|| format!("read where rows of {} lie", pair.target))? });
        }
    }
    control.batch_execute("SET LOCAL enable_seqscan = on").await?;
    Ok(())
}

/// Takes out what is on both sides, as often as it is; then rows with the same key replace each other.
#[derive(Default)]
struct Matching {
    source: Digests,
    /// The whole row is the key: nothing replaces anything.
    keyless: bool,
    passed_over: u64,
    /// Rows of the target alone; without keys they are counted, and are gone.
    only_target: Vec<Stands>,
    extra: u64,
    differences: Differences,
}

impl Matching {
    /// All rows of the target in the group; those that are left stay where they are.
    fn take_all(&mut self, mut found: Vec<Stands>) {
        if self.keyless {
            return found.into_iter().for_each(|stands| self.take(stands));
        }
        found.retain(|stands| !self.matches(stands));
        self.only_target = found;
    }

    /// Takes the row out on both sides, if it is on both.
    fn matches(&mut self, stands: &Stands) -> bool {
        let same = self.source.get_mut(&stands.digest).filter(|same| same.rows > 0);
        same.map(|same| same.rows -= 1).is_some()
    }

    fn take(&mut self, stands: Stands) {
        if self.matches(&stands) {
            return;
        }
        if !self.keyless {
            self.only_target.push(stands);
            return;
        }
        self.extra += 1;
        match self.differences.gone.len() {
            _ if self.extra <= self.passed_over => {}
            held if held < GONE_AT_ONCE => self.differences.gone.push(stands.place),
            _ => self.differences.more = true,
        }
    }

    fn end(mut self) -> Differences {
        let mut differences = self.differences;
        if self.passed_over > 0 {
            return differences;
        }
        let only_source = self.source.into_iter().filter(|(_, same)| same.rows > 0);
        let missing = |same: Same| Wanted { missing: same.rows, rowid: same.rowid, ..Wanted::default() };
        differences.wanted = only_source.map(|(digest, same)| (digest, missing(same))).collect();
        differences.wanted.sort_unstable_by_key(|(digest, _)| *digest);
        self.only_target.sort_unstable();
        let mut targets = self.only_target.into_iter().peekable();
        let replaced = &mut differences.replaced;
        for (digest, wanted) in &mut differences.wanted {
            while let Some(stands) = targets.next_if(|stands| stands.digest.key < digest.key) {
                differences.gone.push(stands.place);
            }
            wanted.first = replaced.len() as u32;
            while wanted.missing > 0
                && let Some(stands) = targets.next_if(|stands| stands.digest.key == digest.key)
            {
                replaced.push(stands.place);
                wanted.missing -= 1;
            }
            wanted.end = replaced.len() as u32;
            differences.changed += u64::from(wanted.end - wanted.first);
            differences.missing += wanted.missing;
        }
        differences.gone.extend(targets.map(|stands| stands.place));
        differences
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(key: u128, row: u128) -> RowDigest {
        RowDigest { key, row }
    }

    fn place(number: u8) -> Place {
        Place { table: 1, tid: [0, 0, 0, 0, 0, number] }
    }

    fn matched(keyless: bool, passed_over: u64, source: &[RowDigest], target: &[(RowDigest, u8)]) -> Differences {
        let mut matching = Matching { keyless, passed_over, ..Matching::default() };
        source.iter().enumerate().for_each(|(rowid, digest)| note(&mut matching.source, *digest, 1, rowid as i64));
        target.iter().for_each(|(digest, number)| matching.take(Stands { digest: *digest, place: place(*number) }));
        matching.end()
    }

    #[test]
    fn equal_rows_cancel_as_often_as_they_stand_and_keys_pair_the_rest() {
        let source = [row(1, 1), row(2, 2), row(2, 2), row(3, 30), row(4, 4)];
        let mut found = matched(false, 0, &source, &[(row(1, 1), 1), (row(2, 2), 2), (row(3, 3), 3), (row(5, 5), 5), (row(0, 9), 9)]);
        assert_eq!((found.missing, found.changed, found.more), (2, 1, false));
        assert_eq!(found.rowids(), Some(vec![2, 3, 4]));
        assert_eq!(found.gone, [place(9), place(5)]);
        let mut next = |digest| found.next_of(digest);
        assert_eq!((next(row(2, 2)), next(row(2, 2))), (Some(None), None));
        assert_eq!((next(row(3, 30)), next(row(3, 30))), (Some(Some(place(3))), None));
        assert_eq!((next(row(4, 4)), next(row(1, 1))), (Some(None), None));
    }

    #[test]
    fn rows_that_are_the_same_replace_one_each() {
        let mut found = matched(false, 0, &[row(1, 10), row(1, 10), row(1, 10)], &[(row(1, 1), 1), (row(1, 2), 2)]);
        assert_eq!((found.missing, found.changed, found.rowids()), (1, 2, None));
        let all: Vec<_> = std::iter::from_fn(|| found.next_of(row(1, 10))).collect();
        assert_eq!(all, [Some(place(1)), Some(place(2)), None]);
    }

    #[test]
    fn rows_without_keys_go_in_pieces() {
        let target: Vec<(RowDigest, u8)> = (0..5).map(|number| (row(7, 7), number)).collect();
        let found = matched(true, 0, &[row(7, 7), row(8, 8)], &target);
        assert_eq!((found.gone, found.missing), ((1..5).map(place).collect(), 1));
        let rest = matched(true, 3, &[row(7, 7), row(8, 8)], &target);
        assert_eq!((rest.gone, rest.missing, rest.wanted.len()), (vec![place(4)], 0, 0));
    }
}
