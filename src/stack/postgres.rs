//! PostgreSQL of the stack: its data folder, its settings, started and healed.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustix::process::Signal;

use super::account::Account;
use super::binaries::{self, Binaries};
use super::process::{self, Log};
use super::state::{State, write_private};
use super::{DATABASE, ROLE, Say};
use crate::model::Failure;

/// Replaying up to 4 GB of WAL after a kill takes its time on a small disk.
const START_LIMIT: Duration = Duration::from_secs(120);
/// A server that was told to stop waits so long for its clients while somebody wants it up.
const STOP_PATIENCE: Duration = Duration::from_secs(3);
const SETTINGS: &str = "candlefish.conf";

pub fn ensure_up(state: &mut State, binaries: &Binaries, account: Option<&Account>, say: Say) -> Result<()> {
    if version(state).is_ok() {
        return Ok(());
    }
    let path = state.log("postgres");
    let log = Log::open(&path, account)?;
    if pid(state).is_some() {
        // Another program started it, it recovers, or it is just stopping: it gets its time before anything is called broken.
        let mut stopping: Option<Instant> = None;
        let mut is_hurried = false;
        let answered = process::wait_for(START_LIMIT, &log, || match (version(state), pid(state)) {
            (Err(_), None) => Ok(String::new()),
            (Err(error), Some(pid)) if !is_hurried && format!("{error:#}").contains("is shutting down") => {
                // It lets nobody in until the last of its clients has gone, and PgBouncer's servers do not go.
                if stopping.get_or_insert_with(Instant::now).elapsed() > STOP_PATIENCE {
                    say("PostgreSQL was told to stop and waits for its clients: it stops without them, and is started again.");
                    process::send(pid, Signal::INT)?;
                    is_hurried = true;
                }
                Err(error)
            }
            (answer, _) => answer,
        })?;
        if !answered.is_empty() {
            return Ok(());
        }
    }
    clear_what_a_kill_left(state)?;
    make_data(state, binaries, account, say)?;
    state.keep_port_if_free("PostgreSQL", say, |ports| &mut ports.postgres)?;
    write_private(&folder(state).join(SETTINGS), settings(state).as_bytes(), account)?;
    start(state, binaries, account, &path, &log)?;
    process::wait_for(START_LIMIT, &log, || version(state))?;
    Ok(())
}

fn start(state: &State, binaries: &Binaries, account: Option<&Account>, path: &Path, log: &Log) -> Result<()> {
    let mut pg_ctl = process::command(&binaries.pg("pg_ctl"), account);
    // pg_ctl gives the server a session of its own, and waits until it accepts connections or has died.
    pg_ctl.args(["start", "--silent", "--wait", "--timeout"]).arg(START_LIMIT.as_secs().to_string());
    pg_ctl.arg("--pgdata").arg(folder(state)).arg("--log").arg(path);
    if let Err(error) = process::launch(&mut pg_ctl, path) {
        let message = format!("{error:#}{}", log.said());
        bail!(Failure::new("stack_start", message).hint(format!("The whole log: {}", path.display())));
    }
    Ok(())
}

/// The server's version, asked over TCP with the password: the proof that it answers.
pub fn version(state: &State) -> Result<String> {
    let version = ask(state, state.ports.postgres, DATABASE, "SHOW server_version")?;
    Ok(version.split_whitespace().next().unwrap_or_default().to_string())
}

pub fn pid(state: &State) -> Option<u32> {
    process::running(&pid_file(state), &folder(state))
}

pub fn pid_file(state: &State) -> PathBuf {
    folder(state).join("postmaster.pid")
}

/// True when there was something to stop.
pub fn stop(state: &State) -> Result<bool> {
    let Some(pid) = pid(state) else { return clear_what_a_kill_left(state).map(|()| false) };
    // Fast (roll back, write a checkpoint), then immediate (recover at the next start), then what cannot be refused.
    let signals = [(Signal::INT, 60), (Signal::QUIT, 10), (Signal::KILL, 5)];
    process::stop(pid, &folder(state), &signals.map(|(signal, seconds)| (signal, Duration::from_secs(seconds))))
        .context("stop PostgreSQL")?;
    clear_what_a_kill_left(state)?;
    Ok(true)
}

/// One value, by psql: this room stands below the one that speaks PostgreSQL's protocol.
pub fn ask(state: &State, port: u16, database: &str, sql: &str) -> Result<String> {
    let psql = match state.pg_bin.as_ref().map(|folder| folder.join("psql")).filter(|psql| psql.exists()) {
        Some(psql) => psql,
        None => binaries::psql(None)?,
    };
    let mut psql = process::command(&psql, None);
    psql.env("PGPASSWORD", state.postgres_password()?).env("PGCONNECT_TIMEOUT", "3").env("PGAPPNAME", "candlefish stack");
    psql.args(["-X", "-q", "-A", "-t", "-w", "-h", "127.0.0.1", "-U", ROLE, "-d", database, "-p"]).arg(port.to_string()).args(["-c", sql]);
    Ok(process::run(&mut psql)?.trim().to_string())
}

fn folder(state: &State) -> PathBuf {
    state.data.join("postgres")
}

/// The pid file of a dead server would stop the next one once its number is somebody else's; backends that outlived their postmaster would
/// keep its shared memory.
fn clear_what_a_kill_left(state: &State) -> Result<()> {
    let folder = folder(state);
    let pid_file = pid_file(state);
    if pid_file.exists() {
        process::kill_those_in(&folder)?;
        fs::remove_file(&pid_file).context("remove a stale postmaster.pid")?;
    }
    for entry in fs::read_dir(&state.sockets).into_iter().flatten().flatten() {
        if entry.file_name().as_encoded_bytes().starts_with(format!(".s.PGSQL.{}", state.ports.postgres).as_bytes()) {
            fs::remove_file(entry.path()).context("remove a stale socket")?;
        }
    }
    Ok(())
}

