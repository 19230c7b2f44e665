//! `cargo xtask`: what a contributor and CI run.

mod fixtures;

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;

#[derive(Parser)]
#[command(name = "cargo xtask", about = "What a contributor and CI run")]
enum Task {
    #[command(flatten)]
    Fixtures(fixtures::Task),
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
        Task::Fixtures(task) => fixtures::run(task),
    }
}
