//! The command line: arguments, settings, dispatch. One thin file a command.

mod bench;
mod cache;
mod completions;
mod config;
mod doctor;
mod duration;
mod generate;
mod locked;
mod memory;
mod migrate;
mod monitor;
mod pgbouncer;
mod prove;
mod psql;
mod refresh;
mod resume;
mod runs;
mod schema;
pub mod settings;
mod signals;
mod source;
mod stack;
mod stats;
mod top;
mod verify;

use std::io::Write as _;
use std::path::PathBuf;
use std::pin::Pin;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::{Parser, Subcommand};

use crate::cli::settings::{Environment, Settings};
use crate::model::{Failure, masked};
use crate::render::{ColorChoice, Format, Ui, left_unsaid};

/// Moves a SQLite database into PostgreSQL, proves it, and keeps it fast there.
#[derive(Debug, Parser)]
#[command(name = "candlefish", version, propagate_version = true, max_term_width = 110)]
pub struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// What every command takes.
#[derive(Clone, Debug, clap::Args)]
pub struct Global {
    /// How results are printed
    #[arg(long, global = true, value_enum, default_value_t = Format::Table, value_name = "FORMAT")]
    pub format: Format,
    /// Short for --format json
    #[arg(long, global = true)]
    pub json: bool,
    /// When to use colour
    #[arg(long, global = true, value_enum, default_value_t = ColorChoice::Auto, value_name = "WHEN")]
    pub color: ColorChoice,
    /// Settings file [default: candlefish.toml, where there is one]
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Say nothing but results and errors
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// Explain what is done and why (repeat for more)
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Copy a SQLite database into PostgreSQL, and prove it
    Migrate(Box<migrate::Args>),
    /// The runs of migrate that the target's journal knows, and how to go on with them
    Runs(runs::Args),
    /// Compare every row of a SQLite file with PostgreSQL; exit 1 when anything differs
    Verify(Box<verify::Args>),
    /// Migrations of the target: list them, apply them, refresh its materialized views
    Schema(schema::Args),
    /// Load tests: what the database bears, measured so that it can be believed
    Bench(Box<bench::Args>),
    /// See what the database does: slow queries, cache hits, locks, indexes, and more
    Stats(Box<stats::Args>),
    /// Look into the caches of the registry's application, and make them forget
    Cache(Box<cache::Args>),
    /// PgBouncer in front of the target
    #[command(subcommand)]
    Pgbouncer(pgbouncer::Command),
    /// Watch a database: metrics against rules, alerts that are told in time, a page to look at
    Monitor(Box<monitor::Args>),
    /// Verdicts on a server, its pooler and its Redis, with reasons and remedies; exit 1 when something is wrong
    Doctor(doctor::Args),
    /// The watch, live in the terminal
    Top(Box<top::Args>),
    /// Private PostgreSQL, Redis and PgBouncer on this machine
    #[command(subcommand)]
    Stack(stack::Command),
    /// psql on the resolved target
    Psql(psql::Args),
    /// Print every setting and where it came from, secrets masked
    Config(config::Args),
    /// Print the completions for a shell
    Completions(completions::Args),
    /// Print the manual page, or write one for each command
    Man(completions::ManArgs),
}

/// How a command ended, when it could be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Done, and the answer is good.
    Good,
    /// Done, and the answer is bad.
    Bad,
    /// Stopped by this signal, cleanly.
    Signal(u8),
    /// What somebody else's convention wants: Nagios.
    Code(u8),
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        match exit {
            Exit::Good => ExitCode::SUCCESS,
            Exit::Bad => ExitCode::from(1),
            Exit::Signal(signal) => ExitCode::from(128 + signal),
            Exit::Code(code) => ExitCode::from(code),
        }
    }
}

impl Cli {
    /// Parses the process's arguments; usage errors are printed here, in clap's words, and end with 2. Who asked for JSON gets them as JSON too.
    pub fn from_arguments() -> Result<Self, ExitCode> {
        Cli::try_parse().map_err(|error| {
            let code = if error.use_stderr() { 2 } else { 0 };
            let words: Vec<_> = std::env::args_os().skip(1).take_while(|word| word != "--").collect();
            let json = words.iter().any(|word| word == "--json" || word == "--format=json")
                || words.windows(2).any(|pair| pair[0] == "--format" && pair[1] == "json");
            if code == 2 && json {
                return Ui::new(Format::Json, ColorChoice::Never, false, 0).failed(&usage(&error).into());
            }
            if code == 2 && words.iter().any(|word| word == "--nagios") {
                return crate::render::ui::nagios_unknown(&usage(&error).to_string());
            }
            // Clap repeats what it was given.
            let text = error.to_string();
            let shown = masked(&text);
            // A closed pipe is no reason to complain.
            let _ = if shown == text {
                error.print()
            } else {
                writeln!(std::io::stderr(), "{shown}{}", address_hint(&error).unwrap_or_default())
            };
            ExitCode::from(code)
        })
    }