/// A data folder is made under another name and takes its own only when it is whole.
fn make_data(state: &State, binaries: &Binaries, account: Option<&Account>, say: Say) -> Result<()> {
    let folder = folder(state);
    if folder.join("PG_VERSION").exists() && folder.join("global/pg_control").exists() {
        return Ok(());
    }
    if folder.exists() {
        let aside = free_name(&folder.with_extension("set-aside"));
        say(&format!("{} is no whole PostgreSQL folder: set aside as {}", folder.display(), aside.display()));
        fs::rename(&folder, &aside).with_context(|| format!("set {} aside", folder.display()))?;
    }
    say("making a PostgreSQL data folder");
    let making = state.data.join("postgres.making");
    if making.exists() {
        fs::remove_dir_all(&making).with_context(|| format!("remove {}", making.display()))?;
    }
    // What was set aside keeps its own; its password may be the one that was lost.
    let password = state.renew_postgres_password(account)?;

    // One collation for every machine: characters by their code points.
    let locale = if cfg!(target_os = "linux") { "C.UTF-8" } else { "C" };
    let mut initdb = process::command(&binaries.pg("initdb"), account);
    initdb.args(["--auth=scram-sha-256", "--encoding=UTF8", "--username", ROLE, "--locale", locale, "--pwfile"]).arg(password);
    process::run(initdb.arg("--pgdata").arg(&making))?;

    let mut include = fs::OpenOptions::new().append(true).open(making.join("postgresql.conf")).context("open postgresql.conf")?;
    writeln!(include, "\n# Written anew at each start.\ninclude_if_exists '{SETTINGS}'").context("write postgresql.conf")?;
    make_database(&making, binaries, account)?;
    fs::rename(&making, &folder).with_context(|| format!("make {}", folder.display()))
}

/// Without a server: the folder has to be whole before one may see it.
fn make_database(making: &Path, binaries: &Binaries, account: Option<&Account>) -> Result<()> {
    let mut single = process::command(&binaries.pg("postgres"), account);
    single.arg("--single").arg("-D").arg(making).args(["-c", "log_checkpoints=off", "postgres"]).stdin(Stdio::piped());
    let mut child = single.spawn().context("run postgres --single")?;
    // Dropped at once: the end of its input ends the program.
    child.stdin.take().context("its input is a pipe")?.write_all(format!("CREATE DATABASE {DATABASE};\n").as_bytes())?;
    let output = child.wait_with_output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() || said.contains("ERROR") {
        bail!("make the database {DATABASE}: {}", said.trim());
    }
    Ok(())
}

fn free_name(path: &Path) -> PathBuf {
    let mut names = (1..).map(|n| PathBuf::from(format!("{}-{n}", path.display())));
    names.find(|name| !name.exists()).unwrap_or_else(|| path.to_path_buf())
}

/// Sized for a developer's machine under load tests; durable like a real server, so that what is measured is true.
fn settings(state: &State) -> String {
    let settings = [
        ("listen_addresses", "'127.0.0.1'".to_string()),
        ("port", state.ports.postgres.to_string()),
        ("unix_socket_directories", format!("'{}'", state.sockets.display())),
        ("unix_socket_permissions", "0700".to_string()),
        ("cluster_name", "'candlefish'".to_string()),
        ("max_connections", "300".to_string()),
        ("shared_preload_libraries", "'pg_stat_statements'".to_string()),
        ("track_io_timing", "on".to_string()),
        ("shared_buffers", "'256MB'".to_string()),
        ("effective_cache_size", "'1GB'".to_string()),
        ("maintenance_work_mem", "'256MB'".to_string()),
        ("work_mem", "'16MB'".to_string()),
        ("dynamic_shared_memory_type", shared_memory().to_string()),
        // Bulk loads write much WAL: few checkpoints, spread out.
        ("max_wal_size", "'4GB'".to_string()),
        ("checkpoint_timeout", "'15min'".to_string()),
        ("checkpoint_completion_target", "0.9".to_string()),
        // Not wal_compression: pglz doubles what an index build costs, and loopback has no wire to spare.
        ("random_page_cost", "1.1".to_string()),
        // Thousands of tables may be made in one transaction.
        ("max_locks_per_transaction", "256".to_string()),
        // Not "$user": the role has the name of the journal's schema, and would put its own tables there.
        ("search_path", "'public'".to_string()),
        ("password_encryption", "'scram-sha-256'".to_string()),
        ("timezone", "'UTC'".to_string()),
        ("log_timezone", "'UTC'".to_string()),
        ("log_min_messages", "warning".to_string()),
    ];
    let lines = settings.map(|(name, value)| format!("{name} = {value}\n"));
    format!(
        "# Written by `candlefish stack up`, anew at each start; your own settings belong in postgresql.auto.conf (ALTER SYSTEM).\n{}",
        lines.concat()
    )
}

/// Containers often have a /dev/shm of 64 MB, in which a parallel query or index build fails.
fn shared_memory() -> &'static str {
    if !cfg!(target_os = "linux") {
        return "posix";
    }
    match rustix::fs::statvfs("/dev/shm") {
        Ok(shm) if shm.f_bavail * shm.f_frsize >= 1 << 30 => "posix",
        _ => "mmap",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_thing_set_aside_gets_a_name_of_its_own() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("postgres.set-aside");
        assert_eq!(free_name(&path), folder.path().join("postgres.set-aside-1"));
        fs::create_dir(folder.path().join("postgres.set-aside-1"))?;
        assert_eq!(free_name(&path), folder.path().join("postgres.set-aside-2"));
        Ok(())
    }
}
