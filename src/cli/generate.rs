//! `candlefish schema generate`: a SQLite file's schema as migrations to review.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use clap::ValueEnum as _;

use crate::cli::Exit;
use crate::cli::migrate::{CollationChoice, Names, allow, choose_mapping, default_jobs};
use crate::cli::resume::quoted;
use crate::cli::source::SourceArgs;
use crate::migrate;
use crate::model::Failure;
use crate::plan::{Options, Severity};
use crate::render::{self, Progress, ProgressStyleChoice, Ui};
use crate::sqlite::Snapshot;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The SQLite file
    #[arg(value_name = "SOURCE.db")]
    source: PathBuf,
    /// The folder of migrations, made where it is missing: DIR/schema and DIR/indexes, and DIR/todo.sql for what has no exact form
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    #[command(flatten)]
    reading: SourceArgs,
    /// The schema of PostgreSQL that the tables are for
    #[arg(long, value_name = "NAME", default_value = "public")]
    schema: String,
    /// How types are found: derive, or a mapping file
    #[arg(long, default_value = "derive", value_name = "derive|FILE.toml")]
    mapping: String,
    /// Only the tables that match
    #[arg(long, value_name = "GLOB")]
    include: Vec<String>,
    /// Not the tables that match
    #[arg(long, value_name = "GLOB")]
    exclude: Vec<String>,
    /// Names in PostgreSQL
    #[arg(long, value_enum, default_value_t = Names::Exact, value_name = "STYLE")]
    names: Names,
    /// Order of derived text columns: C is SQLite's own, default the database's
    #[arg(long, value_enum, default_value_t = CollationChoice::C, value_name = "COLLATION")]
    collation: CollationChoice,
    /// Losses that are accepted: views, triggers, checks, defaults, …
    #[arg(long, value_name = "CLASS", value_delimiter = ',', value_parser = allow)]
    allow: Vec<String>,
    /// Overwrite files that say something else
    #[arg(long)]
    force: bool,
}

pub async fn run(args: Args, ui: &Ui) -> Result<Exit> {
    let context = format!("generate migrations from {}", args.source.display());
    generate(args, ui).await.context(context)
}

async fn generate(args: Args, ui: &Ui) -> Result<Exit> {
    let started_at = jiff::Timestamp::now().to_string();
    let jobs = default_jobs();
    let snapshot = Arc::new(Snapshot::open(&args.source, &args.reading.open_options(jobs))?);
    if args.mapping == "registry" || args.mapping == "auto" {
        bail!(
            Failure::new("bad_mapping", format!("--mapping {} has migrations of its own, or may have", args.mapping))
                .hint("--mapping takes derive or a TOML file; the registry's own migrations come with --mapping registry of migrate.")
        );
    }
    let chosen = choose_mapping(&args.mapping, None, &snapshot, ui)?;
    let options = Options {
        schema: args.schema.clone(),
        names: args.names.into(),
        collate_c: args.collation == CollationChoice::C,
        include: args.include.clone(),
        exclude: args.exclude.clone(),
        ..Options::default()
    };
    let progress = Arc::new(Progress::new(ui, ProgressStyleChoice::Auto));
    let shown = Arc::clone(&progress);
    let events: crate::model::Events = Arc::new(move |event| shown.show(&event));
    let generated = migrate::generate(&snapshot, &chosen.mapping, &options, jobs, &events).await;
    progress.finish();
    let generated = generated?;
    write(&args.out, &generated.files, args.force)?;
    let names: Vec<String> = generated.files.iter().map(|(name, _)| args.out.join(name).display().to_string()).collect();
    render::schema_generated(ui, &started_at, &names, &generated.warnings)?;
    ui.say(&format!("next: read them, change what you will, and run {}", next_line(&args)));
    let allowed = |class: &str| args.allow.iter().any(|allowed| allowed == class);
    let loses = generated.warnings.iter().any(|warning| warning.severity == Severity::Loss && !allowed(&warning.class));
    Ok(if loses { Exit::Bad } else { Exit::Good })
}

/// The line that uses the files: with all that was said here and means something there too.
fn next_line(args: &Args) -> String {
    let path = |path: &Path| path.display().to_string();
    let value = |choice: Option<clap::builder::PossibleValue>| choice.map(|value| value.get_name().to_string());
    let mut words = vec!["candlefish".to_string(), "migrate".into(), path(&args.source), "--migrations".into(), path(&args.out)];
    let mut say = |flag: &str, value: Option<String>| words.extend(value.into_iter().flat_map(|value| [flag.to_string(), value]));
    say("--schema", Some(args.schema.clone()).filter(|schema| schema != "public"));
    say("--mapping", Some(args.mapping.clone()).filter(|mapping| mapping != "derive"));
    args.include.iter().for_each(|glob| say("--include", Some(glob.clone())));
    args.exclude.iter().for_each(|glob| say("--exclude", Some(glob.clone())));
    say("--names", value(args.names.to_possible_value()).filter(|_| !matches!(args.names, Names::Exact)));
    say("--collation", value(args.collation.to_possible_value()).filter(|_| args.collation != CollationChoice::C));
    say("--allow", Some(args.allow.join(",")).filter(|allowed| !allowed.is_empty()));
    say("--snapshot", args.reading.snapshot.as_deref().map(path));
    let said = [("--block-writers", args.reading.block_writers), ("--salvage", args.reading.salvage)];
    words.extend(said.into_iter().filter(|(_, said)| *said).map(|(flag, _)| flag.to_string()));
    words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ")
}

/// All files or none: what somebody may have changed is not overwritten unasked.
fn write(folder: &Path, files: &[(&'static str, String)], force: bool) -> Result<()> {
    for part in ["schema", "indexes"] {
        let there = std::fs::read_dir(folder.join(part)).into_iter().flatten().flatten();
        for entry in there.filter(|entry| entry.path().extension().is_some_and(|extension| extension == "sql")) {
            let text = std::fs::read_to_string(entry.path()).unwrap_or_default();
            let same = files.iter().any(|(name, wanted)| folder.join(name) == entry.path() && *wanted == text);
            let ours = files.iter().any(|(name, _)| folder.join(name) == entry.path());
            let replaced = force && ours;
            if !same && !replaced {
                bail!(
                    Failure::new("file_exists", format!("{} is there already, and is not what would be written", entry.path().display()))
                        .hint("Give --out another folder; --force overwrites files of the same names.")
                );
            }
        }
        let part = folder.join(part);
        std::fs::create_dir_all(&part).with_context(|| format!("make the folder {}", part.display()))?;
    }
    for (name, text) in files {
        let path = folder.join(name);
        std::fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
    }
    Ok(())
}
