//! Rows set aside: per table a file of JSON lines with key, column, reason and the row's original values.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{BufRead as _, BufReader, BufWriter, Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context as _, Result, anyhow};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Map, Value as Json, json};

use crate::migrate::asked::Changed;
use crate::migrate::encode::{ColumnMisfit, RowMisfit};
use crate::model::{Kept, Table, Value};
use crate::plan::TablePlan;
use crate::sqlite::Row;

/// The folder of rejects, made when the first row is set aside.
#[derive(Debug)]
pub struct Rejects {
    folder: PathBuf,
    run_id: String,
    /// False where nothing is to be left of what is set aside.
    is_written: bool,
    files: Mutex<HashMap<String, File>>,
}

/// A row that did not go into PostgreSQL.
#[derive(Clone, Debug)]
pub struct RejectedRow {
    pub key: Json,
    pub column: Option<String>,
    pub reason: String,
    /// Further columns that do not fit: (column, reason).
    pub also: Vec<(String, String)>,
    pub sqlstate: Option<String>,
    pub row: Json,
}

impl Rejects {
    pub fn new(folder: PathBuf, run_id: &str) -> Self {
        Rejects { folder, run_id: run_id.to_string(), is_written: true, files: Mutex::new(HashMap::new()) }
    }

    /// For a look: no file is made.
    pub fn unwritten(folder: PathBuf, run_id: &str) -> Self {
        Rejects { is_written: false, ..Rejects::new(folder, run_id) }
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Begins to set rows of a chunk aside.
    pub fn aside(&self, table: &str, chunk: usize) -> Aside {
        Aside {
            folder: self.folder.clone(),
            table: table.to_string(),
            chunk,
            run_id: self.run_id.clone(),
            rows: 0,
            lines: Vec::new(),
            spilled: None,
        }
    }

    /// Writes rows of a chunk, onto the disk.
    pub fn write(&self, table: &str, chunk: usize, rows: &[RejectedRow]) -> Result<()> {
        if !self.is_written {
            return Ok(());
        }
        let mut aside = self.aside(table, chunk);
        rows.iter().try_for_each(|row| aside.add(row))?;
        self.keep(aside)
    }

    /// Writes what was set aside of a chunk, onto the disk, before the chunk itself lands.
    pub fn keep(&self, mut aside: Aside) -> Result<()> {
        if aside.rows == 0 {
            return Ok(());
        }
        let table = aside.table.as_str();
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
        let mut written = || -> std::io::Result<()> {
            let before = file.metadata()?.len();
            let mut write = || {
                if let Some(spilled) = &mut aside.spilled {
                    spilled.rewind()?;
                    std::io::copy(spilled, file)?;
                }
                file.write_all(&aside.lines)?;
                file.sync_data()
            };
            write().inspect_err(|_| {
                // No half line stays on a disk that is full; where that fails too, whoever goes on takes it out.
                let _ = file.set_len(before);
            })
        };
        written().with_context(|| format!("write rejects of {table:?}"))
    }
}

/// Rows of one chunk that are set aside, until it is known that the chunk lands without them. However many they are, few are in memory.
#[derive(Debug)]
pub struct Aside {
    folder: PathBuf,
    table: String,
    chunk: usize,
    run_id: String,
    pub rows: u64,
    lines: Vec<u8>,
    /// A file without a name: nothing is left of it when nobody holds it.
    spilled: Option<File>,
}

impl Aside {
    const IN_MEMORY: usize = 256 * 1024;

    pub fn add(&mut self, row: &RejectedRow) -> Result<()> {
        let mut line = row.line(&self.table);
        // By these a run that goes on knows which of its rows count.
        line["run_id"] = json!(self.run_id);
        line["chunk"] = json!(self.chunk);
        serde_json::to_writer(&mut self.lines, &line)?;
        self.lines.push(b'\n');
        self.rows += 1;
        if self.lines.len() > Self::IN_MEMORY {
            self.spill().with_context(|| format!("write rejects of {:?} into {}", self.table, self.folder.display()))?;
        }
        Ok(())
    }

