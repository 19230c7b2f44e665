//! `candlefish stack up | status | env | down`: the private local servers.

use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::{Args, Subcommand, ValueEnum};
use jiff::Timestamp;
use serde_json::json;

use crate::cli::Exit;
use crate::model::Failure;
use crate::render::{Format, Table, Ui, csv};
use crate::stack::{Addresses, DATABASE, ROLE, ServerName, ServerStatus, Servers, Stack, not_up};

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Start what is not up; heals what was killed
    Up(Up),
    /// What each server is doing (exit 1 when one is down)
    Status,
    /// Shell lines that point programs at the servers: eval "$(candlefish stack env)"
    Env,
    /// Stop the servers; the data stays
    Down(Down),
}

#[derive(Debug, Args)]
pub struct Up {
    /// The folder of PostgreSQL's programs (default: the data's own version, else the newest found)
    #[arg(long, value_name = "DIR")]
    pg_bin: Option<PathBuf>,
    /// Start these alone (PgBouncer brings PostgreSQL)
    #[arg(long, value_name = "SERVER", value_enum, value_delimiter = ',')]
    only: Vec<ServerName>,
}

#[derive(Debug, Args)]
pub struct Down {
    /// Remove the data, the passwords and the ports as well
    #[arg(long)]
    destroy: bool,
    /// Do not ask before destroying
    #[arg(long)]
    yes: bool,
}

impl ValueEnum for ServerName {
    fn value_variants<'a>() -> &'a [Self] {
        &ServerName::ALL
    }

    fn to_possible_value(&self) -> Option<clap::builder::PossibleValue> {
        Some(clap::builder::PossibleValue::new(self.as_str()))
    }
}

pub fn run(command: Command, ui: &Ui) -> Result<Exit> {
    let stack = Stack::locate()?;
    // The stack's room blocks; nothing else runs on this runtime meanwhile.
    tokio::task::block_in_place(|| match command {
        Command::Up(args) => up(&stack, &args, ui),
        Command::Status => status(&stack, ui),
        Command::Env => env(&stack, ui),
        Command::Down(args) => down(&stack, &args, ui),
    })
}

fn up(stack: &Stack, args: &Up, ui: &Ui) -> Result<Exit> {
    let only = |name| args.only.is_empty() || args.only.contains(&name);
    let servers = Servers { postgres: only(ServerName::Postgres), redis: only(ServerName::Redis), pgbouncer: only(ServerName::Pgbouncer) };
    stack.up(servers, args.pg_bin.as_deref(), &mut |line| ui.say(line))?;
    show(&stack.status()?, ui)?;
    Ok(Exit::Good)
}

fn status(stack: &Stack, ui: &Ui) -> Result<Exit> {
    let servers = stack.status()?;
    show(&servers, ui)?;
    Ok(if servers.iter().all(|server| server.up) { Exit::Good } else { Exit::Bad })
}

fn show(servers: &[ServerStatus], ui: &Ui) -> Result<()> {
    const HEADER: [&str; 5] = ["server", "state", "pid", "port", "version"];
    let cells = |server: &ServerStatus, unknown: &str| {
        let or_unknown = |value: Option<String>| value.unwrap_or_else(|| unknown.to_string());
        let state = if server.up { "up" } else { "down" };
        [
            server.name.as_str().to_string(),
            state.to_string(),
            or_unknown(server.pid.map(|pid| pid.to_string())),
            or_unknown(server.port.map(|port| port.to_string())),
            or_unknown(server.version.clone()),
        ]
    };
    match ui.format {
        Format::Json => ui.print_json(&json!({
            "schema_version": 1,
            "candlefish_version": env!("CARGO_PKG_VERSION"),
            "started_at": Timestamp::now().to_string(),
            "servers": servers,
        })),
        Format::Csv => ui.print(&csv(&HEADER, servers.iter().map(|server| cells(server, "")))),
        Format::Table => {
            let mut table = Table::new(&HEADER).right(2).right(3);
            for server in servers {
                table.push(cells(server, "-"));
            }
            table.print(ui)
        }
    }
}

fn env(stack: &Stack, ui: &Ui) -> Result<Exit> {
    let up: Vec<ServerName> = stack.status()?.into_iter().filter(|server| server.up).map(|server| server.name).collect();
    let Some(addresses) = stack.addresses()? else { bail!(not_up(stack.home())) };
    if !up.contains(&ServerName::Postgres) {
        bail!(not_up(stack.home()));
    }
    for name in ServerName::ALL {
        if !up.contains(&name) {
            ui.warn(&format!("{} is down, and its variables are left out", name.as_str()));
        }
    }
    let variables = variables(&addresses, &up);
    match ui.format {
        Format::Json => {
            let document: serde_json::Map<String, serde_json::Value> =
                variables.into_iter().map(|(name, value)| (name.to_string(), value.into())).collect();
            ui.print_json(&json!({
                "schema_version": 1,
                "candlefish_version": env!("CARGO_PKG_VERSION"),
                "started_at": Timestamp::now().to_string(),
                "variables": document,
            }))?;
        }
        Format::Csv => ui.print(&csv(&["name", "value"], variables.into_iter().map(|(name, value)| [name.to_string(), value])))?,
        // The values are made of letters, digits and URL signs: quoted, they need no escapes.
        Format::Table => {
            ui.print(&variables.into_iter().map(|(name, value)| format!("export {name}='{value}'\n")).collect::<String>())?;
        }
    }
    Ok(Exit::Good)
}

/// An application wants the pooler, a migration PostgreSQL itself.
fn variables(addresses: &Addresses, up: &[ServerName]) -> Vec<(&'static str, String)> {
    let mut variables = vec![("DATABASE_URL", addresses.database_url())];
    let pooled = up.contains(&ServerName::Pgbouncer);
    if pooled {
        variables.push(("POOLER_URL", addresses.pooler_url()));
    }
    if up.contains(&ServerName::Redis) {
        variables.push(("REDIS_URL", addresses.redis_url()));
    }
    if pooled {
        variables.extend([
            ("PG_HOST", addresses.host.to_string()),
            ("PG_PORT", addresses.pgbouncer_port.to_string()),
            ("PG_DATABASE", DATABASE.to_string()),
            ("PG_USER", ROLE.to_string()),
            ("PG_PASSWORD", addresses.postgres_password.clone()),
        ]);
    }
    if up.contains(&ServerName::Redis) {
        variables.extend([
            ("REDIS_HOST", addresses.host.to_string()),
            ("REDIS_PORT", addresses.redis_port.to_string()),
            ("REDIS_PASSWORD", addresses.redis_password.clone()),
        ]);
    }
    variables
}

fn down(stack: &Stack, args: &Down, ui: &Ui) -> Result<Exit> {
    if args.destroy {
        let question = format!("Destroy the stack in {} with every database in it?", stack.home().display());
        if !args.yes && !agreed(&question)? {
            bail!(Failure::new("not_confirmed", "nothing was destroyed").hint("Without a question: candlefish stack down --destroy --yes"));
        }
        stack.destroy()?;
        ui.say(&format!("destroyed: {}", stack.home().display()));
    } else if stack.down()? {
        ui.say("stopped; the data stays");
    } else {
        ui.say("nothing was up");
    }
    Ok(Exit::Good)
}

/// Asks on a terminal; where nobody can answer, the answer is no.
pub fn agreed(question: &str) -> Result<bool> {
    if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        return Ok(false);
    }
    write!(std::io::stderr(), "{question} [y/N] ")?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
