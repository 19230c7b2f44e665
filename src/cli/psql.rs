//! `candlefish psql`: psql on the resolved target. The password goes by the environment, never by an argument.

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::cli::Exit;
use crate::cli::settings::{Settings, Target};
use crate::render::Ui;
use crate::stack::{DATABASE, ROLE, ServerName, Stack, not_up, psql};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Handed to psql as they are
    #[arg(value_name = "ARGS", trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<OsString>,
}

/// What psql is told, by libpq's own names.
const VARIABLES: [(&str, &str); 14] = [
    ("host", "PGHOST"),
    ("hostaddr", "PGHOSTADDR"),
    ("port", "PGPORT"),
    ("user", "PGUSER"),
    ("password", "PGPASSWORD"),
    ("dbname", "PGDATABASE"),
    ("sslmode", "PGSSLMODE"),
    ("sslrootcert", "PGSSLROOTCERT"),
    ("sslcert", "PGSSLCERT"),
    ("sslkey", "PGSSLKEY"),
    ("options", "PGOPTIONS"),
    ("connect_timeout", "PGCONNECT_TIMEOUT"),
    ("channel_binding", "PGCHANNELBINDING"),
    ("target_session_attrs", "PGTARGETSESSIONATTRS"),
];

pub fn run(args: Args, settings: &Settings, ui: &Ui) -> Result<Exit> {
    let stack = Stack::locate()?;
    let mut command = Command::new(psql(Some(stack.home()))?);
    match settings.target(None, ui)? {
        Target::Address(address) => {
            point_at(&mut command, |keyword| address.parameters.get(keyword).map(str::to_string));
            ui.explain(&format!("target: {} (from {})", address.shown(), address.origin));
        }
        Target::LocalStack => {
            let Some(addresses) = stack.addresses()?.filter(|_| stack.is_up(ServerName::Postgres).unwrap_or(false)) else {
                bail!(not_up(stack.home()));
            };
            point_at(&mut command, |keyword| match keyword {
                "host" => Some(addresses.host.to_string()),
                "port" => Some(addresses.postgres_port.to_string()),
                "user" => Some(ROLE.to_string()),
                "dbname" => Some(DATABASE.to_string()),
                "password" => Some(addresses.postgres_password.clone()),
                _ => None,
            });
        }
    }
    command.args(args.args);
    // psql takes our place: its exit code, its signals and its terminal are its own.
    Err(command.exec()).context("run psql")
}

/// The target is resolved: nothing that the caller's environment says may divert psql from it.
fn point_at(command: &mut Command, parameter: impl Fn(&str) -> Option<String>) {
    command.env_remove("PGSERVICE");
    for (keyword, variable) in VARIABLES {
        match parameter(keyword) {
            Some(value) => command.env(variable, value),
            None => command.env_remove(variable),
        };
    }
}
