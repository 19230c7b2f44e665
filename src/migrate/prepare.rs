//! Both sides read, and the plan made: nothing has been changed when this is done.

use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context as _, Result};
use tokio_postgres::Client;

use crate::migrate::report::{Events, PhaseClock};
use crate::model::{Event, Phase, Schema};
use crate::plan::mapping::Mapping;
use crate::plan::profile::TableProfile;
use crate::plan::{Input, Options, Plan, build};
use crate::postgres::{Section, apply_in_transaction, read_schema};
use crate::sqlite::{self, Snapshot};

/// What one chunk of a big table holds, in bytes of its values.
const CHUNK_BYTES: u64 = 32 * 1024 * 1024;

/// The source as it was read.
pub struct Inspected {
    pub schema: Schema,
    pub profiles: Vec<TableProfile>,
}

/// Reads the source's schema, and every value of every row once.
pub async fn inspect(snapshot: &Arc<Snapshot>, readers: usize, events: &Events, clock: &mut PhaseClock) -> Result<Inspected> {
    let started = Instant::now();
    events(Event::PhaseStarted(Phase::Inspect));
    let snapshot = Arc::clone(snapshot);
    let inspected = tokio::task::spawn_blocking(move || -> Result<Inspected> {
        let schema = snapshot.reader()?.schema()?;
        let profiles = sqlite::profile(&snapshot, &schema, readers, CHUNK_BYTES)?;
        Ok(Inspected { schema, profiles })
    })
    .await
    .context("a reader of the source panicked")??;
    clock.note(Phase::Inspect, started);
    events(Event::PhaseEnded { phase: Phase::Inspect, seconds: started.elapsed().as_secs_f64() });
    Ok(inspected)
}

/// Plans against the target as it is or, with migrations, as it will be once they have run: they are tried in a transaction that is
/// rolled back.
pub async fn plan(
    client: &mut Client,
    inspected: &Inspected,
    mapping: &Mapping,
    options: &Options,
    migrations: Option<&crate::postgres::Migrations>,
    clock: &mut PhaseClock,
) -> Result<Plan> {
    let started = Instant::now();
    let target = match migrations {
        None => read_schema(client, &options.schema).await?,
        Some(migrations) => {
            let transaction = client.transaction().await?;
            apply_in_transaction(&transaction, migrations, Section::Schema, &options.schema).await?;
            let target = read_schema(&transaction, &options.schema).await?;
            transaction.rollback().await?;
            target
        }
    };
    let plan = build(&Input { source: &inspected.schema, profiles: &inspected.profiles, mapping, target: &target, options });
    clock.note(Phase::Plan, started);
    Ok(plan)
}
