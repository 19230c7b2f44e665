//! What a table's indexes know of its rows. Who reads a table does not miss a row that its b-tree has lost: only an index that still has it tells.

use anyhow::{Context as _, Result};

use crate::model::{Index, IndexOrigin, Schema, Table, TableKind};
use crate::sqlite::broken::KeyText;
use crate::sqlite::rows::{count_by_index, quote, rowid_name};
use crate::sqlite::share::share;
use crate::sqlite::snapshot::{Reader, Snapshot};

/// An index that has not as many entries as its table has rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OddIndex {
    /// The table's place in `Schema::tables`.
    pub table: usize,
    pub name: String,
    pub rows: u64,
    /// None where the index itself cannot be read.
    pub entries: Option<u64>,
    /// Rows that the index has, and the table has not; and the first five of them: `id 5`.
    pub lost: u64,
    pub examples: Vec<String>,
}

/// Counts every index that should have all rows of its table, with `readers` threads. `rows` says how many rows the table
/// at a place in the schema has, none where nobody asks.
pub fn odd_indexes(snapshot: &Snapshot, schema: &Schema, readers: usize, rows: impl Fn(usize) -> Option<u64>) -> Result<Vec<OddIndex>> {
    let mut pieces = Vec::new();
    for (place, table) in schema.tables.iter().enumerate().filter(|(_, table)| table.kind == TableKind::Ordinary) {
        let Some(rows) = rows(place) else { continue };
        // The index of a key without rowids is the table itself.
        let is_apart = |index: &&Index| index.predicate.is_none() && !(table.without_rowid && index.origin == IndexOrigin::PrimaryKey);
        pieces.extend(table.indexes.iter().filter(is_apart).map(|index| (place, rows, index)));
    }
    let odd = share(snapshot, readers.min(pieces.len()), &pieces, |reader, (place, rows, index)| {
        reader.compare(*place, &schema.tables[*place], *rows, index)
    })?;
    Ok(odd.into_iter().flatten().collect())
}

impl Reader<'_> {
    /// How many rows the table has by its own b-tree; none where that cannot be read.
    pub fn rows_by_table(&self, table: &Table) -> Option<u64> {
        let sql = format!("SELECT count(*) FROM main.{} NOT INDEXED", quote(&table.name));
        self.connection().query_row(&sql, [], |row| row.get::<_, i64>(0)).ok().map(i64::unsigned_abs)
    }

    fn compare(&self, place: usize, table: &Table, rows: u64, index: &Index) -> Result<Option<OddIndex>> {
        let from = format!("FROM main.{} AS c INDEXED BY {}", quote(&table.name), quote(&index.name));
        let number = |sql: &str| self.connection().query_row(sql, [], |row| row.get::<_, i64>(0)).map(i64::unsigned_abs);
        let mut odd = OddIndex { table: place, name: index.name.clone(), rows, entries: None, lost: 0, examples: Vec::new() };
        match number(&count_by_index(table, index)) {
            Ok(entries) if entries == rows => return Ok(None),
            Ok(entries) => odd.entries = Some(entries),
            Err(error) if error.sqlite_error_code() == Some(rusqlite::ErrorCode::DatabaseCorrupt) => return Ok(Some(odd)),
            // It is of a function or a module that is not here, and nothing is known of it.
            Err(_) => return Ok(None),
        }
        let key = match (rowid_name(table), table.primary_key_index().filter(|_| table.without_rowid)) {
            (Some(rowid), _) => vec![table.rowid_alias.map_or(rowid.to_string(), |alias| table.columns[alias].name.clone())],
            (None, Some(key)) => key.columns.iter().filter_map(|column| Some(table.columns[column.column?].name.clone())).collect(),
            (None, None) => Vec::new(),
        };
        if key.is_empty() {
            odd.lost = odd.entries.unwrap_or_default().saturating_sub(rows);
            return Ok(Some(odd));
        }
        let own = table.primary_key_index().filter(|_| table.without_rowid);
        let own = own.map_or("NOT INDEXED".to_string(), |key| format!("INDEXED BY {}", quote(&key.name)));
        let keys: Vec<String> = key.iter().map(|name| format!("c.{}", quote(name))).collect();
        let same: Vec<String> = key.iter().map(|name| format!("r.{0} = c.{0}", quote(name))).collect();
        let lost = format!("{from} WHERE NOT EXISTS (SELECT 1 FROM main.{} AS r {own} WHERE {})", quote(&table.name), same.join(" AND "));
        let context = || format!("look for rows that only the index {:?} knows", index.name);
        let named = KeyText::of(&key);
        odd.lost = number(&format!("SELECT count(DISTINCT {named}) {lost}")).with_context(context)?;
        let examples = format!("SELECT CAST({named} AS TEXT) {lost} GROUP BY {0} ORDER BY {0} LIMIT 5", keys.join(", "));
        let mut statement = self.connection().prepare(&examples).with_context(context)?;
        let text =
            |row: &rusqlite::Row<'_>| Ok(String::from_utf8_lossy(row.get_ref(0)?.as_bytes_or_null()?.unwrap_or_default()).into_owned());
        let examples = statement.query_map([], text).with_context(context)?;
        odd.examples = examples.collect::<Result<_, _>>().with_context(context)?;
        Ok(Some(odd))
    }
}
