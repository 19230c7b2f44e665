//! What a damaged source cannot give is not gone: a refresh that took it for deleted would delete the only whole copy.

use std::collections::HashSet;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};

use crate::migrate::{Job, lost_rows};
use crate::model::{Failure, Schema};
use crate::plan::Warning;
use crate::sides::Pair;
use crate::sqlite::sums_by_tables;

/// Rows that a damaged source cannot give look like rows that it no longer has, and the target may hold the only whole copy of them.
pub fn refuse_salvage(job: &Job) -> Result<()> {
    if job.snapshot.salvages() {
        bail!(
            Failure::new("refresh_of_damaged", "--refresh with --salvage would delete from the target what the damaged source cannot give")
                .hint("Leave the target as it is; migrate --salvage into another --schema to see what can still be read.")
        );
    }
    Ok(())
}

/// The same of what only an index still has: read by the table, it is gone.
pub async fn by_indexes(job: &Job, schema: &Schema, pairs: &[Pair]) -> Result<Vec<Warning>> {
    let (snapshot, schema, readers) = (Arc::clone(&job.snapshot), schema.clone(), job.jobs);
    let wanted: HashSet<String> = pairs.iter().map(|pair| schema.tables[pair.source].name.clone()).collect();
    let found = tokio::task::spawn_blocking(move || {
        let sums = sums_by_tables(&snapshot, &schema, readers, |table| wanted.contains(table))?;
        lost_rows::by_indexes(&snapshot, &schema, readers, |place| sums.get(&place).cloned())
    });
    found.await.context("a reader of the source panicked")?
}
