//! What `candlefish migrate` can be told.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::{Args as ClapArgs, ValueEnum};

use crate::cli::duration::duration;
use crate::cli::settings::TargetArgs;
use crate::cli::source::SourceArgs;
use crate::migrate::{CHUNK_BYTES, Grant, MaxRejects, RunSection, RunSections};
use crate::model::Failure;
use crate::plan::mapping::closest;
use crate::plan::{DAMAGE, Existing, NameStyle, ObjectKind, SourceTz};
use crate::render::ProgressStyleChoice;

#[derive(Debug, ClapArgs)]
pub struct Args {
    /// The SQLite file
    #[arg(value_name = "SOURCE.db")]
    pub(super) source: PathBuf,
    /// PostgreSQL, as for --to
    #[arg(value_name = "URL", conflicts_with = "to")]
    pub(super) url: Option<String>,
    #[command(flatten)]
    pub(super) target: TargetArgs,
    #[command(flatten)]
    pub(super) reading: SourceArgs,
    #[command(flatten)]
    pub(super) what: What,
    #[command(flatten)]
    pub(super) into: Into_,
    #[command(flatten)]
    pub(super) values: Values,
    /// Show the whole plan, and change nothing
    #[arg(long, help_heading = "Course")]
    pub(super) dry_run: bool,
    /// Make the target of an earlier run equal to the source as it is now, writing only the rows that differ: of the runs of this file, or of the run
    /// that is named, if the file had another name then. Never with --salvage: what a damaged source cannot give would be deleted
    #[arg(
        long,
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "",
        value_name = "RUN_ID",
        help_heading = "Course",
        conflicts_with_all = ["replace", "migrations", "write_mapping", "exclude_data", "grant", "create_db", "create_schema"]
    )]
    pub(super) refresh: Option<String>,
    /// Keep every decision (names, types, transforms, what is left out) as a mapping file for --mapping
    #[arg(long, value_name = "FILE.toml", help_heading = "Course")]
    pub(super) write_mapping: Option<PathBuf>,
    /// Readers of the source and COPY streams at once, fewer with thousands of tables [default: cores, at most 4]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64), help_heading = "Course")]
    pub(super) jobs: Option<u16>,
    /// Go on with the run that was interrupted: the last one of this file into the schema, or the one that is named. With nothing to go on with it begins
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "", value_name = "RUN_ID", conflicts_with_all = ["dry_run", "retry_rejects"], help_heading = "Course")]
    pub(super) resume: Option<String>,
    /// Stop cleanly after this long (60, 60s, 8m), with exit 1 and something to --resume
    #[arg(long, value_name = "DURATION", value_parser = duration, help_heading = "Course")]
    pub(super) stop_after: Option<Duration>,
    /// Wait this long for a target that is not up yet; without it the first connection is tried once
    #[arg(long, value_name = "DURATION", value_parser = duration, help_heading = "Course")]
    pub(super) wait: Option<Duration>,
    /// When the run has ended well, take it out of the target's journal; verify, --refresh and --replace then know nothing of it
    #[arg(long, help_heading = "Course")]
    pub(super) drop_journal: bool,
    /// Bytes of values in one chunk, which is what a kill can cost
    #[arg(long, value_name = "BYTES", default_value_t = CHUNK_BYTES, value_parser = clap::value_parser!(u64).range(1..), hide = true)]
    pub(super) chunk_bytes: u64,
    /// How far to prove the copy
    #[arg(long, value_enum, default_value_t = Verify::Full, value_name = "HOW", help_heading = "Course")]
    pub(super) verify: Verify,
    /// How to show progress
    #[arg(long, value_enum, default_value_t = ProgressChoice::Auto, value_name = "HOW", help_heading = "Course")]
    pub(super) progress: ProgressChoice,
    /// Do not ask before destroying
    #[arg(long, help_heading = "Course")]
    pub(super) yes: bool,
}

impl Args {
    /// A refresh goes by the runs before it, and what is read afterwards goes by the refresh: no journal is left that tells of one without the other.
    pub(super) fn keeps_journal(&self) -> Result<()> {
        if self.refresh.is_some() && self.drop_journal {
            bail!(
                Failure::new("usage", "--refresh goes by the journal, and --drop-journal would take away what the next one goes by")
                    .hint("Leave --drop-journal out: it is for a copy that nothing is to follow.")
            );
        }
        Ok(())
    }