    pub fn ui(&self) -> Ui {
        let format = if self.global.json { Format::Json } else { self.global.format };
        Ui::new(format, self.global.color, self.global.quiet, self.global.verbose)
    }
}

/// Clap's first paragraph as a sentence.
fn usage(error: &clap::Error) -> Failure {
    let text = error.to_string();
    let paragraph = text.split("\n\n").next().unwrap_or_default();
    let message = paragraph.split_whitespace().collect::<Vec<_>>().join(" ");
    let hint = address_hint(error).unwrap_or("`candlefish COMMAND --help` shows every argument.");
    Failure::new("usage", message.trim_start_matches("error: ")).hint(hint)
}

/// For an address where the command takes none.
fn address_hint(error: &clap::Error) -> Option<&'static str> {
    let is_address = error.kind() == clap::error::ErrorKind::UnknownArgument && error.to_string().contains("://");
    is_address.then_some("`--to URL` names the database.")
}

impl clap::ValueEnum for Format {
    fn value_variants<'a>() -> &'a [Self] {
        &[Format::Table, Format::Json, Format::Csv]
    }

    fn to_possible_value(&self) -> Option<clap::builder::PossibleValue> {
        Some(clap::builder::PossibleValue::new(match self {
            Format::Table => "table",
            Format::Json => "json",
            Format::Csv => "csv",
        }))
    }
}

impl clap::ValueEnum for ColorChoice {
    fn value_variants<'a>() -> &'a [Self] {
        &[ColorChoice::Auto, ColorChoice::Always, ColorChoice::Never]
    }

    fn to_possible_value(&self) -> Option<clap::builder::PossibleValue> {
        Some(clap::builder::PossibleValue::new(match self {
            ColorChoice::Auto => "auto",
            ColorChoice::Always => "always",
            ColorChoice::Never => "never",
        }))
    }
}

/// A panic is our mistake: it is said in one sentence, with where it was, and the process ends with 2.
pub fn explain_panics() {
    std::panic::set_hook(Box::new(|panic| crate::render::ui::panicked(&panic.to_string())));
}

/// Runs one command to its end, or to the signal that stops it.
pub fn run(cli: Cli, ui: &Ui) -> Result<Exit> {
    // These promise to stay small; load tests allocate from many threads at once.
    if matches!(cli.command, Command::Migrate(_) | Command::Verify(_)) {
        memory::give_back_early();
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("start the async runtime")?;
    let result = runtime.block_on(dispatch(cli, ui));
    // A reader of the source may still stand in a long step; the process's end is its end too.
    runtime.shutdown_background();
    crate::sqlite::remove_private_copies();
    // It stood in the middle of what it had to say, and that nobody reads it is no failure of its own.
    left_unsaid().map_or(result, |signal| Ok(Exit::Signal(signal)))
}

async fn dispatch(cli: Cli, ui: &Ui) -> Result<Exit> {
    let settings = || Settings::load(Environment::of_process(), cli.global.config.as_deref());
    let settings = &settings;
    let command = match cli.command {
        Command::Migrate(args) => boxed(|| async { migrate::run(*args, &settings()?, ui).await }),
        Command::Runs(args) => boxed(|| async { runs::run(args, &settings()?, ui).await }),
        Command::Verify(args) => boxed(|| async { signals::or_stopped(verify::run(*args, &settings()?, ui)).await }),
        Command::Schema(args) => boxed(|| async { signals::or_stopped(schema::run(args, &settings()?, ui)).await }),
        Command::Bench(args) => boxed(|| async { bench::run(*args, &settings()?, ui).await }),
        Command::Stats(args) if args.goes_on() => {
            boxed(|| async { signals::until_left(ui, Box::pin(stats::run(*args, &settings()?, ui))).await })
        }
        Command::Stats(args) => boxed(|| async { signals::or_stopped(stats::run(*args, &settings()?, ui)).await }),
        Command::Cache(args) => boxed(|| async { signals::or_stopped(cache::run(*args, &settings()?, ui)).await }),
        Command::Pgbouncer(command) => boxed(|| async { signals::or_stopped(pgbouncer::run(command, &settings()?, ui)).await }),
        Command::Monitor(args) => boxed(|| monitor::run(*args, settings, ui)),
        Command::Doctor(args) => boxed(|| async { signals::or_stopped(doctor::run(args, &settings()?, ui)).await }),
        Command::Top(args) => boxed(|| async { top::run(*args, &settings()?, ui).await }),
        Command::Stack(command) => return stack::run(command, ui),
        Command::Psql(args) => return psql::run(args, &settings()?, ui),
        Command::Config(args) => return config::run(&args, &settings()?, ui),
        Command::Completions(args) => return completions::run(&args, ui),
        Command::Man(args) => return completions::man(&args, ui),
    };
    command.await
}

/// A command's state, which takes a hundred kilobytes and more, where no stack keeps room for it; nor for that of all others.
fn boxed<'a, F: Future<Output = Result<Exit>> + 'a>(command: impl FnOnce() -> F) -> Pin<Box<dyn Future<Output = Result<Exit>> + 'a>> {
    Box::pin(command())
}
