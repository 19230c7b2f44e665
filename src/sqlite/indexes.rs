//! What a table's indexes know of its rows. Who reads a table does not miss a row that its b-tree has lost, nor a value that was changed behind SQLite's back: only an
//! index that still has it tells.

use std::collections::HashMap;

use anyhow::{Context as _, Result};
use rusqlite::ErrorCode;

use crate::model::{Schema, Table};
use crate::plan::profile::RowSums;
use crate::sqlite::broken::KeyText;
use crate::sqlite::profile::pieces;
use crate::sqlite::rows::{quote, rowid_name};
use crate::sqlite::share::share;
use crate::sqlite::snapshot::{Reader, Snapshot};
use crate::sqlite::witness::{Witness, key_columns};

/// An index that has not what its table has.
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
    pub lost_examples: Vec<String>,
    /// Rows of which the index has other values; and the first five of them, with the columns: `id 5: at`.
    pub changed: u64,
    pub changed_examples: Vec<String>,
}

/// Reads every index that should have all rows of its table, with `readers` threads. `sums` says what the table at a place in the schema has, none where
/// nobody asks.
pub fn odd_indexes(snapshot: &Snapshot, schema: &Schema, readers: usize, sums: impl Fn(usize) -> Option<RowSums>) -> Result<Vec<OddIndex>> {
    let mut pieces = Vec::new();
    for (place, table) in schema.tables.iter().enumerate() {
        let Some(RowSums { rows, sums }) = sums(place) else { continue };
        pieces.extend(Witness::of(table).into_iter().zip(sums).map(|(witness, sum)| (place, rows, witness, sum)));
    }
    let odd = share(snapshot, readers.min(pieces.len()), &pieces, |reader, (place, rows, witness, sum)| {
        reader.compare(*place, &schema.tables[*place], (*rows, *sum), witness)
    })?;
    Ok(odd.into_iter().flatten().collect())
}

/// The sums of the wanted tables by their own b-trees, by their places; without those that cannot be read, which says whoever reads their rows.
pub fn sums_by_tables(
    snapshot: &Snapshot,
    schema: &Schema,
    readers: usize,
    wanted: impl Fn(&str) -> bool,
) -> Result<HashMap<usize, RowSums>> {
    let pieces = pieces(snapshot, schema, readers, wanted)?;
    let results = share(snapshot, readers, &pieces, |reader, piece| {
        Ok(reader.sums_by_table(&schema.tables[piece.table], piece.range.as_ref()).ok())
    })?;
    let mut all: HashMap<usize, Option<RowSums>> = HashMap::new();
    for (piece, result) in pieces.iter().zip(results) {
        let sums = all.entry(piece.table).or_insert_with(|| Some(RowSums::default()));
        *sums = sums.take().zip(result).map(|(mut sums, part)| {
            sums.merge(&part);
            sums
        });
    }
    Ok(all.into_iter().filter_map(|(table, sums)| Some((table, sums?))).collect())
}

impl Reader<'_> {
    fn compare(&self, place: usize, table: &Table, (rows, sum): (u64, u64), witness: &Witness<'_>) -> Result<Option<OddIndex>> {
        let index = witness.index;
        let mut odd = OddIndex {
            table: place,
            name: index.name.clone(),
            rows,
            entries: None,
            lost: 0,
            lost_examples: Vec::new(),
            changed: 0,
            changed_examples: Vec::new(),
        };
        match self.sum_by_index(table, witness) {
            Ok(entries) if entries == (rows, sum) => return Ok(None),
            Ok((entries, _)) => odd.entries = Some(entries),
            Err(error) => match error.sqlite_error_code() {
                Some(ErrorCode::DatabaseCorrupt | ErrorCode::SystemIoFailure) => return Ok(Some(odd)),
                // It is of a function or a module that is not here, and nothing is known of it.
                Some(ErrorCode::Unknown) => return Ok(None),
                _ => return Err(error).with_context(|| format!("read the index {:?}", index.name)),
            },
        }
        let key = match rowid_name(table) {
            Some(rowid) => vec![table.rowid_alias.map_or(rowid.to_string(), |alias| table.columns[alias].name.clone())],
            None => key_columns(table).iter().map(|column| table.columns[*column].name.clone()).collect(),
        };
        if key.is_empty() {
            odd.lost = odd.entries.unwrap_or_default().saturating_sub(rows);
            odd.changed = u64::from(odd.entries == Some(rows));
            return Ok(Some(odd));
        }
        let own = table.primary_key_index().filter(|_| table.without_rowid);
        let own = own.map_or("NOT INDEXED".to_string(), |key| format!("INDEXED BY {}", quote(&key.name)));
        let (name, named) = (quote(&table.name), KeyText::of(&key));
        let keys: Vec<String> = key.iter().map(|name| format!("c.{}", quote(name))).collect();
        let same: Vec<String> = key.iter().map(|name| format!("r.{0} = c.{0}", quote(name))).collect();
        let (keys, same) = (keys.join(", "), same.join(" AND "));
        let from = format!("FROM main.{name} AS c INDEXED BY {}", quote(&index.name));

        let lost = format!("{from} WHERE NOT EXISTS (SELECT 1 FROM main.{name} AS r {own} WHERE {same})");
        (odd.lost, odd.lost_examples) = self
            .count_and_list(
                &format!("count(DISTINCT {named}) {lost}"),
                &format!("CAST({named} AS TEXT) {lost} GROUP BY {keys} ORDER BY {keys}"),
            )
            .with_context(|| format!("look for rows that only the index {:?} knows", index.name))?;
        if !witness.columns.is_empty() {
            let is_other: Vec<(String, String)> = witness
                .columns
                .iter()
                .map(|column| &table.columns[*column].name)
                .map(|name| (name.clone(), format!("r.{0} IS NOT c.{0} COLLATE BINARY", quote(name))))
                .collect();
            let any: Vec<&str> = is_other.iter().map(|(_, other)| other.as_str()).collect();
            let which: Vec<String> = is_other
                .iter()
                .map(|(name, other)| format!("CASE WHEN {other} THEN ', {}' ELSE '' END", name.replace('\'', "''")))
                .collect();
            // As it stands: the index outside, and each of its rows looked up in the table.
            let changed = format!("{from} CROSS JOIN main.{name} AS r {own} WHERE {same} AND ({})", any.join(" OR "));
            let text = format!("CAST({named} || ': ' || ltrim({}, ', ') AS TEXT)", which.join(" || "));
            (odd.changed, odd.changed_examples) = self
                .count_and_list(&format!("count(*) {changed}"), &format!("{text} {changed} ORDER BY {keys}"))
                .with_context(|| format!("look for rows of which the index {:?} has other values", index.name))?;
        }
        Ok(Some(odd))
    }

    /// What the one asks for as a number, and the first five texts of the other.
    fn count_and_list(&self, count: &str, list: &str) -> Result<(u64, Vec<String>)> {
        let number = self.connection().query_row(&format!("SELECT {count}"), [], |row| row.get::<_, i64>(0))?.unsigned_abs();
        if number == 0 {
            return Ok((0, Vec::new()));
        }
        let mut statement = self.connection().prepare(&format!("SELECT {list} LIMIT 5"))?;
        let text =
            |row: &rusqlite::Row<'_>| Ok(String::from_utf8_lossy(row.get_ref(0)?.as_bytes_or_null()?.unwrap_or_default()).into_owned());
        let texts = statement.query_map([], text)?.collect::<Result<_, _>>()?;
        Ok((number, texts))
    }
}
