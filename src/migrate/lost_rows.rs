//! Rows that a table has lost, and values that it has changed, without a trace in itself, and that its indexes tell of: damage that reading the table does not meet.

use anyhow::{Result, bail};

use crate::model::{Failure, Schema};
use crate::plan::Warning;
use crate::plan::profile::RowSums;
use crate::sqlite::{OddIndex, Snapshot, odd_indexes};

/// What the indexes tell; `sums` says what was read of a table by its place, none where it is nobody's business. Rows that are lost or changed are a
/// failure unless the snapshot salvages. Blocking.
pub fn by_indexes(snapshot: &Snapshot, schema: &Schema, readers: usize, sums: impl Fn(usize) -> Option<RowSums>) -> Result<Vec<Warning>> {
    // Of what cannot be read, the indexes have been asked already.
    let damaged = snapshot.damage()?;
    let sums = |place: usize| sums(place).filter(|_| !damaged.contains_key(&schema.tables[place].name));
    let odd = odd_indexes(snapshot, schema, readers, sums)?;
    let mut warnings = Vec::new();
    for (place, table) in schema.tables.iter().enumerate() {
        let of_table: Vec<&OddIndex> = odd.iter().filter(|index| index.table == place).collect();
        let (lost, changed) = (most(&of_table, |index| index.lost), most(&of_table, |index| index.changed));
        if !snapshot.salvages() && (lost.is_some() || changed.is_some()) {
            let lost = lost.map(|index| {
                let named = named(index.lost, &index.lost_examples);
                format!("it has {} rows, and its index {} has {} more{named}", index.rows, index.name, index.lost)
            });
            let changed = changed.map(|index| {
                let named = named(index.changed, &index.changed_examples);
                format!("its index {} has other values of {}{named}", index.name, counted(index.changed))
            });
            let said: Vec<String> = lost.into_iter().chain(changed).collect();
            bail!(Failure::new("source_damaged", format!("table {:?} is damaged: {}", table.name, said.join("; "))).hint(
                "--salvage copies the rows as the table has them, and says what the index has otherwise. If it is the index that is wrong, SQLite's REINDEX mends it."
            ));
        }
        if let Some(OddIndex { rows, name, lost, lost_examples, .. }) = lost {
            let named = named(*lost, lost_examples);
            let message = format!("is damaged: {rows} rows are read; its index {name} has {lost} more, which cannot be read{named}");
            warnings.push(Warning::damage(&table.name, message));
        }
        if let Some(OddIndex { name, changed, changed_examples, .. }) = changed {
            let (rows, named) = (counted(*changed), named(*changed, changed_examples));
            let message = format!("is damaged: its index {name} has other values of {rows}, and those of the table are copied{named}");
            warnings.push(Warning::damage(&table.name, message));
        }
        for index in of_table.into_iter().filter(|_| lost.is_none() && changed.is_none()) {
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

/// The first index with the most of them; none where none has any.
fn most<'a>(indexes: &[&'a OddIndex], number: impl Fn(&OddIndex) -> u64) -> Option<&'a OddIndex> {
    let most = indexes.iter().map(|index| number(index)).max().filter(|most| *most > 0)?;
    indexes.iter().find(|index| number(index) == most).copied()
}

fn counted(rows: u64) -> String {
    if rows == 1 { "1 row".to_string() } else { format!("{rows} rows") }
}

/// ` (id 5; id 77)`
fn named(number: u64, examples: &[String]) -> String {
    let more = if number > examples.len() as u64 { "; …" } else { "" };
    if examples.is_empty() { String::new() } else { format!(" ({}{more})", examples.join("; ")) }
}
