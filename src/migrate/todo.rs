//! `todo.sql`: every object without an exact form in PostgreSQL, with what SQLite said and why it was left.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::plan::Todo;

/// Writes the file into the folder of rejects; none when there is nothing to do.
pub fn write(folder: &Path, todo: &[Todo]) -> Result<Option<PathBuf>> {
    if todo.is_empty() {
        return Ok(None);
    }
    let path = folder.join("todo.sql");
    std::fs::create_dir_all(folder)
        .and_then(|()| std::fs::write(&path, text(todo)))
        .with_context(|| format!("write {}", path.display()))?;
    Ok(Some(path))
}

/// The file's text.
pub fn text(todo: &[Todo]) -> String {
    let mut text = String::from(
        "-- What candlefish could not say exactly in PostgreSQL. Each object: what it is, why it was left, and SQLite's own words.\n",
    );
    for item in todo {
        text.push_str(&format!("\n-- {} {}\n-- {}\n", item.kind.as_str(), one_line(&item.object), one_line(&item.reason)));
        for line in item.original.lines() {
            text.push_str(&format!("--   {line}\n"));
        }
    }
    text
}

/// A line break would end the comment.
fn one_line(text: &str) -> String {
    text.replace(['\n', '\r'], " ")
}
