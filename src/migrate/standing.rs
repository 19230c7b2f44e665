//! What a run has done so far, as its journal says: everything that must not be done again.

use std::collections::HashMap;

use anyhow::{Context as _, Result};

use crate::migrate::finish::Built;
use crate::plan::target::Rebuildable;
use crate::postgres::{GenericClient, Journal, LandedChunk};

#[derive(Debug, Default)]
pub struct Standing {
    /// By source table.
    landed: HashMap<String, HashMap<usize, LandedChunk>>,
    steps: HashMap<String, Built>,
}

impl Standing {
    pub async fn read(client: &impl GenericClient, run_id: &str) -> Result<Self> {
        let mut standing = Standing::default();
        for chunk in Journal::landed_chunks(client, run_id).await? {
            standing.landed.entry(chunk.source.clone()).or_default().insert(chunk.number, chunk);
        }
        for (step, said) in Journal::steps(client, run_id).await? {
            let built = serde_json::from_str(&said).with_context(|| format!("read what step {step:?} of the run came to"))?;
            standing.steps.insert(step, built);
        }
        Ok(standing)
    }

    pub fn chunk(&self, table: &str, number: usize) -> Option<&LandedChunk> {
        self.landed.get(table)?.get(&number)
    }

    pub fn chunks_of(&self, table: &str) -> impl Iterator<Item = &LandedChunk> {
        self.landed.get(table).into_iter().flat_map(HashMap::values)
    }

    pub fn chunks(&self) -> impl Iterator<Item = &LandedChunk> {
        self.landed.values().flat_map(HashMap::values)
    }

    /// What all that is done came to; the first halves of steps are in their wholes.
    pub fn built(&self) -> Built {
        let mut steps: Vec<(&String, &Built)> = self.steps.iter().filter(|(step, _)| !step.ends_with(BEGUN)).collect();
        steps.sort_unstable_by_key(|(step, _)| *step);
        steps.into_iter().fold(Built::default(), |mut all, (_, built)| {
            all.merge(built.clone());
            all
        })
    }

    /// What a step that is done came to.
    pub fn step(&self, step: &str) -> Option<&Built> {
        self.steps.get(step)
    }
}

/// The names of steps. A plan never changes within a run, so places in it are names.
pub fn table_step(table: usize) -> String {
    format!("table {table}")
}

pub fn object_step(object: usize) -> String {
    format!("object {object}")
}

pub fn rebuild_step(table: usize, object: &Rebuildable) -> String {
    let partition = object.partition.as_ref().map_or(String::new(), |partition| format!(" of {partition}"));
    format!("rebuild {table} {} {}{partition}", object.kind.as_str(), object.name.as_str())
}

const BEGUN: &str = " begun";

/// The first of a step's two halves: a constraint is there, and old rows are not yet checked.
pub fn begun(step: &str) -> String {
    format!("{step}{BEGUN}")
}

pub const ANALYZE_STEP: &str = "analyze";
pub const SEQUENCES_STEP: &str = "sequences";
pub const NOT_VALID_STEP: &str = "not valid";
pub const VIEWS_READ_STEP: &str = "views read";

/// Columns that are added to a table that was there.
pub fn columns_step(table: usize) -> String {
    format!("columns {table}")
}
