//! The binary: parse, run, say what went wrong, exit.

use std::panic::AssertUnwindSafe;
use std::process::ExitCode;

use candlefish::cli::{self, Cli};

fn main() -> ExitCode {
    cli::explain_panics();
    let cli = match Cli::from_arguments() {
        Ok(cli) => cli,
        Err(exit) => return exit,
    };
    let ui = cli.ui();
    let code = match std::panic::catch_unwind(AssertUnwindSafe(|| cli::run(cli, &ui))) {
        Ok(Ok(exit)) => exit.into(),
        Ok(Err(error)) => ui.failed(&error),
        // The hook has said what there is to say.
        Err(_) => ExitCode::from(2),
    };
    ui.close();
    code
}
