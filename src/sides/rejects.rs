//! The files of rows that were set aside, wherever they are read.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::model::Failure;

/// The files of rejects in a folder, in their names' order.
pub fn reject_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).map_err(|error| {
        Failure::new("no_rejects", format!("the folder of rejects {} cannot be read: {error}", folder.display()))
            .hint("migrate names the folder at the end of a run that set rows aside.")
    })?;
    let mut files = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "jsonl") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}
