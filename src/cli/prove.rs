//! The end of a migration: both sides compared, and what a given schema lacks said.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Result;

use crate::cli::migrate::Verify;
use crate::migrate::{self, Inspected, MigrateReport, PhaseTime};
use crate::model::{Events, Failure, Phase, QualifiedName};
use crate::plan::{CopyMap, TablePlan, Warning};
use crate::postgres::Address;
use crate::sqlite::Snapshot;
use crate::verify;

/// Both sides read again and compared, by code that the copy does not share.
pub(super) async fn prove(
    (how, retried): (Verify, Option<&Path>),
    report: &mut MigrateReport,
    snapshot: Arc<Snapshot>,
    address: &Address,
    events: Events,
    jobs: usize,
) -> Result<()> {
    let started = Instant::now();
    // Rows that were not to come have nothing to be compared with.
    let retry = retried.is_some();
    let all: Vec<CopyMap> = report.plan.tables.iter().map(TablePlan::copy_map).collect();
    let got_rows = |table: &TablePlan| report.tables.iter().any(|known| known.source == table.source);
    let comparable = |table: &&TablePlan| {
        if retry { got_rows(table) } else { !table.without_data }
    };
    // What was proved as it landed needs no second look.
    let proved = |table: &&TablePlan| report.tables.iter().any(|known| known.source == table.source && known.verified == Some(true));
    let left = |table: &&TablePlan| comparable(table) && !proved(table);
    let maps: Vec<CopyMap> = report.plan.tables.iter().filter(left).map(TablePlan::copy_map).collect();
    match how {
        Verify::None => return Ok(()),
        Verify::Counts => {
            // What was there before is not in the run's counts.
            for map in maps.iter().filter(|map| !retry && !map.kept) {
                let table = QualifiedName::new(map.schema.as_str(), map.target.as_str());
                let rows = migrate::through_cuts(async || crate::postgres::count_rows(address, &table).await).await?;
                let written = report.tables.iter().find(|table| table.source == map.source).map(|table| table.rows_written);
                report.verified(&map.source, Some(written == Some(rows)), (None, None));
            }
        }
        Verify::Full => {
            let (schema, rejects) = (report.plan.schema.clone(), retried.map(Path::to_owned).or_else(|| report.rejects_dir.clone()));
            let job = || verify::Job {
                snapshot: Arc::clone(&snapshot),
                address: address.clone(),
                maps: maps.clone(),
                included: Arc::new(|_| true),
                left_out: None,
                schema: schema.clone(),
                jobs,
                sample: verify::Sample::ALL,
                limit: 0,
                strict: false,
                rejects: rejects.clone(),
                events: Arc::clone(&events),
            };
            if let Some(inspected) = report.inspected.clone() {
                compare_given(&job(), &inspected, all, report).await?;
            }
            if maps.is_empty() && report.verify_began.is_some() {
                report.elapsed += started.elapsed();
                return Ok(());
            }
            for table in migrate::through_cuts(async || verify::run(job()).await).await?.tables {
                report.verified(&table.source, table.identical, (table.source_digest, table.target_digest));
            }
        }
    }
    report.phases.retain(|time| time.phase != Phase::Verify);
    let seconds = report.verify_began.unwrap_or(started).elapsed().as_secs_f64();
    report.phases.push(PhaseTime { phase: Phase::Verify, seconds });
    report.elapsed += started.elapsed();
    report.peak_rss_bytes = migrate::peak_rss_bytes();
    Ok(())
}

/// What the source has of keys, indexes and constraints, and a table that was there before has not: said, though its own schema is obeyed.
async fn compare_given(job: &verify::Job, inspected: &Inspected, maps: Vec<CopyMap>, report: &mut MigrateReport) -> Result<()> {
    let given: Vec<&TablePlan> = report.plan.tables.iter().filter(|table| table.create.is_none() && !table.without_data).collect();
    // The registry's own migrations have its schema in another form on purpose.
    if given.is_empty() || report.mapping == "registry" {
        return Ok(());
    }
    let given = given.into_iter().map(|table| table.source.clone()).collect();
    let whole = verify::Job {
        snapshot: Arc::clone(&job.snapshot),
        address: job.address.clone(),
        maps,
        included: Arc::clone(&job.included),
        left_out: None,
        schema: job.schema.clone(),
        jobs: job.jobs,
        sample: job.sample,
        limit: 0,
        strict: false,
        rejects: None,
        events: Arc::clone(&job.events),
    };
    match verify::missing_from_given(&whole, &inspected.schema, &inspected.profiles, given).await {
        Ok(missing) => report.missing_from_given(missing.into_iter().map(|missing| (missing.kind, missing.object, missing.reason))),
        // Without the right to temporary tables there is no telling.
        Err(error) => match error.downcast_ref::<Failure>() {
            Some(failure) if failure.code == "no_rehearsal" => {
                let message = format!("was not compared with the source's schema: {}", failure.message);
                report.warnings.push(Warning::note("schema_not_compared", report.plan.schema.clone(), message));
            }
            _ => return Err(error),
        },
    }
    Ok(())
}
