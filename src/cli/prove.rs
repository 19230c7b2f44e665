//! The end of a migration: both sides compared, and what a given schema lacks said.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Result;

use crate::cli::migrate::Verify;
use crate::migrate::{self, Inspected, Lacking, MigrateReport, PhaseTime, Prepared};
use crate::model::{Events, Failure, Phase, QualifiedName, Section};
use crate::plan::{CopyMap, ObjectKind, Options, Plan, TablePlan, Warning};
use crate::postgres::{Address, Migrations, Transaction, database_error, sql_failure};
use crate::registry;
use crate::sqlite::Snapshot;
use crate::verify::{self, MissingObject};

/// Both sides read again and compared, by code that the copy does not share.
pub(super) async fn prove(
    (how, retried): (Verify, Option<&Path>),
    options: &Options,
    report: &mut MigrateReport,
    snapshot: Arc<Snapshot>,
    address: &Address,
    events: Events,
    jobs: usize,
) -> Result<()> {
    let started = Instant::now();
    // Rows that were not to come have nothing to be compared with.
    let retry = retried.is_some();
    let got_rows: HashSet<&str> = report.tables.iter().map(|table| table.source.as_str()).collect();
    let comparable = |table: &&TablePlan| {
        if retry { got_rows.contains(table.source.as_str()) } else { !table.without_data }
    };
    // What was proved as it landed needs no second look.
    let proved = report.tables.iter().filter(|table| table.verified == Some(true));
    let proved: HashSet<&str> = proved.map(|table| table.source.as_str()).collect();
    let proved = |table: &&TablePlan| proved.contains(table.source.as_str());
    let left = |table: &&TablePlan| comparable(table) && !proved(table);
    let maps: Vec<CopyMap> = report.plan.tables.iter().filter(left).map(TablePlan::copy_map).collect();
    match how {
        Verify::None => return Ok(()),
        Verify::Counts => {
            // What was there before is not in the run's counts.
            for map in maps.iter().filter(|map| !retry && !map.kept) {
                let table = QualifiedName::new(map.schema.as_str(), map.target.as_str());
                let rows = migrate::through_cuts(&events, async || crate::postgres::count_rows(address, &table).await).await?;
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
                names: options.names,
                schema: schema.clone(),
                jobs,
                sample: verify::Sample::ALL,
                limit: 0,
                strict: false,
                rejects: rejects.clone(),
                events: Arc::clone(&events),
            };
            if let Some(inspected) = report.inspected.clone() {
                let all = report.plan.tables.iter().map(TablePlan::copy_map).collect();
                compare_given(&job(), options, &inspected, all, report).await?;
            }
            if maps.is_empty() && report.verify_began.is_some() {
                report.elapsed += started.elapsed();
                return Ok(());
            }
            for table in migrate::through_cuts(&events, async || verify::run(job()).await).await?.tables {
                let problem = |message: &String| Warning::note("difference", &table.source, message.as_str());
                report.warnings.extend(table.problems.iter().map(problem));
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
async fn compare_given(
    job: &verify::Job,
    options: &Options,
    inspected: &Inspected,
    maps: Vec<CopyMap>,
    report: &mut MigrateReport,
) -> Result<()> {
    let (job, plan) = (of_maps(job, maps), Planned { plan: &report.plan, mapping: &report.mapping, data_only: options.data_only });
    let found = lacking(&job, inspected, &plan, &report.warnings, async |_| Ok(())).await?;
    report.warnings.extend(found);
    Ok(())
}

/// The same before the run, for its plan.
pub(super) async fn foretell_given(job: &migrate::Job, prepared: &Prepared, said: &[Warning]) -> Result<Vec<Warning>> {
    let Some(inspected) = prepared.inspected.as_ref() else { return Ok(Vec::new()) };
    let comparison = verify::Job {
        snapshot: Arc::clone(&job.snapshot),
        address: job.address.clone(),
        maps: prepared.plan.tables.iter().map(TablePlan::copy_map).collect(),
        included: Arc::new(|_| true),
        left_out: None,
        names: job.options.names,
        schema: prepared.plan.schema.clone(),
        jobs: job.jobs,
        sample: verify::Sample::ALL,
        limit: 0,
        strict: false,
        rejects: None,
        events: Arc::clone(&job.events),
    };
    let not_foretold = |why: &str| {
        let message = format!("what tables that are there lack of the source's schema is not foretold: {why}");
        vec![Warning::note("not_foretold", prepared.plan.schema.as_str(), message)]
    };
    let known = Migrations::builtin()?.fingerprint();
    let passes_over = |migrations: &Migrations| {
        // What the registry's own make outside a transaction is nothing that a SQLite file has.
        migrations.has_files_outside_transactions(Section::Indexes) && migrations.fingerprint() != known
    };
    if job.migrations.as_ref().is_some_and(passes_over) {
        return Ok(not_foretold("a migration of --migrations runs outside a transaction"));
    }
    let ready = async |transaction: &Transaction<'_>| prepared.make_as_it_will_be(transaction, job).await;
    let plan = Planned { plan: &prepared.plan, mapping: &job.mapping_name, data_only: job.options.data_only };
    match lacking(&comparison, inspected, &plan, said, ready).await {
        // Rows that the run will take away may be in the way of what it then makes.
        Err(error) if database_error(&error).is_some() => Ok(not_foretold(&sql_failure(error).to_string())),
        found => found,
    }
}

fn of_maps(job: &verify::Job, maps: Vec<CopyMap>) -> verify::Job {
    verify::Job {
        snapshot: Arc::clone(&job.snapshot),
        address: job.address.clone(),
        maps,
        included: Arc::clone(&job.included),
        left_out: None,
        names: job.names,
        schema: job.schema.clone(),
        jobs: job.jobs,
        sample: job.sample,
        limit: 0,
        strict: false,
        rejects: None,
        events: Arc::clone(&job.events),
    }
}

/// What was decided, and by which mapping.
struct Planned<'a> {
    plan: &'a Plan,
    mapping: &'a str,
    data_only: bool,
}

async fn lacking(
    job: &verify::Job,
    inspected: &Inspected,
    &Planned { plan, mapping, data_only }: &Planned<'_>,
    said: &[Warning],
    ready: impl AsyncFnOnce(&Transaction<'_>) -> Result<()>,
) -> Result<Vec<Warning>> {
    let given: HashSet<String> =
        plan.tables.iter().filter(|table| table.create.is_none() && !table.without_data).map(|table| table.source.clone()).collect();
    if given.is_empty() {
        return Ok(Vec::new());
    }
    match verify::missing_from_given(job, (&inspected.schema, &inspected.profiles), given, ready).await {
        Ok(missing) => {
            // What the run makes itself is not there yet when a dry run looks; what it cannot make it says.
            let is_made = |missing: &MissingObject| {
                plan.objects.iter().any(|object| object.kind == ObjectKind::View && object.label == missing.object)
            };
            let is_known = |missing: &MissingObject| {
                mapping == "registry" && registry::keeps_otherwise(&missing.kind, &missing.object, &missing.reason)
            };
            let is_news = |missing: &MissingObject| !is_made(missing) && !is_known(missing);
            let news = missing.into_iter().filter(is_news).map(|missing| {
                let MissingObject { kind, object, reason, differs, .. } = missing;
                Lacking { kind, object, reason, differs }
            });
            Ok(migrate::lacking(said, data_only, news))
        }
        // Without the right to temporary tables there is no telling.
        Err(error) => match error.downcast_ref::<Failure>() {
            Some(failure) if failure.code == "no_rehearsal" => {
                let message = format!("was not compared with the source's schema: {}", failure.message);
                Ok(vec![Warning::note("schema_not_compared", plan.schema.clone(), message)])
            }
            _ => Err(error),
        },
    }
}
