//! `candlefish schema`: which migrations a database has had, and the next ones applied.

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};

use crate::cli::Exit;
use crate::cli::locked::with_holders;
use crate::cli::settings::{Settings, TargetArgs, say_target};
use crate::model::{Event, Failure, MigrationState, MigrationStatus, Name, Section};
use crate::postgres::{Client, Migrations, connect, create_schema, refresh_materialized_views};
use crate::render::{SchemaReport, Ui};

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// List every migration: applied, pending, divergent or missing; exit 1 when not all are applied
    Status(Source),
    /// Apply what is pending, in order: the schema, then the indexes
    Apply {
        #[command(flatten)]
        source: Source,
        /// The last one to apply: 3 stops the schema there and leaves the indexes alone; indexes:2 stops the indexes there
        #[arg(long, value_name = "[SECTION:]V", value_parser = up_to)]
        up_to: Option<UpTo>,
        /// Say what would be applied, and change nothing
        #[arg(long)]
        dry_run: bool,
        /// Make the target schema if it is not there
        #[arg(long)]
        create_schema: bool,
    },
    /// Write what migrate would make of a SQLite file's schema, as files to review; exit 1 when something has no exact form
    Generate(Box<crate::cli::generate::Args>),
    /// Refresh the materialized views, concurrently wherever PostgreSQL can
    Refresh(Place),
}

/// Where the schema is.
#[derive(Debug, clap::Args)]
struct Place {
    #[command(flatten)]
    target: TargetArgs,
    /// The schema that holds the tables
    #[arg(long, value_name = "NAME", default_value = "public")]
    schema: String,
}

/// Which migrations are meant, and where they go.
#[derive(Debug, clap::Args)]
struct Source {
    #[command(flatten)]
    place: Place,
    /// Files of DIR/schema and DIR/indexes, named V1__name.sql
    #[arg(long, value_name = "DIR", conflicts_with = "mapping")]
    migrations: Option<PathBuf>,
    /// The migrations that candlefish brings along for this mapping
    #[arg(long, value_name = "NAME", value_parser = ["registry"])]
    mapping: Option<String>,
}

/// The last migration to apply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct UpTo {
    section: Section,
    version: i32,
}

fn up_to(text: &str) -> Result<UpTo, String> {
    let (section, version) = match text.split_once(':') {
        None => (Section::Schema, text),
        Some(("schema", version)) => (Section::Schema, version),
        Some(("indexes", version)) => (Section::Indexes, version),
        Some((other, _)) => return Err(format!("there is no section {other}: it is schema or indexes")),
    };
    let version = version.trim_start_matches('V').parse().map_err(|_| "a version is a whole number".to_string())?;
    Ok(UpTo { section, version })
}

impl UpTo {
    /// Sections run in order, so those before the named one run whole and those behind it not at all.
    fn of(limit: Option<UpTo>, section: Section) -> Option<i32> {
        match limit {
            Some(limit) if section == limit.section => Some(limit.version),
            Some(limit) if section > limit.section => Some(i32::MIN),
            _ => None,
        }
    }
}

pub async fn run(args: Args, settings: &Settings, ui: &Ui) -> Result<Exit> {
    match args.command {
        Command::Status(source) => status(&source, settings, ui).await.context("read the state of the migrations"),
        Command::Apply { source, up_to, dry_run: true, .. } => plan(&source, up_to, settings, ui).await.context("plan the migrations"),
        Command::Apply { source, up_to, create_schema: create, .. } => {
            let applied = match apply(&source, up_to, create, settings, ui).await {
                Err(error) => Err(with_holders(error, settings, source.place.target.to.as_deref(), &source.place.schema, ui).await),
                applied => applied,
            };
            applied.context("apply the migrations")
        }
        Command::Generate(args) => crate::cli::generate::run(*args, ui).await,
        Command::Refresh(place) => refresh(&place, settings, ui).await.context("refresh the materialized views"),
    }
}

async fn status(source: &Source, settings: &Settings, ui: &Ui) -> Result<Exit> {
    let report = source.place.report();
    let client = source.place.connect(settings, ui).await?;
    let migrations = source.migrations(&client).await?;
    migrations.refuse_undone(&client, &report.schema).await?;
    let statuses = migrations.status(&client, &report.schema).await?;
    report.status(ui, &statuses)?;
    let good = statuses.iter().all(|status| status.state == MigrationState::Applied);
    Ok(if good { Exit::Good } else { Exit::Bad })
}

