//! A file that a run will write: tried before the run, so that hours of measuring do not end with "permission denied"; written whole or not at all, and
//! over nothing but an earlier one of its kind.

use std::fs;
use std::io::{BufReader, Read as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::model::Failure;
use crate::render;

/// What is written, and therefore what may stand in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Result,
    Page,
}

/// What every version has written into a result, and nobody else's file has.
#[derive(Deserialize)]
struct OfAResult {
    #[serde(rename = "schema_version")]
    _schema_version: u32,
    #[serde(rename = "candlefish_version")]
    _candlefish_version: String,
    #[serde(rename = "config")]
    _config: IgnoredAny,
    #[serde(rename = "layers")]
    _layers: Vec<IgnoredAny>,
}

impl Kind {
    fn flag(self) -> &'static str {
        match self {
            Kind::Result => "--save",
            Kind::Page => "--html",
        }
    }

    /// An earlier one of the kind, or nothing at all: there is nothing to lose.
    fn may_replace(self, path: &Path) -> std::io::Result<bool> {
        let file = fs::File::open(path)?;
        if file.metadata()?.len() == 0 {
            return Ok(true);
        }
        match self {
            // Read no further than the first character that does not belong there.
            Kind::Result => match serde_json::from_reader::<_, OfAResult>(BufReader::new(file)) {
                Ok(_) => Ok(true),
                Err(error) if error.is_io() => Err(error.into()),
                Err(_) => Ok(false),
            },
            Kind::Page => {
                let mut start = Vec::new();
                file.take(render::BENCH_PAGE_HEAD as u64).read_to_end(&mut start)?;
                Ok(render::is_bench_page(&start))
            }
        }
    }
}

/// Gone with its owner, unless it was written.
pub struct ResultFile {
    path: PathBuf,
    /// Made beside it, and put in its place at the end; none for what is no file, such as a pipe.
    beside: Option<PathBuf>,
}

impl ResultFile {
    /// What stands at the path stays as it is until [`write`](ResultFile::write). `inputs`: what the run reads, which is never written over.
    pub fn prepare(path: &Path, kind: Kind, inputs: &[&Path]) -> Result<Self> {
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
            let hint = || format!("Name another file with {}, or move this one away.", kind.flag());
            if inputs.iter().any(|input| is_same_file(&path, input)) {
                bail!(Failure::new("would_overwrite", format!("{} is what the run reads", path.display())).hint(hint()));
            }
            if !kind.may_replace(&path).with_context(|| format!("look into {}", path.display()))? {
                let message = format!("{} is there, and is not what `bench {}` writes", path.display(), kind.flag());
                bail!(Failure::new("would_overwrite", message).hint(hint()));
            }
        }
        let Some(name) = path.file_name() else {
            bail!(Failure::new("not_a_file", format!("{} names no file", path.display())).hint("Name a file, such as result.json."));
        };
        let beside = path.with_file_name(format!(".{}.{}", name.to_string_lossy(), std::process::id()));
        fs::write(&beside, "").with_context(cannot)?;
        Ok(ResultFile { path, beside: Some(beside) })
    }

    /// By whatever names they were given.
    pub fn is_same(&self, other: &ResultFile) -> bool {
        self.path == other.path || matches!((&self.beside, &other.beside), (Some(mine), Some(others)) if is_same_file(mine, others))
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

fn is_same_file(a: &Path, b: &Path) -> bool {
    let identity = |path: &Path| fs::metadata(path).map(|there| (there.dev(), there.ino()));
    matches!((identity(a), identity(b)), (Ok(a), Ok(b)) if a == b)
}

impl Drop for ResultFile {
    fn drop(&mut self) {
        if let Some(beside) = &self.beside {
            // It is empty, and hidden.
            let _ = fs::remove_file(beside);
        }
    }
}
