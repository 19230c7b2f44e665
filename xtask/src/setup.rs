//! `cargo xtask setup`: installs PostgreSQL, Redis and PgBouncer where they are missing, and promtool and Chromium for the tests; silent and quick where nothing is. What only a
//! comparison wants (pgloader, Python) is installed when one is asked for.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, fs};

use anyhow::{Context as _, Result, bail};

use crate::shell;

/// A program that has to be there, and the packages that bring it.
struct Need {
    programs: &'static [&'static str],
    apt: &'static str,
    dnf: &'static str,
    brew: &'static str,
}

const NEEDS: [Need; 3] = [
    Need { programs: &["initdb"], apt: "postgresql", dnf: "postgresql-server postgresql-contrib", brew: "postgresql@17" },
    Need { programs: &["redis-server", "valkey-server"], apt: "redis-server", dnf: "redis", brew: "redis" },
    Need { programs: &["pgbouncer"], apt: "pgbouncer", dnf: "pgbouncer", brew: "pgbouncer" },
];

/// What the tests hold alerts and the served page against.
const TESTS: [Need; 2] = [
    Need { programs: &["promtool"], apt: "prometheus", dnf: "golang-github-prometheus", brew: "prometheus" },
    Need {
        programs: &["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"],
        apt: "chromium",
        dnf: "chromium",
        brew: "chromium",
    },
];

const PEERS: [Need; 2] = [
    Need { programs: &["pgloader"], apt: "pgloader", dnf: "pgloader", brew: "pgloader" },
    Need { programs: &["python3"], apt: "python3 python3-venv", dnf: "python3", brew: "python" },
];

/// The servers.
pub fn run() -> Result<()> {
    ensure(&NEEDS)
}

/// The servers, and what only the tests want.
pub fn for_tests() -> Result<()> {
    ensure(&NEEDS)?;
    ensure(&TESTS)
}

/// What candlefish is compared with.
pub fn peers() -> Result<()> {
    ensure(&PEERS)
}

fn ensure(needs: &[Need]) -> Result<()> {
    let missing: Vec<&Need> = needs.iter().filter(|need| !is_there(need)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    install(&missing)?;
    let left: Vec<&str> = needs.iter().filter(|need| !is_there(need)).map(|need| need.programs[0]).collect();
    if !left.is_empty() {
        bail!("installed, and yet not found: {}", left.join(", "));
    }
    Ok(())
}

fn is_there(need: &Need) -> bool {
    let folders = folders();
    need.programs.iter().any(|program| folders.iter().any(|folder| folder.join(program).is_file()))
}

/// PATH, and where packages put servers outside of it: the places in which `candlefish stack` looks.
fn folders() -> Vec<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = env::split_paths(&path).collect();
    folders.extend(["/usr/sbin", "/usr/local/sbin", "/usr/local/bin", "/opt/homebrew/bin"].map(PathBuf::from));
    for parent in ["/usr/lib/postgresql", "/usr", "/opt/homebrew/opt", "/usr/local/opt", "/Applications/Postgres.app/Contents/Versions"] {
        folders.extend(fs::read_dir(parent).into_iter().flatten().flatten().map(|child| child.path().join("bin")));
    }
    folders
}

fn install(missing: &[&Need]) -> Result<()> {
    let packages = |of: fn(&Need) -> &'static str| missing.iter().flat_map(|need| of(need).split(' ')).collect::<Vec<_>>();
    if is_command("apt-get") {
        apt(&packages(|need| need.apt))
    } else if is_command("dnf") {
        dnf(&packages(|need| need.dnf))
    } else if is_command("brew") {
        let packages = packages(|need| need.brew);
        shell::show_and_run(Command::new("brew").arg("install").args(packages))
    } else {
        let names: Vec<&str> = missing.iter().map(|need| need.programs[0]).collect();
        bail!("this machine has no apt-get, dnf or brew: install {} by its own means, then run this again", names.join(", "))
    }
}

fn is_command(name: &str) -> bool {
    folders().iter().any(|folder| folder.join(name).is_file()) || Path::new("/usr/bin").join(name).is_file()
}

fn apt(packages: &[&str]) -> Result<()> {
    let by_hand = format!("apt-get update && apt-get install -y {}", packages.join(" "));
    let command = |words: &[&str]| -> Result<Command> {
        let mut command = as_root(&by_hand, "apt-get")?;
        command.args(["-q", "-y", "-o", "DPkg::Lock::Timeout=120"]).args(words);
        Ok(command)
    };
    let _no_services = PolicyRc::forbid_starting();
    let install: Vec<&str> = ["install", "--no-install-recommends"].iter().chain(packages).copied().collect();
    // Package lists that are there may be good enough; a fresh container has none.
    let has_lists = packages.iter().all(|package| {
        let policy = Command::new("apt-cache").args(["policy", package]).stderr(Stdio::null()).output();
        policy.is_ok_and(|output| {
            String::from_utf8_lossy(&output.stdout).lines().any(|line| line.trim().starts_with("Candidate:") && !line.contains("(none)"))
        })
    });
    if has_lists && shell::show_and_run(&mut command(&install)?).is_ok() {
        return Ok(());
    }
    shell::show_and_run(&mut command(&["update"])?)?;
    shell::show_and_run(&mut command(&install)?).context(format!("by hand: {by_hand}"))
}

fn dnf(packages: &[&str]) -> Result<()> {
    let by_hand = format!("dnf install -y {}", packages.join(" "));
    shell::show_and_run(as_root(&by_hand, "dnf")?.args(["install", "-y"]).args(packages)).context(format!("by hand: {by_hand}"))
}

/// As root, or by sudo where that asks nothing.
fn as_root(by_hand: &str, program: &str) -> Result<Command> {
    let id = Command::new("id").arg("-u").output().context("run id")?;
    let mut command = if String::from_utf8_lossy(&id.stdout).trim() == "0" {
        let mut command = Command::new("env");
        command.arg("DEBIAN_FRONTEND=noninteractive");
        command
    } else if Command::new("sudo").args(["-n", "true"]).stderr(Stdio::null()).status().is_ok_and(|status| status.success()) {
        let mut command = Command::new("sudo");
        command.args(["-n", "DEBIAN_FRONTEND=noninteractive"]);
        command
    } else {
        bail!(
            "installing needs root, and sudo would ask for a password. Run this yourself, then this command again:\n\n    sudo sh -c '{by_hand}'\n"
        );
    };
    command.arg(program).stdin(Stdio::null());
    Ok(command)
}

/// Debian's packages start their services when they are installed, on the very ports that an application may want; policy-rc.d says no for
/// as long as this lives. Without the right to write there (sudo) the services do start, as they would by hand.
struct PolicyRc;

const POLICY: &str = "/usr/sbin/policy-rc.d";

impl PolicyRc {
    fn forbid_starting() -> Option<Self> {
        use std::os::unix::fs::OpenOptionsExt as _;
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o755).open(POLICY).ok()?;
        std::io::Write::write_all(&mut file, b"#!/bin/sh\nexit 101\n").ok()?;
        Some(PolicyRc)
    }
}

impl Drop for PolicyRc {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(POLICY) {
            eprintln!("warning: {POLICY} could not be removed, and keeps services from starting: {error}");
        }
    }
}
