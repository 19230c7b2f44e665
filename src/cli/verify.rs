//! `candlefish verify`: every row of both sides compared.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use globset::{Glob, GlobSet, GlobSetBuilder};

use crate::cli::Exit;
use crate::cli::locked::with_holders;
use crate::cli::migrate::{choose_mapping, default_jobs};
use crate::cli::settings::{Settings, TargetArgs, say_target};
use crate::cli::source::SourceArgs;
use crate::migrate::{self, OnMisfit};
use crate::model::Failure;
use crate::plan::{CopyMap, NameStyle, Options};
use crate::postgres::{Address, Journal, session};
use crate::render::{self, Progress, ProgressStyleChoice, Ui};
use crate::sqlite::Snapshot;
use crate::verify::{self, Included, Job, Outcome, Sample};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The SQLite database
    #[arg(value_name = "SOURCE.db")]
    source: PathBuf,
    /// The PostgreSQL database; the same as --to
    #[arg(value_name = "URL", conflicts_with = "to")]
    url: Option<String>,
    #[command(flatten)]
    target: TargetArgs,
    #[command(flatten)]
    reading: SourceArgs,
    /// The schema that holds the tables
    #[arg(long, value_name = "NAME", default_value = "public")]
    schema: String,
    /// Compare only tables of the source whose names match (repeatable)
    #[arg(long, value_name = "GLOB")]
    include: Vec<String>,
    /// Leave out tables of the source whose names match (repeatable)
    #[arg(long, value_name = "GLOB")]
    exclude: Vec<String>,
    /// Readers of either side [default: the machine's cores, at most 4]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    jobs: Option<u16>,
    /// Compare only this share of the rows, chosen by their keys
    #[arg(long, value_name = "P%", value_parser = percent)]
    sample: Option<f64>,
    /// How many differences of a table are listed
    #[arg(long, value_name = "N", default_value_t = 20)]
    limit: usize,
    /// Count rows that were set aside as different, and with --schema-objects constraints that are NOT VALID, and what was added to a table
    /// and may refuse or change rows
    #[arg(long)]
    strict: bool,
    /// Compare the schemas too: types, keys, indexes, constraints, views, triggers, defaults, and where sequences go on; what was added is listed
    #[arg(long)]
    schema_objects: bool,
    /// The folder of the rows that migrate has set aside [default: where each table's runs put theirs]
    #[arg(long, value_name = "DIR")]
    rejects: Option<PathBuf>,
    /// Read as this role
    #[arg(long, value_name = "NAME")]
    role: Option<String>,
}

fn percent(text: &str) -> Result<f64, String> {
    let number: f64 = text.strip_suffix('%').unwrap_or(text).parse().map_err(|_| "a share is a number such as 5%".to_string())?;
    if number > 0.0 && number <= 100.0 { Ok(number) } else { Err("a share is above 0% and at most 100%".to_string()) }
}

pub async fn run(args: Args, settings: &Settings, ui: &Ui) -> Result<Exit> {
    let source = args.source.display().to_string();
    let (to, schema) = (args.target.to.clone().or_else(|| args.url.clone()), args.schema.clone());
    let compared = match compare(args, settings, ui).await {
        Err(error) => Err(with_holders(error, settings, to.as_deref(), &schema, ui).await),
        compared => compared,
    };
    compared.with_context(|| format!("verify {source}"))
}

async fn compare(args: Args, settings: &Settings, ui: &Ui) -> Result<Exit> {
    let started_at = jiff::Timestamp::now().to_string();
    let jobs = args.jobs.map_or_else(default_jobs, usize::from);
    let snapshot = Arc::new(Snapshot::open(&args.source, &args.reading.open_options(jobs))?);
    let address = settings.address(args.target.to.as_deref().or(args.url.as_deref()), ui)?;
    say_target(&address, ui);
    let address = address.with_role(args.role.as_deref());
    let path = std::path::absolute(&args.source)?.display().to_string();
    let known = match Known::by_runs(&address, &args.schema, &path).await? {
        Some(known) => known,
        None => {
            ui.say(&format!("no run of migrate has written into schema {:?}: tables and types are matched as migrate would", args.schema));
            Known::derived(&args, &snapshot, &address, jobs, ui).await?
        }
    };
    let Known { mut maps, left_out, names } = known;
    let tables = snapshot.reader()?.schema()?.tables.into_iter().map(|table| table.name).collect::<Vec<_>>();
    let included = included(&args, &maps, &tables)?;
    if args.rejects.is_none() {
        leave_away(maps.iter_mut().filter(|map| included(&map.source)), ui);
    }
    let progress = Arc::new(Progress::new(ui, ProgressStyleChoice::Auto));
    let shown = Arc::clone(&progress);
    let job = Job {
        snapshot,
        address,
        included,
        maps,
        left_out: Some(left_out),
        names,
        schema: args.schema,
        jobs,
        sample: args.sample.map_or(Sample::ALL, Sample::percent),
        limit: args.limit,
        strict: args.strict,
        rejects: args.rejects,
        events: Arc::new(move |event| shown.show(&event)),
    };
    let strict = job.strict;
    let report = async {
        let objects = if args.schema_objects { Some(verify::schema_objects(&job).await?) } else { None };
        let report = verify::run(job).await?;
        anyhow::Ok(match objects {
            Some(objects) => report.with_objects(objects, strict),
            None => report,
        })
    }
    .await;
    progress.finish();
    let report = report?;
    for note in &report.notes {
        ui.warn(note);
    }
    for table in &report.tables {
        if let Some(rows) = table.rows_in_rejects.filter(|rows| *rows < table.rows_set_aside) {
            let (aside, name) = (table.rows_set_aside, &table.source);
            ui.warn(&format!(
                "{aside} rows of {name} are set aside, and the files of rejects have {rows} of them: the others are only in the source"
            ));
        }
    }
    if report.source_changed {
        ui.warn("the source was written to meanwhile; the state before that was compared");
    }
    render::verify(ui, &report, &started_at)?;
    Ok(if report.outcome == Outcome::Different { Exit::Bad } else { Exit::Good })
}

