//! Redis of the stack: a cache, so nothing of it is kept on disk.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result};
use rustix::process::Signal;

use super::Say;
use super::account::Account;
use super::binaries::Binaries;
use super::process::{self, Log};
use super::state::{State, write_private};

const START_LIMIT: Duration = Duration::from_secs(20);

pub fn ensure_up(state: &mut State, binaries: &Binaries, account: Option<&Account>, say: Say) -> Result<()> {
    if version(state).is_ok() {
        return Ok(());
    }
    // Nothing is lost with a cache that does not answer.
    stop(state)?;
    state.keep_port_if_free("Redis", say, |ports| &mut ports.redis)?;
    let path = state.log("redis");
    let log = Log::open(&path, account)?;
    write_private(&settings_file(state), settings(state)?.as_bytes(), account)?;
    let mut redis = process::command(&binaries.redis_server, account);
    process::launch(redis.arg(settings_file(state)), &path)?;
    process::wait_for(START_LIMIT, &log, || version(state))?;
    Ok(())
}

/// The server's version, asked with the password: the proof that it answers.
pub fn version(state: &State) -> Result<String> {
    let info = ask(state)?;
    let version = info.lines().find_map(|line| line.strip_prefix("redis_version:")).context("Redis did not say its version")?;
    Ok(version.trim().to_string())
}

pub fn pid(state: &State) -> Option<u32> {
    process::running(&pid_file(state), &settings_file(state))
}

/// True when there was something to stop.
pub fn stop(state: &State) -> Result<bool> {
    let Some(pid) = pid(state) else { return process::forget(&pid_file(state)).map(|()| false) };
    let signals = [(Signal::TERM, Duration::from_secs(10)), (Signal::KILL, Duration::from_secs(5))];
    process::stop(pid, &settings_file(state), &signals).context("stop Redis")?;
    process::forget(&pid_file(state))?;
    Ok(true)
}

/// `INFO server`, in the protocol's inline form; `QUIT` ends the answer.
fn ask(state: &State) -> Result<String> {
    let limit = Duration::from_secs(3);
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, state.ports.redis));
    let mut stream = TcpStream::connect_timeout(&address, limit).context("connect to Redis")?;
    stream.set_read_timeout(Some(limit))?;
    stream.set_write_timeout(Some(limit))?;
    stream.write_all(format!("AUTH {}\r\nINFO server\r\nQUIT\r\n", state.redis_password()?).as_bytes())?;
    let mut answer = Vec::new();
    stream.take(1 << 16).read_to_end(&mut answer).context("read from Redis")?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

fn settings_file(state: &State) -> PathBuf {
    state.data.join("redis/redis.conf")
}

pub fn pid_file(state: &State) -> PathBuf {
    state.data.join("redis/redis.pid")
}

fn settings(state: &State) -> Result<String> {
    let _ = fs::remove_file(pid_file(state));
    let quoted = |path: PathBuf| format!("\"{}\"", path.display().to_string().replace('\\', "\\\\").replace('"', "\\\""));
    let settings = [
        ("bind", "127.0.0.1".to_string()),
        ("port", state.ports.redis.to_string()),
        ("requirepass", state.redis_password()?),
        ("daemonize", "yes".to_string()),
        // The title would hide the command line, by which the process is known again.
        ("set-proc-title", "no".to_string()),
        ("pidfile", quoted(pid_file(state))),
        ("logfile", quoted(state.log("redis"))),
        ("dir", quoted(state.data.join("redis"))),
        ("maxmemory", "1gb".to_string()),
        ("maxmemory-policy", "allkeys-lru".to_string()),
        ("save", "\"\"".to_string()),
        ("appendonly", "no".to_string()),
    ];
    let lines = settings.map(|(name, value)| format!("{name} {value}\n"));
    Ok(format!("# Written by `candlefish stack up`, anew at each start.\n{}", lines.concat()))
}
