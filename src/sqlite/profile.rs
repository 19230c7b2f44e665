//! The profile pass: every value of every table is looked at once, by all readers together, before anything is decided.

use anyhow::{Context as _, Result};

use crate::model::{Failure, Schema, Table, TableKind, Value};
use crate::plan::declared::Declared;
use crate::plan::profile::{ColumnProfile, RowRange, TableProfile};
use crate::sqlite::rows::{Scan, rowid_name};
use crate::sqlite::share::share;
use crate::sqlite::snapshot::{BROKEN_MODULE, Reader, Snapshot};
use crate::sqlite::witness::Summing;

/// One piece of work: a table, or a range of a big one.
pub(super) struct Piece {
    pub table: usize,
    pub range: Option<RowRange>,
}

/// Tables with more rows than this are profiled in as many ranges as there are readers.
const SPLIT_ROWS: u64 = 200_000;

/// Profiles every table that holds data and is wanted (others get an empty profile: whatever is wrong with them is nobody's business), with
/// `readers` threads; `range_bytes` is about what one range of `TableProfile::ranges` holds.
pub fn profile(
    snapshot: &Snapshot,
    schema: &Schema,
    readers: usize,
    range_bytes: u64,
    wanted: impl Fn(&str) -> bool,
) -> Result<Vec<TableProfile>> {
    let pieces = pieces(snapshot, schema, readers, wanted)?;
    let results = share(snapshot, readers, &pieces, |reader, piece| {
        let table = &schema.tables[piece.table];
        match profile_piece(reader, table, piece, range_bytes) {
            Err(error) if matches!(table.kind, TableKind::Virtual { .. }) => unreadable(error),
            profile => profile.with_context(|| format!("read table {:?}", table.name)),
        }
    })?;
    let mut profiles = vec![TableProfile::default(); schema.tables.len()];
    for (piece, result) in pieces.iter().zip(results) {
        profiles[piece.table].merge(result);
    }
    for (table, profile) in schema.tables.iter().zip(&mut profiles) {
        profile.columns.resize_with(table.columns.len(), ColumnProfile::default);
    }
    Ok(profiles)
}

/// Cuts big tables by rowid, so that no reader is left alone with one.
pub(super) fn pieces(snapshot: &Snapshot, schema: &Schema, readers: usize, wanted: impl Fn(&str) -> bool) -> Result<Vec<Piece>> {
    let reader = snapshot.reader()?;
    let mut pieces = Vec::new();
    for (index, table) in schema.tables.iter().enumerate().filter(|(_, table)| table.has_data() && wanted(&table.name)) {
        let bounds = if readers > 1 { reader.rowid_bounds(table) } else { None };
        match bounds {
            Some((first, last)) if last.abs_diff(first) > SPLIT_ROWS => {
                let parts = (readers * 4) as u64;
                let step = last.abs_diff(first) / parts + 1;
                for part in 0..parts {
                    let Some(from) = first.checked_add_unsigned(part * step) else { break };
                    if from > last {
                        break;
                    }
                    let to = from.checked_add_unsigned(step - 1).map_or(last, |to| to.min(last));
                    pieces.push(Piece { table: index, range: Some(RowRange { first: from, last: to, rows: 0, bytes: 0 }) });
                }
            }
            _ => pieces.push(Piece { table: index, range: None }),
        }
    }
    Ok(pieces)
}

/// A module refuses its table (its content is elsewhere, and gone): the other tables are none the worse for it. A locked or damaged file
/// is another matter.
fn unreadable(error: anyhow::Error) -> Result<TableProfile> {
    let of_module = |error: &rusqlite::Error| {
        error.sqlite_error().is_some_and(|error| error.extended_code & 0xff == rusqlite::ffi::SQLITE_ERROR)
            || error.sqlite_error().is_some_and(|error| error.extended_code == rusqlite::ffi::SQLITE_CORRUPT_VTAB)
    };
    if error.downcast_ref::<rusqlite::Error>().is_some_and(of_module)
        || error.downcast_ref::<Failure>().is_some_and(|failure| failure.code == BROKEN_MODULE)
    {
        return Ok(TableProfile { unreadable: Some(format!("{:#}", error)), ..TableProfile::default() });
    }
    Err(error)
}

fn profile_piece(reader: &Reader<'_>, table: &Table, piece: &Piece, range_bytes: u64) -> Result<TableProfile> {
    let columns: Vec<usize> = (0..table.columns.len()).collect();
    let declared: Vec<Declared> = table.columns.iter().map(|column| Declared::parse(&column.declared)).collect();
    let scan = Scan::table(table, &columns).range(table, piece.range.as_ref());
    let mut profile = TableProfile { columns: vec![ColumnProfile::default(); columns.len()], ..TableProfile::default() };
    let mut range: Option<RowRange> = None;
    let with_ranges = rowid_name(table).is_some();
    let mut summing = Summing::of(table);
    reader.scan(&scan, |row| {
        let (mut bytes, mut tuple) = (0, 0);
        for (index, (column, declared)) in profile.columns.iter_mut().zip(&declared).enumerate() {
            let value = row.value(index);
            bytes += size(value);
            tuple += least_in_page(value, *declared);
            column.observe(value, row.key, *declared);
        }
        summing.add(row.key, |column| row.value(column));
        profile.rows += 1;
        profile.bytes += bytes;
        if tuple > profile.min_tuple_bytes {
            profile.min_tuple_bytes = tuple;
            profile.widest_row = row.key;
        }
        if with_ranges {
            let open = range.get_or_insert(RowRange { first: row.key, last: row.key, rows: 0, bytes: 0 });
            open.last = row.key;
            open.rows += 1;
            open.bytes += bytes;
            if open.bytes >= range_bytes {
                profile.ranges.extend(range.take());
            }
        }
        Ok(())
    })?;
    profile.ranges.extend(range);
    profile.ranges.shrink_to_fit();
    profile.columns.iter_mut().for_each(ColumnProfile::shrink);
    profile.sums = summing.end();
    Ok(profile)
}

fn size(value: Value<'_>) -> u64 {
    match value {
        Value::Null => 0,
        Value::Integer(_) | Value::Real(_) => 8,
        Value::Text(bytes) | Value::Blob(bytes) => bytes.len() as u64,
    }
}

/// What a value takes at least in a page of PostgreSQL: a long one is compressed to hardly less than 12 bytes, or a pointer to it takes 18.
fn least_in_page(value: Value<'_>, declared: Declared) -> u64 {
    match value {
        Value::Null => 0,
        Value::Integer(_) if declared == Declared::Boolean => 1,
        Value::Integer(_) | Value::Real(_) => 8,
        Value::Text(bytes) | Value::Blob(bytes) => (bytes.len() as u64 + 1).min(12),
    }
}
