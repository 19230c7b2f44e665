//! PgBouncer of the stack: transaction pooling in front of PostgreSQL, every database under its own name.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use rustix::process::Signal;

use super::account::Account;
use super::binaries::Binaries;
use super::process::{self, Log};
use super::state::{State, write_private};
use super::{DATABASE, ROLE, Say, postgres};

const START_LIMIT: Duration = Duration::from_secs(20);
const CLIENTS: u32 = 2000;

pub fn ensure_up(state: &mut State, binaries: &Binaries, account: Option<&Account>, say: Say) -> Result<()> {
    let program = program_version(&binaries.pgbouncer)?;
    let unchanged = fs::read_to_string(settings_file(state)).is_ok_and(|there| there == settings(state, program));
    if unchanged && answers(state).is_ok() {
        return Ok(());
    }
    // It does not answer, or PostgreSQL has moved: a pooler has nothing to lose.
    stop(state)?;
    state.keep_port_if_free("PgBouncer", say, |ports| &mut ports.pgbouncer)?;
    let path = state.log("pgbouncer");
    let log = Log::open(&path, account)?;
    let users = format!("\"{ROLE}\" \"{}\"\n", state.postgres_password()?);
    write_private(&users_file(state), users.as_bytes(), account)?;
    write_private(&settings_file(state), settings(state, program).as_bytes(), account)?;

    // A descriptor a client: the usual soft limit of 1024 is too low, and PgBouncer does not raise it.
    let mut shell = process::command(Path::new("/bin/sh"), account);
    shell.args(["-c", "ulimit -n 4096 2>/dev/null || ulimit -n \"$(ulimit -H -n)\"; exec \"$0\" -q -d \"$1\""]);
    process::launch(shell.arg(&binaries.pgbouncer).arg(settings_file(state)), &path)
        .with_context(|| format!("run {}{}", binaries.pgbouncer.display(), log.said()))?;
    process::wait_for(START_LIMIT, &log, || answers(state))?;
    Ok(())
}

/// Through to PostgreSQL and back.
fn answers(state: &State) -> Result<String> {
    postgres::ask(state, state.ports.pgbouncer, DATABASE, "SELECT 1")
}

/// The version, asked on its console.
pub fn version(state: &State) -> Result<String> {
    let answer = postgres::ask(state, state.ports.pgbouncer, "pgbouncer", "SHOW VERSION")?;
    Ok(answer.split_whitespace().last().unwrap_or_default().to_string())
}

pub fn pid(state: &State) -> Option<u32> {
    process::running(&pid_file(state), &settings_file(state))
}

/// True when there was something to stop.
pub fn stop(state: &State) -> Result<bool> {
    let Some(pid) = pid(state) else { return process::forget(&pid_file(state)).map(|()| false) };
    // TERM is at once before 1.23, and since then waits for the clients; QUIT is at once since then.
    let signals = [(Signal::TERM, 500), (Signal::QUIT, 5000), (Signal::KILL, 5000)];
    process::stop(pid, &settings_file(state), &signals.map(|(signal, ms)| (signal, Duration::from_millis(ms))))
        .context("stop PgBouncer")?;
    process::forget(&pid_file(state))?;
    Ok(true)
}

fn settings_file(state: &State) -> PathBuf {
    state.data.join("pgbouncer/pgbouncer.ini")
}

fn users_file(state: &State) -> PathBuf {
    state.data.join("pgbouncer/userlist.txt")
}

pub fn pid_file(state: &State) -> PathBuf {
    state.data.join("pgbouncer/pgbouncer.pid")
}

fn settings(state: &State, version: (u32, u32)) -> String {
    let mut settings = vec![
        ("listen_addr", "127.0.0.1".to_string()),
        ("listen_port", state.ports.pgbouncer.to_string()),
        ("unix_socket_dir", state.sockets.display().to_string()),
        ("pidfile", pid_file(state).display().to_string()),
        ("logfile", state.log("pgbouncer").display().to_string()),
        ("auth_type", "scram-sha-256".to_string()),
        ("auth_file", users_file(state).display().to_string()),
        // Roles that are made later get in by the secret that PostgreSQL keeps of them.
        ("auth_user", ROLE.to_string()),
        ("admin_users", ROLE.to_string()),
        ("stats_users", ROLE.to_string()),
        ("pool_mode", "transaction".to_string()),
        ("max_client_conn", CLIENTS.to_string()),
        ("default_pool_size", "20".to_string()),
        // PostgreSQL that is back is used a second later, not fifteen.
        ("server_login_retry", "1".to_string()),
        ("ignore_startup_parameters", "extra_float_digits".to_string()),
        ("log_connections", "0".to_string()),
        ("log_disconnections", "0".to_string()),
    ];
    // An unknown setting keeps PgBouncer from starting, and Debian 12 has 1.18.
    if version >= (1, 21) {
        settings.push(("max_prepared_statements", "200".to_string()));
    }
    let lines: Vec<String> = settings.into_iter().map(|(name, value)| format!("{name} = {value}\n")).collect();
    format!(
        "; Written by `candlefish stack up`, anew at each start.\n[databases]\n* = host={} port={}\n\n[pgbouncer]\n{}",
        state.sockets.display(),
        state.ports.postgres,
        lines.concat()
    )
}

/// `PgBouncer 1.18.0` is (1, 18).
pub fn program_version(pgbouncer: &Path) -> Result<(u32, u32)> {
    let said = process::run(process::command(pgbouncer, None).arg("--version"))?;
    let Some(version) = parse_version(&said) else { bail!("the version of PgBouncer cannot be read from: {}", said.trim()) };
    Ok(version)
}

fn parse_version(said: &str) -> Option<(u32, u32)> {
    let version = said.lines().next()?.split_whitespace().nth(1)?;
    let mut numbers = version.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_read_from_what_pgbouncer_says() {
        assert_eq!(parse_version("PgBouncer 1.18.0\nlibevent 2.1.12-stable\n"), Some((1, 18)));
        assert_eq!(parse_version("PgBouncer 1.24rc1"), Some((1, 24)));
        assert_eq!(parse_version("what?"), None);
    }
}