    /// What this process is to do; all, unless something else is said.
    pub(super) fn sections(&self) -> Result<RunSections> {
        if self.what.section.is_empty() {
            return Ok(RunSections::ALL);
        }
        let sections = RunSections::of(self.what.section.iter().copied());
        let usage = |message: &str, hint: &str| Err(Failure::new("usage", message).hint(hint).into());
        if sections.has(RunSection::Verify) && self.verify == Verify::None {
            return usage("--section verify and --verify none contradict each other", "Leave one of them out.");
        }
        let first = sections.has(RunSection::PreData);
        if self.into.replace && !first {
            return usage("--replace drops tables that section pre-data makes again", "Say --replace with --section pre-data.");
        }
        if self.write_mapping.is_some() && !first {
            return usage("--write-mapping writes what section pre-data decides", "Say --write-mapping with --section pre-data.");
        }
        Ok(sections)
    }
}

/// What is copied.
#[derive(Debug, ClapArgs)]
#[command(next_help_heading = "What")]
pub(super) struct What {
    /// How tables and types are found: auto, registry, derive, or a mapping file
    #[arg(long, default_value = "auto", value_name = "auto|registry|derive|FILE.toml")]
    pub(super) mapping: String,
    /// Only the tables that match
    #[arg(long, value_name = "GLOB")]
    pub(super) include: Vec<String>,
    /// Not the tables that match
    #[arg(long, value_name = "GLOB")]
    pub(super) exclude: Vec<String>,
    /// The tables that match, without their rows
    #[arg(long, value_name = "GLOB")]
    pub(super) exclude_data: Vec<String>,
    /// Only this section of the run (repeatable), each a process of its own that goes on where the last one ended: pre-data makes the tables, data
    /// copies the rows, post-data makes keys, indexes, constraints and views, verify compares both sides
    #[arg(
        long,
        value_name = "SECTION",
        value_parser = section,
        conflicts_with_all = ["dry_run", "refresh", "retry_rejects", "data_only", "drop_journal"]
    )]
    pub(super) section: Vec<RunSection>,
    /// Rows alone, and their proof, into the target's own tables with its keys and types; nothing is made
    #[arg(long, conflicts_with_all = ["exclude_data", "migrations", "replace", "refresh", "retry_rejects", "create_schema"])]
    pub(super) data_only: bool,
    /// Names in PostgreSQL
    #[arg(long, value_enum, default_value_t = Names::Exact, value_name = "STYLE")]
    pub(super) names: Names,
    /// Order of derived text columns: C is SQLite's own, default the database's
    #[arg(long, value_enum, default_value_t = CollationChoice::C, value_name = "COLLATION")]
    pub(super) collation: CollationChoice,
    /// Where times without an offset were written: UTC, ±HH:MM, or a zone such as Europe/Berlin
    #[arg(long, default_value = "UTC", value_name = "ZONE", value_parser = SourceTz::parse, allow_hyphen_values = true)]
    pub(super) source_tz: SourceTz,
    /// Migrations that make the schema: DIR/schema runs before the data, DIR/indexes after it
    #[arg(long, value_name = "DIR")]
    pub(super) migrations: Option<PathBuf>,
}

/// Where it goes.
#[derive(Debug, ClapArgs)]
#[command(next_help_heading = "Into what exists")]
pub(super) struct Into_ {
    /// The schema of PostgreSQL
    #[arg(long, default_value = "public", value_name = "NAME")]
    pub(super) schema: String,
    /// Make the schema if it is not there
    #[arg(long)]
    pub(super) create_schema: bool,
    /// Make the database if it is not there
    #[arg(long)]
    pub(super) create_db: bool,
    /// What to do with rows that are there already [default: refuse]; with --refresh, with those that the target alone has [default: they go, but
    /// not where an earlier run has kept rows]
    #[arg(long, value_name = "[GLOB=]truncate|keep", value_parser = existing)]
    pub(super) existing: Vec<(String, Existing)>,
    /// Drop and redo what candlefish itself made in the schema, never more
    #[arg(long, conflicts_with_all = ["include", "exclude", "exclude_data"])]
    pub(super) replace: bool,
    /// Source tables and columns without a place in a given schema
    #[arg(long, value_enum, default_value_t = Extra::Add, value_name = "WHAT")]
    pub(super) on_extra: Extra,
    /// Work as this role
    #[arg(long, value_name = "NAME")]
    pub(super) role: Option<String>,
    /// Give a role the right to read, or to read and write
    #[arg(long, value_name = "ROLE=ro|rw", value_parser = grant)]
    pub(super) grant: Vec<Grant>,
}

