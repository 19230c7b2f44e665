//! Rows, streamed: values are borrowed from SQLite's own pages, one row at a time.

use anyhow::{Context as _, Result};
use rusqlite::types::ValueRef;

use crate::model::{Table, TableKind, Value};
use crate::plan::profile::RowRange;
use crate::sqlite::snapshot::{Reader, explain};

/// Which columns and rows of a table to read.
#[derive(Clone, Debug)]
pub struct Scan {
    sql: String,
    range: Option<(i64, i64)>,
    has_rowid: bool,
    columns: usize,
}

/// The row that the scan stands on.
pub struct Row<'a, 'stmt> {
    row: &'a rusqlite::Row<'stmt>,
    /// The rowid; in a table without one, the ordinal from 1.
    pub key: i64,
    offset: usize,
}

impl Row<'_, '_> {
    /// The value of the scan's column `index`.
    #[inline]
    pub fn value(&self, index: usize) -> Value<'_> {
        match self.row.get_ref_unwrap(index + self.offset) {
            ValueRef::Null => Value::Null,
            ValueRef::Integer(integer) => Value::Integer(integer),
            ValueRef::Real(real) => Value::Real(real),
            ValueRef::Text(text) => Value::Text(text),
            ValueRef::Blob(blob) => Value::Blob(blob),
        }
    }
}

impl Scan {
    /// All rows of `table`, with these of its columns, in the order of its b-tree.
    pub fn table(table: &Table, columns: &[usize]) -> Self {
        let rowid = rowid_name(table);
        let mut names: Vec<String> = columns.iter().map(|column| quote(&table.columns[*column].name)).collect();
        if let Some(rowid) = rowid {
            names.insert(0, rowid.to_string());
        }
        if names.is_empty() {
            names.push("NULL".into());
        }
        // An index could serve the columns in another order; the b-tree's own order is the fastest and the one of the ranges.
        let hint = if table.kind == TableKind::Ordinary { " NOT INDEXED" } else { "" };
        Scan {
            sql: format!("SELECT {} FROM main.{}{hint}", names.join(", "), quote(&table.name)),
            range: None,
            has_rowid: rowid.is_some(),
            columns: columns.len(),
        }
    }

    /// Only the rows of the range; for tables with rowids.
    pub fn range(mut self, table: &Table, range: Option<&RowRange>) -> Self {
        if let (Some(range), Some(rowid)) = (range, rowid_name(table)) {
            self.sql.push_str(&format!(" WHERE {rowid} BETWEEN ?1 AND ?2"));
            self.range = Some((range.first, range.last));
        }
        self
    }

    pub fn columns(&self) -> usize {
        self.columns
    }
}

/// A name of the rowid that no column of the table hides.
pub(super) fn rowid_name(table: &Table) -> Option<&'static str> {
    if table.without_rowid || table.kind != TableKind::Ordinary {
        return None;
    }
    ["rowid", "_rowid_", "oid"].into_iter().find(|name| table.column_index(name).is_none())
}

/// SQLite's quoting of an identifier.
pub(super) fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

impl Reader<'_> {
    /// The smallest and largest rowid, each by one step into the b-tree; none where there are no rowids or no rows.
    pub fn rowid_bounds(&self, table: &Table) -> Option<(i64, i64)> {
        let rowid = rowid_name(table)?;
        let name = quote(&table.name);
        let sql = format!("SELECT (SELECT min({rowid}) FROM main.{name}), (SELECT max({rowid}) FROM main.{name})");
        // A table that cannot be read says so when its rows are.
        self.connection().query_row(&sql, [], |row| Ok((row.get(0)?, row.get(1)?))).ok()
    }

    /// Calls `each` for every row; an error of `each` ends the scan. Returns how many rows were read.
    pub fn scan(&self, scan: &Scan, mut each: impl FnMut(&Row<'_, '_>) -> Result<()>) -> Result<u64> {
        let mut statement = self.connection().prepare(&scan.sql).map_err(|error| explain(error.into())).context("read rows")?;
        let mut rows = match scan.range {
            Some((first, last)) => statement.query([first, last])?,
            None => statement.query([])?,
        };
        let offset = usize::from(scan.has_rowid);
        let mut count = 0;
        while let Some(row) =
            rows.next().map_err(|error| explain(error.into())).with_context(|| format!("read row {} of the scan", count + 1))?
        {
            count += 1;
            let key = if scan.has_rowid { row.get_ref_unwrap(0).as_i64().unwrap_or(count as i64) } else { count as i64 };
            each(&Row { row, key, offset })?;
        }
        Ok(count)
    }
}
