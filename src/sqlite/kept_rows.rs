//! Rows that were set aside, as rows of SQLite again: what reads a table's rows reads them too.

use anyhow::{Context as _, Result};
use rusqlite::Connection;

use crate::model::Kept;
use crate::sqlite::cursor::Cursor;
use crate::sqlite::rows::Row;
use crate::sqlite::session::Bound;

/// A table in memory whose columns have no type: values stay what they are.
pub struct KeptRows {
    connection: Connection,
    insert: String,
}

impl KeptRows {
    /// An empty table of so many columns, at least one.
    pub fn new(columns: usize) -> Result<Self> {
        let names: Vec<String> = (0..columns.max(1)).map(|column| format!("c{column}")).collect();
        let marks = vec!["?"; names.len()].join(", ");
        let connection = Connection::open_in_memory().context("make a table in memory")?;
        connection.execute_batch(&format!("CREATE TABLE kept ({})", names.join(", "))).context("make a table in memory")?;
        Ok(KeptRows { connection, insert: format!("INSERT INTO kept VALUES ({marks})") })
    }

    pub fn push(&self, values: &[Kept]) -> Result<()> {
        let mut statement = self.connection.prepare_cached(&self.insert)?;
        let values = values.iter().map(|value| Bound(value.value()));
        statement.execute(rusqlite::params_from_iter(values)).context("keep a row in memory")?;
        Ok(())
    }

    /// Calls `each` for every row in the order in which they came; keys count from 1.
    pub fn scan(&self, mut each: impl FnMut(&Row<'_>) -> Result<()>) -> Result<()> {
        let mut cursor = Cursor::open(&self.connection, "SELECT * FROM kept ORDER BY rowid", None)?;
        let mut key = 0;
        while let Some(values) = cursor.next()? {
            key += 1;
            each(&Row::new(key, values))?;
        }
        Ok(())
    }
}
