//! Many small tables: what a table costs beside its rows.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use rusqlite::Connection;

pub const TABLES: u32 = 2_000;
pub const ROWS: u32 = 3;

/// A file of `TABLES` tables with `ROWS` rows each: a key, a unique column, a reference to the table before.
pub fn write(folder: &Path) -> Result<PathBuf> {
    let file = folder.join("tiny.db");
    if file.exists() {
        fs::remove_file(&file).context("remove the tiny tables of before")?;
    }
    let connection = Connection::open(&file)?;
    let mut sql = String::from("PRAGMA synchronous = OFF; BEGIN;\n");
    for table in 0..TABLES {
        let parent = table.saturating_sub(1);
        sql += &format!(
            "CREATE TABLE t{table:04} (id INTEGER PRIMARY KEY, code TEXT NOT NULL UNIQUE, amount REAL, parent_id INTEGER REFERENCES t{parent:04}(id));
             INSERT INTO t{table:04} VALUES (1, 'a', 0.5, NULL), (2, 'b', 1.5, 1), (3, 'c', NULL, 3);\n"
        );
    }
    connection.execute_batch(&(sql + "COMMIT;")).context("write the tiny tables")?;
    Ok(file)
}
