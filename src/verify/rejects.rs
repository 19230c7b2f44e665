//! Rows that migrate set aside because PostgreSQL refused them: read from their files, digested as the source's rows are.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use serde_json::Value as Json;

use crate::digest::RowDigest;
use crate::model::{Failure, Kept};
use crate::sides::{Normaliser, Pair};

/// Digests of a table's rejected rows, with how often each was set aside.
pub type Rejected = HashMap<RowDigest, u64>;

/// Reads every `.jsonl` file of the folder; the digests by the pair's place.
pub fn read(folder: &Path, pairs: &[Pair], normaliser: &mut Normaliser) -> Result<HashMap<usize, Rejected>> {
    let mut rejected: HashMap<usize, Rejected> = HashMap::new();
    for file in files(folder)? {
        let text = fs::read_to_string(&file).with_context(|| format!("read {}", file.display()))?;
        for (number, line) in text.lines().enumerate() {
            let json: Json = serde_json::from_str(line).with_context(|| format!("read {}, line {}", file.display(), number + 1))?;
            let table = json.get("table").and_then(Json::as_str).unwrap_or_default();
            let Some(place) = pairs.iter().position(|pair| pair.map.source == table) else { continue };
            let pair = &pairs[place];
            let kept: Option<Vec<Kept>> = pair.scanned_names.iter().map(|name| Kept::parse(json.get("row")?.get(name)?)).collect();
            // A generated column, or one that is new, is not in the file: then the row cannot be told.
            let Some(kept) = kept else { continue };
            // One that has no form in PostgreSQL is known to be set aside without the file.
            if let Ok(digest) = pair.source_digester()?.row(|column| kept[column].value(), normaliser) {
                *rejected.entry(place).or_default().entry(digest).or_default() += 1;
            }
            normaliser.check()?;
        }
    }
    Ok(rejected)
}

fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let Ok(entries) = fs::read_dir(folder) else {
        bail!(
            Failure::new("no_rejects", format!("there is no folder {} to read rejects from", folder.display()))
                .hint("migrate names the folder at the end of a run that set rows aside.")
        );
    };
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