/// What happens to values that do not fit.
#[derive(Debug, ClapArgs)]
#[command(next_help_heading = "Values")]
pub(super) struct Values {
    /// A value without an exact form in its column: widen a derived column, set the row aside, or stop
    #[arg(long, value_enum, default_value_t = Misfits::Widen, value_name = "WHAT")]
    pub(super) on_misfit: Misfits,
    /// Where rows are set aside [default: candlefish-rejects/RUN_ID]
    #[arg(long, value_name = "DIR")]
    pub(super) rejects: Option<PathBuf>,
    /// Stop when more rows are set aside; what can be known of them is looked at before the target is touched
    #[arg(long, value_name = "N|P%", value_parser = max_rejects)]
    pub(super) max_rejects: Option<MaxRejects>,
    /// Try rows that an earlier run set aside in this folder again, with the mapping as it is now; what loads leaves the folder
    #[arg(long, value_name = "DIR", conflicts_with_all = ["rejects", "dry_run", "replace", "existing", "migrations", "write_mapping"])]
    pub(super) retry_rejects: Option<PathBuf>,
    /// Losses that are accepted: views, triggers, checks, defaults, …
    #[arg(long, value_name = "CLASS", value_delimiter = ',', value_parser = allow)]
    pub(super) allow: Vec<String>,
    /// Weaker objects (NOT VALID keys, UNIQUE for a primary key) are exit 1 too
    #[arg(long)]
    pub(super) strict: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum Verify {
    /// Every value of every row
    Full,
    /// Only the number of rows
    Counts,
    None,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum ProgressChoice {
    Auto,
    Plain,
    Json,
    None,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(in crate::cli) enum Names {
    Exact,
    Snake,
    Lower,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum CollationChoice {
    #[value(name = "C")]
    C,
    Default,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Extra {
    Add,
    Fail,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Misfits {
    Widen,
    Reject,
    Fail,
}

/// A section by its name.
fn section(text: &str) -> Result<RunSection, String> {
    let names = RunSection::ALL.map(RunSection::as_str);
    RunSection::ALL
        .into_iter()
        .find(|section| section.as_str() == text)
        .ok_or_else(|| format!("`{text}` is no section; there are {}", names.join(", ")))
}

/// A class of losses that there is.
pub(in crate::cli) fn allow(text: &str) -> Result<String, String> {
    if text == DAMAGE {
        return Err("damage to the source is never accepted: half a copy must not look whole".into());
    }
    let classes = ObjectKind::ALL.map(ObjectKind::allow_class);
    if classes.contains(&text) {
        return Ok(text.to_string());
    }
    let meant = closest(text, classes.iter().copied()).map_or(String::new(), |meant| format!("; did you mean `{meant}`?"));
    Err(format!("`{text}` is no class of losses (there are {}){meant}", classes.join(", ")))
}

fn existing(text: &str) -> Result<(String, Existing), String> {
    let (glob, what) = text.rsplit_once('=').unwrap_or(("*", text));
    match what {
        "truncate" => Ok((glob.to_string(), Existing::Truncate)),
        "keep" => Ok((glob.to_string(), Existing::Keep)),
        _ => Err(format!("`{what}` is neither truncate nor keep")),
    }
}

fn grant(text: &str) -> Result<Grant, String> {
    match text.rsplit_once('=') {
        Some((role, "ro")) => Ok(Grant { role: role.into(), write: false }),
        Some((role, "rw")) => Ok(Grant { role: role.into(), write: true }),
        _ => Err("write ROLE=ro or ROLE=rw".into()),
    }
}

fn max_rejects(text: &str) -> Result<MaxRejects, String> {
    match text.strip_suffix('%') {
        Some(percent) => percent.parse().ok().filter(|percent| (0.0..=100.0).contains(percent)).map(MaxRejects::Percent),
        None => text.parse().ok().map(MaxRejects::Rows),
    }
    .ok_or_else(|| format!("`{text}` is neither a number of rows nor a percentage"))
}

impl From<Names> for NameStyle {
    fn from(names: Names) -> Self {
        match names {
            Names::Exact => NameStyle::Exact,
            Names::Snake => NameStyle::Snake,
            Names::Lower => NameStyle::Lower,
        }
    }
}

impl From<ProgressChoice> for ProgressStyleChoice {
    fn from(choice: ProgressChoice) -> Self {
        match choice {
            ProgressChoice::Auto => ProgressStyleChoice::Auto,
            ProgressChoice::Plain => ProgressStyleChoice::Plain,
            ProgressChoice::Json => ProgressStyleChoice::Json,
            ProgressChoice::None => ProgressStyleChoice::None,
        }
    }
}
