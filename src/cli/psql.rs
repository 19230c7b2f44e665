//! `candlefish psql`: psql on the resolved target. The password goes by the environment, never by an argument.

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::cli::Exit;
use crate::stack::{DATABASE, ROLE, ServerName, Stack, not_up, psql};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Handed to psql as they are
    #[arg(value_name = "ARGS", trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<OsString>,
}

pub fn run(args: Args) -> Result<Exit> {
    let stack = Stack::locate()?;
    let Some(addresses) = stack.addresses()?.filter(|_| stack.is_up(ServerName::Postgres).unwrap_or(false)) else {
        bail!(not_up(stack.home()));
    };
    let mut command = Command::new(psql(Some(stack.home()))?);
    command.env("PGHOST", addresses.host).env("PGPORT", addresses.postgres_port.to_string());
    command.env("PGUSER", ROLE).env("PGDATABASE", DATABASE).env("PGPASSWORD", &addresses.postgres_password);
    command.args(args.args);
    // psql takes our place: its exit code, its signals and its terminal are its own.
    Err(command.exec()).context("run psql")
}
