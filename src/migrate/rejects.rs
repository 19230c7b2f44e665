//! Rows set aside: per table a file of JSON lines with key, column, reason and the row's original values.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use anyhow::{Context as _, Result, anyhow};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Map, Value as Json, json};

use crate::model::{Kept, Table, Value};
use crate::sqlite::Row;

/// The folder of rejects, made when the first row is set aside.
#[derive(Debug)]
pub struct Rejects {
    folder: PathBuf,
    files: Mutex<HashMap<String, File>>,
}

/// A row that did not go into PostgreSQL.
#[derive(Clone, Debug)]
pub struct RejectedRow {
    pub key: Json,
    pub column: Option<String>,
    pub reason: String,
    pub sqlstate: Option<String>,
    pub row: Json,
}

impl Rejects {
    pub fn new(folder: PathBuf) -> Self {
        Rejects { folder, files: Mutex::new(HashMap::new()) }
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// True when a row has been set aside.
    pub fn any(&self) -> bool {
        self.files.lock().is_ok_and(|files| !files.is_empty())
    }

    pub fn write(&self, table: &str, rows: &[RejectedRow]) -> Result<()> {
        if rows.is_empty() {
            return Ok(());
        }
        let mut files = self.files.lock().map_err(|_| anyhow!("a writer of rejects panicked"))?;
        if !files.contains_key(table) {
            let path = path(&self.folder, table);
            let open = || -> std::io::Result<File> {
                std::fs::create_dir_all(&self.folder)?;
                OpenOptions::new().create(true).append(true).open(&path)
            };
            files.insert(table.to_string(), open().with_context(|| format!("open {}", path.display()))?);
        }
        let file = files.get_mut(table).context("the file was just opened")?;
        let mut text = Vec::new();
        for row in rows {
            serde_json::to_writer(&mut text, &row.line(table))?;
            text.push(b'\n');
        }
        file.write_all(&text).and_then(|()| file.sync_data()).with_context(|| format!("write rejects of {table:?}"))
    }
}

impl RejectedRow {
    /// What the file has of it.
    pub fn line(&self, table: &str) -> Json {
        json!({
            "table": table,
            "key": self.key,
            "column": self.column,
            "reason": self.reason,
            "sqlstate": self.sqlstate,
            "row": self.row,
        })
    }
}

/// The file of a table's rejects.
pub fn path(folder: &Path, table: &str) -> PathBuf {
    folder.join(format!("{}.jsonl", file_stem(table)))
}

/// A table's name as a file's: what a file system could misread is written as %XX.
fn file_stem(table: &str) -> String {
    let mut stem = String::new();
    for byte in table.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'-' => stem.push(char::from(byte)),
            _ => stem.push_str(&format!("%{byte:02X}")),
        }
    }
    stem.truncate(200);
    stem
}

/// The row's key for a person and a program: its primary key's values, else its rowid.
pub fn key(table: &Table, scanned: &[usize], row: &Row<'_, '_>) -> Json {
    let mut key = Map::new();
    if let Some(primary) = &table.primary_key {
        for column in &primary.columns {
            if let Some(place) = scanned.iter().position(|scanned| scanned == column) {
                key.insert(table.columns[*column].name.clone(), plain(row.value(place)));
            }
        }
    }
    if key.is_empty() || key.values().any(Json::is_null) {
        key.insert("rowid".into(), json!(row.key));
    }
    Json::Object(key)
}

/// Every value with its storage class: `{"type": "text", "value": "…"}`; bytes as base64.
pub fn original(table: &Table, scanned: &[usize], row: &Row<'_, '_>) -> Json {
    let columns = scanned.iter().enumerate().map(|(place, column)| (table.columns[*column].name.clone(), Kept::write(row.value(place))));
    Json::Object(columns.collect())
}

fn plain(value: Value<'_>) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Integer(integer) => json!(integer),
        Value::Real(real) => json!(real),
        Value::Text(bytes) => json!(String::from_utf8_lossy(bytes)),
        Value::Blob(bytes) => json!({"base64": BASE64.encode(bytes)}),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_can_have_any_name() {
        assert_eq!(file_stem("orders"), "orders");
        assert_eq!(file_stem(&format!("a{}", "я".repeat(50))).len(), 200);
        assert_eq!(file_stem("../etc/passwd"), "%2E%2E%2Fetc%2Fpasswd");
    }
}
