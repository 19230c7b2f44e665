//! `cargo xtask`: what a contributor and CI run. Every task clears the caller's database variables and names a stack of its own.

mod compare;
mod demo;
mod fixtures;
mod matrix;
mod new;
mod setup;
mod shell;
mod test;
mod tidy;

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;

#[derive(Parser)]
#[command(name = "cargo xtask", about = "What a contributor and CI run")]
enum Task {
    /// Install what is missing: PostgreSQL, Redis, PgBouncer; promtool and Chromium for the tests
    Setup,
    /// From nothing to a migrated and verified registry, command by command
    Demo,
    /// Everything that has to be green: format, lints, tidy, tests
    Test(test::Args),
    /// What CI runs
    Ci,
    /// Hold the code to the house's rules
    Tidy,
    #[command(flatten)]
    Fixtures(fixtures::Task),
    /// Measure candlefish beside its peers, interleaved, each in a fresh database
    #[command(subcommand)]
    Compare(compare::Task),
    /// Fetch PostgreSQL 13 to 18 and run what has to hold on each
    Matrix(matrix::Args),
    /// Begin the next thing on a shelf
    #[command(subcommand)]
    New(new::Shelf),
}

fn main() -> ExitCode {
    match run(Task::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> Result<()> {
    match task {
        Task::Setup => setup::for_tests(),
        Task::Demo => demo::run(),
        Task::Test(args) => test::run(&args),
        Task::Ci => test::run(&test::Args::default()),
        Task::Tidy => tidy::run(),
        Task::Fixtures(task) => fixtures::run(task),
        Task::Compare(task) => compare::run(task),
        Task::Matrix(args) => matrix::run(&args),
        Task::New(shelf) => new::run(&shelf),
    }
}
