//! `candlefish pgbouncer config`: a configuration that starts, lets in by SCRAM, and leaves the server room.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use serde_json::json;

use crate::cli::Exit;
use crate::cli::settings::{Settings, TargetArgs};
use crate::model::Failure;
use crate::postgres::PoolerFacts;
use crate::render::{Format, Ui};
use crate::stack;

#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Write pgbouncer.ini and userlist.txt for the target: transaction mode, SCRAM, sizes that add up
    Config(Args),
}

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Folder for the two files
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    #[command(flatten)]
    target: TargetArgs,
    /// Where PgBouncer is to listen, on loopback
    #[arg(long, value_name = "PORT", default_value_t = 6432, value_parser = clap::value_parser!(u16).range(1..))]
    port: u16,
    /// Overwrite files that say otherwise, after showing the difference
    #[arg(long)]
    force: bool,
    /// Let the target's login also administer the pooler (PAUSE, RELOAD, KILL, SHUTDOWN); else it may only look
    #[arg(long)]
    admin: bool,
}

/// What every PgBouncer since then understands.
const OLDEST: (u32, u32) = (1, 18);

pub async fn run(command: Command, settings: &Settings, ui: &Ui) -> Result<Exit> {
    let Command::Config(args) = command;
    let address = settings.address(args.target.to.as_deref(), ui)?;
    ui.say(&format!("target: {address} (from {})", address.origin));
    let facts = PoolerFacts::read(&address).await.context("write a configuration of PgBouncer")?;
    let Some(sizes) = facts.sizes() else {
        let message = format!("max_connections is {}, which leaves nothing to pool", facts.max_connections);
        bail!(Failure::new("too_few_connections", message).hint("Raise max_connections at the server."));
    };
    let version = stack::pgbouncer_version().unwrap_or(OLDEST);
    fs::create_dir_all(&args.out).with_context(|| format!("make {}", args.out.display()))?;
    let folder = fs::canonicalize(&args.out).with_context(|| format!("find {}", args.out.display()))?;
    let files = facts.files(&address, &sizes, args.port, version, &folder, args.admin)?;
    let (ini, users) = (folder.join("pgbouncer.ini"), folder.join("userlist.txt"));
    let changes = [differs(&ini, &files.ini)?, differs(&users, &files.users)?];
    if let Some(there) = &changes[0] {
        difference(there, &files.ini).iter().for_each(|line| ui.say(line));
    }
    if changes[1].is_some() {
        ui.say("userlist.txt says otherwise (secrets are not shown)");
    }
    if changes.iter().any(Option::is_some) && !args.force {
        let message = format!("{} holds another configuration", folder.display());
        bail!(Failure::new("file_exists", message).hint("Say --force to overwrite it, or give --out another folder."));
    }
    write_private(&ini, &files.ini)?;
    write_private(&users, &files.users)?;
    match ui.format {
        Format::Json => ui.print_json(&json!({
            "schema_version": 1,
            "candlefish_version": env!("CARGO_PKG_VERSION"),
            "started_at": ui.started_at.to_string(),
            "files": [ini, users],
            "sizes": sizes,
        }))?,
        _ => ui.print(&format!("{}\n{}\n", ini.display(), users.display()))?,
    }
    ui.say(&next(&folder, &ini, &users, rustix::process::geteuid().is_root()));
    Ok(Exit::Good)
}

/// How to start it. PgBouncer refuses to run as root, and what root wrote nobody else can read.
fn next(folder: &Path, ini: &Path, users: &Path, as_root: bool) -> String {
    let (folder, ini, users) = (folder.display(), ini.display(), users.display());
    match as_root {
        false => format!("next: pgbouncer -d {ini}   (as the user who owns both files)"),
        true => format!(
            "next, as root, for the user who is to run it, such as postgres: chown postgres {folder} {ini} {users}\n\
             then: runuser -u postgres -- pgbouncer -d {ini}   (PgBouncer does not run as root; its log and pid file stand beside the two)"
        ),
    }
}

/// What the file says, where that is something else.
fn differs(file: &Path, text: &str) -> Result<Option<String>> {
    match fs::read_to_string(file) {
        Ok(there) if there == text => Ok(None),
        Ok(there) => Ok(Some(there)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("read {}", file.display())),
    }
}

/// Lines that go and lines that come.
fn difference(before: &str, after: &str) -> Vec<String> {
    let lines = |text: &str, other: &str, sign: char| -> Vec<String> {
        text.lines().filter(|line| !other.lines().any(|there| there == *line)).map(|line| format!("{sign} {line}")).collect()
    };
    [lines(before, after, '-'), lines(after, before, '+')].concat()
}

/// Whole or not at all, and for its owner's eyes from the first byte.
fn write_private(file: &Path, text: &str) -> Result<()> {
    let fresh = file.with_extension("new");
    let work = || -> std::io::Result<()> {
        let mut options = fs::OpenOptions::new();
        options.write(true).create(true).truncate(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let _ = fs::remove_file(&fresh);
        let mut out = options.open(&fresh)?;
        out.write_all(text.as_bytes())?;
        out.sync_all()?;
        fs::rename(&fresh, file)
    };
    work().with_context(|| format!("write {}", file.display()))
}
