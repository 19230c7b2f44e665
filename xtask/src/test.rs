//! `cargo xtask test`: everything that has to be green before a change is done.

use std::path::Path;

use anyhow::Result;

use crate::shell::{self, cargo, target};
use crate::{matrix, setup, tidy};

#[derive(clap::Args, Default)]
pub struct Args {
    /// Run the long checks in full
    #[arg(long)]
    long: bool,
    /// Handed to `cargo test`: a filter, or `-- --nocapture`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    rest: Vec<String>,
}

pub fn run(args: &Args) -> Result<()> {
    let home = target().join("tmp/stack");
    // What the tests want is fetched while the compiler works.
    let (checked, servers) = std::thread::scope(|scope| {
        let servers = scope.spawn(|| setup::for_tests().and_then(|()| matrix::for_tests()));
        (check(&home), servers.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    });
    checked?;
    let servers = servers?;
    let mut tests = cargo(&home);
    tests.args(["test", "--workspace"]).args(&args.rest).envs(args.long.then_some(("CANDLEFISH_LONG", "1")));
    if std::env::var_os("RUST_TEST_THREADS").is_none() {
        // A third of their time the tests wait for servers: one more than there are cores keeps these busy.
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        tests.env("RUST_TEST_THREADS", (cores + 1).to_string());
    }
    if let Some(folder) = servers {
        tests.env("CANDLEFISH_MATRIX", matrix::IN_CI.join(",")).env("CANDLEFISH_MATRIX_DIR", folder);
    }
    let tests = shell::show_and_run(&mut tests);
    // Whatever the tests say: no server outlives them.
    let stopped = stop(&home);
    tests.and(stopped)
}

fn check(home: &Path) -> Result<()> {
    shell::show_and_run(cargo(home).args(["fmt", "--all", "--check"]))?;
    shell::show_and_run(cargo(home).args(["clippy", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"]))?;
    println!("\n$ cargo xtask tidy");
    tidy::run()
}

/// Takes down the stack of the tests in `home`.
pub fn stop(home: &Path) -> Result<()> {
    let program = target().join("debug/candlefish");
    if !program.exists() {
        return Ok(());
    }
    shell::run(shell::command(program, home).args(["--quiet", "stack", "down"]))
}