    fn spill(&mut self) -> std::io::Result<()> {
        let file = match &mut self.spilled {
            Some(file) => file,
            None => self.spilled.insert(unnamed(&self.folder)?),
        };
        file.write_all(&self.lines)?;
        self.lines.clear();
        Ok(())
    }
}

/// On the disk of the folder: where temporary files are usually kept may be memory.
fn unnamed(folder: &Path) -> std::io::Result<File> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    std::fs::create_dir_all(folder)?;
    let path = folder.join(format!(".aside-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed)));
    let file = OpenOptions::new().read(true).write(true).create_new(true).open(&path)?;
    std::fs::remove_file(&path)?;
    Ok(file)
}

impl RejectedRow {
    /// A row that could not be encoded.
    pub fn misfit(plan: &TablePlan, misfit: RowMisfit, key: Json, row: Json) -> Self {
        let name = |misfit: &ColumnMisfit| misfit.source(plan).map(str::to_string);
        RejectedRow {
            key,
            column: name(&misfit.first),
            reason: misfit.first.reason,
            also: misfit.others.into_iter().filter_map(|other| Some((name(&other)?, other.reason))).collect(),
            sqlstate: None,
            row,
        }
    }

    /// A row with values that their types would change.
    pub fn changed(first: Changed, others: Vec<Changed>, key: Json, row: Json) -> Self {
        let also = others.into_iter().map(|other| (other.column, other.reason)).collect();
        RejectedRow { key, column: Some(first.column), reason: first.reason, also, sqlstate: None, row }
    }

    /// What the file has of it.
    pub fn line(&self, table: &str) -> Json {
        let mut line = json!({
            "table": table,
            "key": self.key,
            "column": self.column,
            "reason": self.reason,
            "sqlstate": self.sqlstate,
            "row": self.row,
        });
        if !self.also.is_empty() {
            line["also"] = self.also.iter().map(|(column, reason)| json!({"column": column, "reason": reason})).collect();
        }
        line
    }
}

/// The file of a table's rejects.
pub fn path(folder: &Path, table: &str) -> PathBuf {
    folder.join(format!("{}.jsonl", file_stem(table)))
}

/// Takes out of `from` the run's rows whose chunk has not landed: they will be set aside again, or arrive. Into another folder, the run's other
/// rows are brought along.
pub fn forget_unlanded(from: &Path, into: &Path, run_id: &str, has_landed: impl Fn(&str, usize) -> bool) -> Result<()> {
    let Ok(entries) = std::fs::read_dir(from) else { return Ok(()) };
    for entry in entries {
        let path = entry.with_context(|| format!("read the folder {}", from.display()))?.path();
        if path.extension().is_some_and(|extension| extension == "jsonl") {
            let target = into.join(path.file_name().context("a file has a name")?);
            forget_in_file(&path, &target, run_id, &has_landed).with_context(|| format!("go through the rejects in {}", path.display()))?;
        }
    }
    Ok(())
}

/// Of every line.
const BEGINNING: &[u8] = b"{\"table\":";

fn forget_in_file(path: &Path, target: &Path, run_id: &str, has_landed: &impl Fn(&str, usize) -> bool) -> Result<()> {
    let parsed = |line: &[u8]| serde_json::from_slice::<Json>(line).ok();
    let of_run = |row: &Option<Json>| row.as_ref().is_some_and(|row| row["run_id"] == run_id);
    let landed = |row: &Option<Json>| {
        let Some(row) = row else { return false };
        let number = row["chunk"].as_u64().and_then(|number| usize::try_from(number).ok());
        row["table"].as_str().zip(number).is_some_and(|(table, number)| has_landed(table, number))
    };
    let moved = path != target;
    if moved {
        std::fs::create_dir_all(target.parent().context("a file is in a folder")?)?;
    }
    let part = target.with_extension("jsonl.part");
    let mut kept = BufWriter::new(File::create(&part)?);
    let mut changed = false;
    let mut keep = |from: &Path, wanted: &dyn Fn(&Option<Json>) -> bool, whole: bool| -> Result<()> {
        let (mut lines, mut line) = (BufReader::new(File::open(from)?), Vec::new());
        while lines.read_until(b'\n', &mut line)? > 0 {
            let row = parsed(&line);
            // A line that a killed process or a full disk left half, however short, belongs to a chunk that did not land.
            let half = row.is_none() && !line.ends_with(b"\n") && (line.starts_with(BEGINNING) || BEGINNING.starts_with(&line));
            let stays = !half && wanted(&row);
            changed |= stays != whole;
            if stays {
                kept.write_all(&line)?;
            }
            line.clear();
        }
        Ok(())
    };
    if moved {
        if target.exists() {
            keep(target, &|row| !of_run(row), true)?;
        }
        keep(path, &|row| of_run(row) && landed(row), false)?;
    } else {
        keep(path, &|row| !of_run(row) || landed(row), true)?;
    }
    kept.into_inner().map_err(std::io::IntoInnerError::into_error)?.sync_data()?;
    if changed {
        std::fs::rename(&part, target)?
    } else {
        std::fs::remove_file(&part)?
    }
    Ok(())
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
pub fn key(table: &Table, scanned: &[usize], row: &Row<'_>) -> Json {
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
pub fn original(table: &Table, scanned: &[usize], row: &Row<'_>) -> Json {
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
    fn only_the_runs_own_rows_of_chunks_that_did_not_land_are_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let (one, two) = (folder.path().join("one"), folder.path().join("two"));
        std::fs::create_dir(&one).unwrap();
        let file = one.join("t.jsonl");
        let line = |run: &str, chunk: usize| format!("{}\n", json!({"table": "t", "row": {}, "run_id": run, "chunk": chunk}));
        let (landed, not, other) = (line("r", 0), line("r", 1), line("another", 1));
        let foreign = "somebody's own\n";
        // However little of a line there is.
        for torn in ["{", "{\"tab", "{\"table\":\"t\",\"key"] {
            std::fs::write(&file, format!("{landed}{other}{foreign}{not}{torn}")).unwrap();
            forget_unlanded(&one, &one, "r", |_, chunk| chunk == 0).unwrap();
            assert_eq!(std::fs::read_to_string(&file).unwrap(), format!("{landed}{other}{foreign}"));
        }
        // Brought into another folder, twice: still once there.
        for _ in 0..2 {
            forget_unlanded(&one, &two, "r", |_, chunk| chunk == 0).unwrap();
            assert_eq!(std::fs::read_to_string(two.join("t.jsonl")).unwrap(), landed);
        }
        assert_eq!(std::fs::read_dir(&two).unwrap().count(), 1);
    }

    #[test]
    fn a_table_can_have_any_name() {
        assert_eq!(file_stem("orders"), "orders");
        assert_eq!(file_stem(&format!("a{}", "я".repeat(50))).len(), 200);
        assert_eq!(file_stem("../etc/passwd"), "%2E%2E%2Fetc%2Fpasswd");
    }
}