async fn plan(source: &Source, limit: Option<UpTo>, settings: &Settings, ui: &Ui) -> Result<Exit> {
    let report = source.place.report();
    let client = source.place.connect(settings, ui).await?;
    let migrations = source.migrations(&client).await?;
    let statuses = migrations.status(&client, &report.schema).await?;
    Migrations::refuse_divergent(&statuses)?;
    migrations.refuse_undone(&client, &report.schema).await?;
    let pending: Vec<&MigrationStatus> = statuses
        .iter()
        .filter(|status| status.state == MigrationState::Pending)
        .filter(|status| UpTo::of(limit, status.section).is_none_or(|limit| status.version <= limit))
        .collect();
    report.planned(ui, &pending)?;
    if pending.is_empty() {
        ui.say("up to date: nothing to apply");
    }
    Ok(Exit::Good)
}

async fn apply(source: &Source, limit: Option<UpTo>, create: bool, settings: &Settings, ui: &Ui) -> Result<Exit> {
    let report = source.place.report();
    let mut client = source.place.connect(settings, ui).await?;
    let migrations = source.migrations(&client).await?;
    // Both histories before the first change: a divergent index file is no reason to stop half-way.
    Migrations::refuse_divergent(&migrations.status(&client, &report.schema).await?)?;
    migrations.refuse_undone(&client, &report.schema).await?;
    if create {
        create_schema(&client, &report.schema).await?;
    }
    let mut talk = |event| {
        if let Event::Note(line) = event {
            ui.say(&line);
        }
    };
    let mut applied = Vec::new();
    for section in Section::ALL {
        let limit = UpTo::of(limit, section);
        applied.extend(migrations.apply(&mut client, &report.schema, section, limit, &mut talk).await?);
    }
    report.applied(ui, &applied)?;
    if applied.is_empty() {
        ui.say("up to date: nothing to apply");
    }
    Ok(Exit::Good)
}

async fn refresh(place: &Place, settings: &Settings, ui: &Ui) -> Result<Exit> {
    let report = place.report();
    let client = place.connect(settings, ui).await?;
    let views = refresh_materialized_views(&client, &report.schema).await?;
    report.refreshed(ui, &views)?;
    if views.is_empty() {
        ui.say(&format!("schema {} has no materialized view", report.schema));
    }
    Ok(Exit::Good)
}

impl Place {
    fn report(&self) -> SchemaReport {
        SchemaReport { started_at: jiff::Timestamp::now().to_string(), schema: Name::new(&*self.schema) }
    }

    /// A connection to PostgreSQL itself.
    async fn connect(&self, settings: &Settings, ui: &Ui) -> Result<Client> {
        let address = settings.address(self.target.to.as_deref(), ui)?;
        say_target(&address, ui);
        connect(&address).await
    }
}

impl Source {
    /// The files named, else the built-in ones where they have begun the schema.
    async fn migrations(&self, client: &Client) -> Result<Migrations> {
        if let Some(folder) = &self.migrations {
            return Migrations::from_dir(folder);
        }
        let builtin = Migrations::builtin()?;
        if self.mapping.is_some() || builtin.began(client, &Name::new(&*self.place.schema)).await? {
            return Ok(builtin);
        }
        bail!(
            Failure::new("no_migrations", "no migrations are named, and the schema has no history of the built-in ones")
                .hint("Give your own files with --migrations DIR, or take the registry's with --mapping registry.")
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn up_to_names_the_last_migration_of_a_section() {
        let limits = |text: &str| Section::ALL.map(|section| UpTo::of(Some(up_to(text).unwrap()), section));
        assert_eq!(limits("3"), [Some(3), Some(i32::MIN)]);
        assert_eq!(limits("schema:3"), limits("V3"));
        assert_eq!(limits("indexes:2"), [None, Some(2)]);
        assert_eq!(Section::ALL.map(|section| UpTo::of(None, section)), [None, None]);
        assert!(up_to("views:1").is_err() && up_to("x").is_err());
    }
}
