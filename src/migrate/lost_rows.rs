//! Rows that a table has lost without a trace in itself, and that its indexes tell of: damage that reading the table does not meet.

use std::cmp::Reverse;

use anyhow::{Result, bail};

use crate::model::{Failure, Schema};
use crate::plan::Warning;
use crate::sqlite::{OddIndex, Snapshot, odd_indexes};

/// What the indexes tell; `rows` says how many rows were read of a table by its place, none where it is nobody's business. Rows that are lost are a
/// failure unless the snapshot salvages. Blocking.
pub fn by_indexes(snapshot: &Snapshot, schema: &Schema, readers: usize, rows: impl Fn(usize) -> Option<u64>) -> Result<Vec<Warning>> {
    // Of what cannot be read, the indexes have been asked already.
    let damaged = snapshot.damage()?;
    let rows = |place: usize| rows(place).filter(|_| !damaged.contains_key(&schema.tables[place].name));
    let odd = odd_indexes(snapshot, schema, readers, rows)?;
    let mut warnings = Vec::new();
    for (place, table) in schema.tables.iter().enumerate() {
        let of_table: Vec<&OddIndex> = odd.iter().filter(|index| index.table == place).collect();
        let Some(most) = of_table.iter().min_by_key(|index| Reverse(index.lost)) else { continue };
        if most.lost > 0 {
            let (rows, more, named) = (most.rows, most.lost, named(most));
            if !snapshot.salvages() {
                let message =
                    format!("table {:?} is damaged: it has {rows} rows, and its index {} has {more} more{named}", table.name, most.name);
                bail!(Failure::new("source_damaged", message).hint(
                    "--salvage copies the rows that the table has, and says which it has not. If it is the index that is wrong, SQLite's REINDEX mends it."
                ));
            }
            let message = format!("is damaged: {rows} rows are read; its index {} has {more} more, which cannot be read{named}", most.name);
            warnings.push(Warning::damage(&table.name, message));
            continue;
        }
        for index in of_table {
            let what = match index.entries {
                Some(entries) => format!("has {entries} entries for {} rows", index.rows),
                None => "cannot be read".to_string(),
            };
            let message = format!("{what}: it is damaged in SQLite; the table's rows are all read, and PostgreSQL makes its own of them");
            warnings.push(Warning::note("index_damaged", format!("{}.{}", table.name, index.name), message));
        }
    }
    Ok(warnings)
}

/// ` (id 5; id 77)`
fn named(index: &OddIndex) -> String {
    let more = if index.lost > index.examples.len() as u64 { "; …" } else { "" };
    if index.examples.is_empty() { String::new() } else { format!(" ({}{more})", index.examples.join("; ")) }
}