/// What is known of how the source came into the target.
struct Known {
    maps: Vec<CopyMap>,
    /// Tables that were left out on purpose.
    left_out: HashSet<String>,
    names: NameStyle,
}

impl Known {
    /// What the journal says of the last run into the schema, and of earlier ones for tables that the last one left out; none without a run.
    async fn by_runs(address: &Address, schema: &str, source: &str) -> Result<Option<Self>> {
        let client = session(address, None).await?;
        if !Journal::exists(&client).await? {
            return Ok(None);
        }
        let Some(mut maps) = Journal::last_maps(&client, schema, source).await? else { return Ok(None) };
        for earlier in Journal::newest_maps(&client, schema, source).await? {
            if !maps.iter().any(|map| map.source.eq_ignore_ascii_case(&earlier.source)) {
                maps.push(earlier);
            }
        }
        for aside in Journal::set_aside(&client, schema, source).await? {
            for map in maps.iter_mut().filter(|map| map.source == aside.table) {
                map.set_aside = aside.rows;
                map.rejects = aside.folder.clone().filter(|_| aside.rows != Some(0));
            }
        }
        let settings = Journal::last_settings(&client, schema, source).await?;
        Ok(Some(Known {
            maps,
            left_out: Journal::setting(&settings, "left_out")?.unwrap_or_default(),
            names: Journal::setting(&settings, "names")?.unwrap_or_default(),
        }))
    }

    /// How migrate would copy the source into the target as it stands.
    async fn derived(args: &Args, snapshot: &Arc<Snapshot>, address: &Address, jobs: usize, ui: &Ui) -> Result<Self> {
        let chosen = choose_mapping("auto", None, snapshot, ui)?;
        let mut maps = migrate::derived_maps(&migrate::Job {
            snapshot: Arc::clone(snapshot),
            address: address.clone(),
            mapping: chosen.mapping,
            mapping_name: chosen.name,
            // The tables are there already, however they were made.
            migrations: None,
            options: Options { schema: args.schema.clone(), given_schema: true, ..Options::default() },
            jobs,
            chunk_bytes: migrate::CHUNK_BYTES,
            role: None,
            grants: Vec::new(),
            on_misfit: OnMisfit::Reject,
            max_rejects: None,
            rejects_dir: PathBuf::new(),
            rejects_asked: false,
            replace: false,
            prove: false,
            sections: migrate::RunSections::ALL,
            run_id: String::new(),
            call: migrate::Call::default(),
            events: Arc::new(|_| {}),
            began: std::time::Instant::now(),
        })
        .await?;
        // Where no run has been none has set rows aside, unless files of them are shown.
        maps.iter_mut().filter(|_| args.rejects.is_none()).for_each(|map| map.set_aside = Some(0));
        // Nor has one kept rows of the target's own: those that are there alone are differences.
        maps.iter_mut().for_each(|map| (map.kept, map.kept_rows) = (false, None));
        Ok(Known { maps, left_out: HashSet::new(), names: NameStyle::default() })
    }
}

/// Folders of rejects may be on another machine: says so of each that is not here, and looks into none.
fn leave_away<'a>(maps: impl Iterator<Item = &'a mut CopyMap>, ui: &Ui) {
    let mut away: Vec<PathBuf> = Vec::new();
    for map in maps {
        let Some(folder) = map.rejects.take_if(|folder| !folder.is_dir()) else { continue };
        if !away.contains(&folder) {
            ui.warn(&format!("rows were set aside in {}, which is not here: --rejects DIR says where it is now", folder.display()));
            away.push(folder);
        }
    }
}

fn included(args: &Args, maps: &[CopyMap], tables: &[String]) -> Result<Included> {
    let known: Vec<&str> = maps.iter().map(|map| map.source.as_str()).chain(tables.iter().map(String::as_str)).collect();
    let (include, exclude) = (globs(&args.include, &known)?, globs(&args.exclude, &known)?);
    let all = args.include.is_empty();
    Ok(Arc::new(move |table| (all || include.is_match(table)) && !exclude.is_match(table)))
}

/// A pattern that matches no table is a mistake.
fn globs(patterns: &[String], known: &[&str]) -> Result<GlobSet> {
    let mut set = GlobSetBuilder::new();
    for pattern in patterns {
        let glob = Glob::new(pattern).map_err(|error| Failure::new("bad_glob", error.to_string()))?;
        let matcher = glob.compile_matcher();
        if !known.iter().any(|table| matcher.is_match(table)) {
            let failure =
                Failure::new("no_match", format!("the pattern {pattern:?} matches no table of the source, and none that was copied"));
            bail!(failure.hint("Patterns are for the source's table names; * stands for any characters."));
        }
        set.add(glob);
    }
    Ok(set.build()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_a_percentage() {
        assert_eq!((percent("5%"), percent("0.5")), (Ok(5.0), Ok(0.5)));
        assert!(percent("0").is_err() && percent("101%").is_err() && percent("half").is_err());
    }
}
