//! Rows that migrate set aside because PostgreSQL refused them: read from their files, digested as the source's rows are.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::Value as Json;

use crate::digest::RowDigest;
use crate::model::{Failure, Value};
use crate::sides::Normaliser;
use crate::sides::Pair;

/// Digests of a table's rejected rows, with how often each was set aside.
pub type Rejected = HashMap<RowDigest, u64>;

/// A value as the file keeps it.
enum Kept {
    Null,
    Integer(i64),
    Real(f64),
    Text(Vec<u8>),
    Blob(Vec<u8>),
}

impl Kept {
    fn parse(json: &Json) -> Option<Self> {
        let base64 = || json.get("base64").and_then(Json::as_str).and_then(|text| BASE64.decode(text).ok());
        let value = json.get("value");
        Some(match json.get("type")?.as_str()? {
            "null" => Kept::Null,
            "integer" => Kept::Integer(value?.as_i64()?),
            // The text is exact where the number may not be.
            "real" => Kept::Real(json.get("text")?.as_str()?.parse().ok()?),
            "text" => Kept::Text(base64().or_else(|| Some(value?.as_str()?.as_bytes().to_vec()))?),
            "blob" => Kept::Blob(base64()?),
            _ => return None,
        })
    }

    fn value(&self) -> Value<'_> {
        match self {
            Kept::Null => Value::Null,
            Kept::Integer(integer) => Value::Integer(*integer),
            Kept::Real(real) => Value::Real(*real),
            Kept::Text(text) => Value::Text(text),
            Kept::Blob(blob) => Value::Blob(blob),
        }
    }
}

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
