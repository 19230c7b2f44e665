//! Rows that migrate set aside because PostgreSQL refused them: read from their files, digested as the source's rows are.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::Value as Json;

use crate::digest::RowDigest;
use crate::model::Kept;
use crate::sides::{Normaliser, Pair, reject_files};

/// Digests of a table's rejected rows, with how often each was set aside.
pub type Rejected = HashMap<RowDigest, u64>;

/// Reads every `.jsonl` file of the folder; the digests by the pair's place.
pub fn read(folder: &Path, pairs: &[Pair], normaliser: &mut Normaliser) -> Result<HashMap<usize, Rejected>> {
    let mut rejected: HashMap<usize, Rejected> = HashMap::new();
    for file in reject_files(folder)? {
        let lines = BufReader::new(File::open(&file).with_context(|| format!("read {}", file.display()))?).lines();
        for (number, line) in lines.enumerate() {
            let context = || format!("read {}, line {}", file.display(), number + 1);
            let json: Json = serde_json::from_str(&line.with_context(context)?).with_context(context)?;
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
