//! Columns that PostgreSQL computes when they are read, and cannot for some row: a difference of their table, as in a copy, and no failure.

use std::collections::HashSet;

use anyhow::Result;

use crate::plan::Warning;
use crate::plan::target::{TargetSchema, TargetTable};
use crate::postgres::{Client, note_unreadable};
use crate::sides::{Pair, cannot_be_read};

/// The tables of the target that have such columns.
pub struct ComputedWhenRead {
    tables: Vec<TargetTable>,
}

/// What became of them.
#[derive(Default)]
pub struct Looked {
    pub warnings: Vec<Warning>,
    /// Pairs with a column that cannot be read.
    pub different: HashSet<usize>,
    /// Pairs with one that could not be read before, and was not compared.
    pub not_compared: HashSet<usize>,
}

impl ComputedWhenRead {
    pub fn of(target: &TargetSchema) -> Self {
        let computes = |table: &&TargetTable| table.columns.iter().any(|column| column.is_virtual);
        ComputedWhenRead { tables: target.tables.iter().filter(computes).cloned().collect() }
    }

    /// Reads them as the rows are now, in the transaction that has changed these.
    pub async fn look(&mut self, control: &Client, pairs: &[Pair]) -> Result<Looked> {
        let mut looked = Looked::default();
        self.tables.retain(|table| pairs.iter().any(|pair| pair.target == table.name));
        note_unreadable(control, self.tables.iter_mut()).await?;
        for (place, pair) in pairs.iter().enumerate() {
            let Some(table) = self.tables.iter().find(|table| table.name == pair.target) else { continue };
            let compared = pair.map.columns.iter().map(|column| (column, true));
            for (column, is_compared) in compared.chain(pair.unread.iter().map(|unread| (&unread.column, false))) {
                let Some(target) = table.columns.iter().find(|target| target.name.as_str() == column.target) else { continue };
                let (code, message) = match &target.unreadable {
                    Some(reason) => {
                        looked.different.insert(place);
                        ("difference", cannot_be_read(&column.source, reason))
                    }
                    None if is_compared => continue,
                    None => {
                        looked.not_compared.insert(place);
                        let message = "could be read in PostgreSQL only when the rows had changed: the next --refresh compares it";
                        ("not_compared", format!("column {:?} {message}", column.source))
                    }
                };
                looked.warnings.push(Warning::note(code, &pair.map.source, message));
            }
        }
        Ok(looked)
    }
}
