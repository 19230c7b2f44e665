//! The binary: parse, run, say what went wrong, exit.

use std::process::ExitCode;

use candlefish::cli::{self, Cli};

fn main() -> ExitCode {
    let cli = match Cli::from_arguments() {
        Ok(cli) => cli,
        Err(exit) => return exit,
    };
    let ui = cli.ui();
    match cli::run(cli, &ui) {
        Ok(exit) => exit.into(),
        Err(error) => ui.failed(&error),
    }
}
