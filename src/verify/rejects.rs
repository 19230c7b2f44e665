//! Rows that migrate set aside: read from their files, digested as the source's rows are.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::Value as Json;

use crate::digest::{Misfit, RowDigest};
use crate::model::Kept;
use crate::sides::{Normaliser, Pair, reject_files};
use crate::verify::MOST_MISFITS;

/// What the files tell of one table.
#[derive(Clone, Debug, Default)]
pub struct Rejected {
    /// Rows that PostgreSQL refused, with how often each was set aside.
    pub refused: HashMap<RowDigest, u64>,
    /// Digests of the keys of rows that have no form in PostgreSQL.
    misfits: HashMap<u128, u64>,
    pub rows: u64,
    /// There are rows that cannot be told by their keys, or too many.
    untold: bool,
}

impl Rejected {
    /// The keys of the misfits, where these are all of the `set_aside` rows that runs have set aside and not brought since.
    pub fn misfits_of(&self, set_aside: u64) -> Option<HashMap<u128, u64>> {
        match set_aside {
            0 => Some(HashMap::new()),
            rows => (rows == self.rows && !self.untold).then(|| self.misfits.clone()),
        }
    }

    fn misfit(&mut self, key: u128) {
        if self.untold {
            return;
        }
        *self.misfits.entry(key).or_default() += 1;
        if self.misfits.len() > MOST_MISFITS {
            (self.misfits, self.untold) = (HashMap::new(), true);
        }
    }
}

/// Reads every `.jsonl` file of the folder for the tables at these places; what they tell by place.
pub fn read(folder: &Path, pairs: &[Pair], places: &[usize], normaliser: &mut Normaliser) -> Result<HashMap<usize, Rejected>> {
    let mut rejected: HashMap<usize, Rejected> = HashMap::new();
    for file in reject_files(folder)? {
        let lines = BufReader::new(File::open(&file).with_context(|| format!("read {}", file.display()))?).lines();
        for (number, line) in lines.enumerate() {
            let context = || format!("read {}, line {}", file.display(), number + 1);
            let json: Json = serde_json::from_str(&line.with_context(context)?).with_context(context)?;
            let table = json.get("table").and_then(Json::as_str).unwrap_or_default();
            let Some(place) = places.iter().copied().find(|place| pairs[*place].map.source == table) else { continue };
            let pair = &pairs[place];
            let rejected = rejected.entry(place).or_default();
            rejected.rows += 1;
            let kept: Option<Vec<Kept>> = pair.scanned_names.iter().map(|name| Kept::parse(json.get("row")?.get(name)?)).collect();
            // A generated column, or one that is new, is not in the file: then the row cannot be told.
            let Some(kept) = kept else {
                rejected.untold = true;
                continue;
            };
            match pair.source_digester()?.row(|column| kept[column].value(), normaliser) {
                Ok(digest) => *rejected.refused.entry(digest).or_default() += 1,
                Err(Misfit { key, .. }) => rejected.misfit(key),
            }
            normaliser.check()?;
        }
    }
    Ok(rejected)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_very_many_rows_are_not_held() {
        let mut rejected = Rejected { rows: MOST_MISFITS as u64 + 1, ..Rejected::default() };
        (0..=MOST_MISFITS as u128).for_each(|key| rejected.misfit(key));
        assert_eq!((rejected.misfits_of(rejected.rows), rejected.misfits.len()), (None, 0));
    }
}
