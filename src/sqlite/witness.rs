//! What the indexes of a table have of its rows, summed without regard to order, beside the table's own sums: a value that was changed in the file, and not by SQLite,
//! is contradicted by every index that has its column. Looking each row up in each index, as `PRAGMA integrity_check` does, takes ten times as long.

use anyhow::Result;
use xxhash_rust::xxh3::xxh3_64;

use crate::model::{Index, IndexOrigin, Table, TableKind, Value};
use crate::plan::profile::RowSums;
use crate::sqlite::cursor::Cursor;
use crate::sqlite::rows::{Scan, quote, rowid_name};
use crate::sqlite::snapshot::Reader;

/// An index that should have every row of its table, and the columns of these that it keeps as they are.
pub(super) struct Witness<'t> {
    pub index: &'t Index,
    /// Places in the table, each once.
    pub columns: Vec<usize>,
}

impl<'t> Witness<'t> {
    /// All of a table, in the order of its indexes.
    pub fn of(table: &'t Table) -> Vec<Witness<'t>> {
        // The index of a key without rowids is the table itself.
        let is_apart = |index: &&Index| index.predicate.is_none() && !(table.without_rowid && index.origin == IndexOrigin::PrimaryKey);
        let witness = |index: &'t Index| {
            // What is computed may be computed otherwise by another release of SQLite; and for columns beyond the 63rd it goes from the index to the table.
            let is_kept = |column: &usize| *column < 63 && table.columns[*column].generated.is_none();
            let mut columns: Vec<usize> = index.columns.iter().filter_map(|column| column.column).filter(is_kept).collect();
            columns.sort_unstable();
            columns.dedup();
            Witness { index, columns }
        };
        let all = if table.kind == TableKind::Ordinary { table.indexes.as_slice() } else { &[] };
        all.iter().filter(is_apart).map(witness).collect()
    }
}

/// Sums up a table's rows, one sum a witness.
pub(super) struct Summing<'t> {
    witnesses: Vec<Witness<'t>>,
    /// The columns of the key that every index has, in a table without rowids.
    key: Vec<usize>,
    by_rowid: bool,
    buffer: Vec<u8>,
    sums: RowSums,
}

impl<'t> Summing<'t> {
    pub fn of(table: &'t Table) -> Self {
        let witnesses = Witness::of(table);
        let sums = RowSums { rows: 0, sums: vec![0; witnesses.len()] };
        Summing { witnesses, key: key_columns(table), by_rowid: rowid_name(table).is_some(), buffer: Vec::new(), sums }
    }

    /// Adds a row, by its rowid and the value of each column of the table.
    #[inline]
    pub fn add<'v>(&mut self, rowid: i64, value: impl Fn(usize) -> Value<'v>) {
        self.sums.rows += 1;
        for (witness, sum) in self.witnesses.iter().zip(&mut self.sums.sums) {
            self.buffer.clear();
            if self.by_rowid {
                self.buffer.extend(rowid.to_le_bytes());
            }
            self.key.iter().chain(&witness.columns).for_each(|column| put(&mut self.buffer, value(*column)));
            *sum = sum.wrapping_add(xxh3_64(&self.buffer));
        }
    }

    pub fn end(self) -> RowSums {
        self.sums
    }
}

/// A value so that no two values are alike; a whole number is one, however it is kept.
fn put(buffer: &mut Vec<u8>, value: Value<'_>) {
    match value {
        Value::Null => buffer.push(0),
        // 2^63 is no integer of SQLite's, though the nearest one is cast to it.
        Value::Real(real) if real as i64 as f64 == real && real < 9_223_372_036_854_775_808.0 => put(buffer, Value::Integer(real as i64)),
        Value::Integer(integer) => {
            buffer.push(1);
            buffer.extend(integer.to_le_bytes());
        }
        Value::Real(real) => {
            buffer.push(2);
            buffer.extend(real.to_bits().to_le_bytes());
        }
        Value::Text(bytes) | Value::Blob(bytes) => {
            buffer.push(if matches!(value, Value::Text(_)) { 3 } else { 4 });
            buffer.extend(bytes.len().to_le_bytes());
            buffer.extend(bytes);
        }
    }
}

/// What tells a row of a table without rowids.
pub(super) fn key_columns(table: &Table) -> Vec<usize> {
    let own = table.primary_key_index().filter(|_| table.without_rowid);
    own.map_or(Vec::new(), |key| key.columns.iter().filter_map(|column| column.column).collect())
}

impl Reader<'_> {
    /// The sums of a table by its own b-tree, of one that no profile was made of.
    pub(super) fn sums_by_table(&self, table: &Table, range: Option<&crate::plan::profile::RowRange>) -> Result<RowSums> {
        let mut summing = Summing::of(table);
        let mut columns: Vec<usize> =
            summing.witnesses.iter().flat_map(|witness| witness.columns.clone()).chain(summing.key.clone()).collect();
        columns.sort_unstable();
        columns.dedup();
        let mut places = vec![0; table.columns.len()];
        columns.iter().enumerate().for_each(|(place, column)| places[*column] = place);
        self.scan(&Scan::table(table, &columns).range(table, range), |row| {
            summing.add(row.key, |column| row.value(places[column]));
            Ok(())
        })?;
        Ok(summing.end())
    }

    /// The number of rows and their sum by an index alone.
    pub(super) fn sum_by_index(&self, table: &Table, witness: &Witness<'_>) -> rusqlite::Result<(u64, u64)> {
        let (rowid, key) = (rowid_name(table), key_columns(table));
        let mut names: Vec<String> = rowid.iter().map(ToString::to_string).collect();
        names.extend(key.iter().chain(&witness.columns).map(|column| quote(&table.columns[*column].name)));
        if names.is_empty() {
            names.push("NULL".into());
        }
        // Without a WHERE, SQLite reads whatever is smallest, though it is told an index.
        let sql = format!("SELECT {} FROM main.{} INDEXED BY {} WHERE 1", names.join(", "), quote(&table.name), quote(&witness.index.name));
        let mut cursor = Cursor::open(self.connection(), &sql, None)?;
        let (mut rows, mut sum, mut buffer) = (0, 0_u64, Vec::new());
        while let Some(values) = cursor.next()? {
            buffer.clear();
            let values = match (rowid, values) {
                (Some(_), [Value::Integer(rowid), values @ ..]) => {
                    buffer.extend(rowid.to_le_bytes());
                    values
                }
                (_, values) => &values[..key.len() + witness.columns.len()],
            };
            values.iter().for_each(|value| put(&mut buffer, *value));
            rows += 1;
            sum = sum.wrapping_add(xxh3_64(&buffer));
        }
        Ok((rows, sum))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_alike_where_sqlite_has_them_equal() {
        let bytes = |value: Value<'_>| {
            let mut buffer = Vec::new();
            put(&mut buffer, value);
            buffer
        };
        assert_eq!(bytes(Value::Real(5.0)), bytes(Value::Integer(5)));
        assert_eq!(bytes(Value::Real(-9_223_372_036_854_775_808.0)), bytes(Value::Integer(i64::MIN)));
        assert_ne!(bytes(Value::Real(9_223_372_036_854_775_808.0)), bytes(Value::Integer(i64::MAX)));
        assert_ne!(bytes(Value::Text(b"5")), bytes(Value::Blob(b"5")));
    }
}
