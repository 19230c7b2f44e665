//! A file that a run will write: tried before the run, so that hours of measuring do not end with "permission denied"; written whole or not at all.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use crate::model::Failure;

/// Gone with its owner, unless it was written.
pub struct ResultFile {
    path: PathBuf,
    /// Made beside it, and put in its place at the end; none for what is no file, such as a pipe.
    beside: Option<PathBuf>,
}

impl ResultFile {
    /// What stands at the path stays as it is until [`write`](ResultFile::write).
    pub fn prepare(path: &Path) -> Result<Self> {
        let cannot = || format!("{} cannot be written", path.display());
        let there = match fs::metadata(path) {
            Ok(there) => Some(there),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => return Err(error).with_context(cannot),
        };
        if there.as_ref().is_some_and(fs::Metadata::is_dir) {
            bail!(Failure::new("not_a_file", format!("{} is a folder", path.display())).hint("Name a file in it."));
        }
        if there.as_ref().is_some_and(|there| !there.is_file()) {
            return Ok(ResultFile { path: path.to_path_buf(), beside: None });
        }
        // What a link leads to is replaced, and not the link.
        let path = if there.is_some() { fs::canonicalize(path).with_context(cannot)? } else { path.to_path_buf() };
        if there.is_some() {
            fs::OpenOptions::new().append(true).open(&path).with_context(cannot)?;
        }
        let Some(name) = path.file_name() else {
            bail!(Failure::new("not_a_file", format!("{} names no file", path.display())).hint("Name a file, such as result.json."));
        };
        let beside = path.with_file_name(format!(".{}.{}", name.to_string_lossy(), std::process::id()));
        fs::write(&beside, "").with_context(cannot)?;
        Ok(ResultFile { path, beside: Some(beside) })
    }

    pub fn write(mut self, text: &str) -> Result<()> {
        let cannot = || format!("write {}", self.path.display());
        let Some(beside) = &self.beside else { return fs::write(&self.path, text).with_context(cannot) };
        let written = fs::File::create(beside).and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()));
        written.and_then(|()| fs::rename(beside, &self.path)).with_context(cannot)?;
        self.beside = None;
        Ok(())
    }
}

impl Drop for ResultFile {
    fn drop(&mut self) {
        if let Some(beside) = &self.beside {
            // It is empty, and hidden.
            let _ = fs::remove_file(beside);
        }
    }
}
