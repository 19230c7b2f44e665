//! Server processes: started detached, known again by their pid file, awaited, ended.

use std::ffi::OsStr;
use std::fs;
use std::io::{ErrorKind, Read as _, Seek as _, SeekFrom};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use super::account::Account;
use crate::model::Failure;

/// How often a condition is looked at again while a server starts or stops.
const LOOK_AGAIN: Duration = Duration::from_millis(25);
/// A log that has grown past this is put aside as `.1` before its server starts.
const LOG_LIMIT: u64 = 16 << 20;

/// A program run for the stack: nothing of the caller's PostgreSQL settings, not its stdin, and a folder that every account can be in.
pub fn command(program: &Path, account: Option<&Account>) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        if name.as_encoded_bytes().starts_with(b"PG") {
            command.env_remove(name);
        }
    }
    // Messages are read by this room, and times written by servers mean the same everywhere.
    command.env("LC_ALL", "C").env("TZ", "UTC").current_dir("/");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    if let Some(account) = account {
        account.apply(&mut command);
    }
    command
}

/// Runs a program to its end. Its words are part of the error.
pub fn run(command: &mut Command) -> Result<String> {
    let name = Path::new(command.get_program()).file_name().unwrap_or_default().to_string_lossy().into_owned();
    let output = command.output().with_context(|| format!("run {name}"))?;
    if !output.status.success() {
        let said = [output.stdout, output.stderr].concat();
        bail!("{name} failed ({}): {}", output.status, String::from_utf8_lossy(&said).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Starts a program that puts itself into the background. Its words go to the log: a server that inherited a pipe would hold its reader.
pub fn launch(command: &mut Command, log: &Path) -> Result<()> {
    let name = Path::new(command.get_program()).file_name().unwrap_or_default().to_string_lossy().into_owned();
    let open = || fs::OpenOptions::new().append(true).open(log).with_context(|| format!("open {}", log.display()));
    let status = command.stdout(open()?).stderr(open()?).status().with_context(|| format!("run {name}"))?;
    if !status.success() {
        bail!("{name} failed ({status})");
    }
    Ok(())
}

/// The process in a pid file, if it lives and is the server of this stack: after a reboot or a kill the number may be a stranger's.
/// `mark` is a path of this stack that the server's command line names.
pub fn running(pid_file: &Path, mark: &Path) -> Option<u32> {
    let pid: u32 = fs::read_to_string(pid_file).ok()?.lines().next()?.trim().parse().ok()?;
    is_ours(pid, mark).then_some(pid)
}

fn is_ours(pid: u32, mark: &Path) -> bool {
    // A process that is dead but not yet collected has no command line, so it does not count.
    let line = match fs::read(format!("/proc/{pid}/cmdline")) {
        Ok(line) => line,
        Err(_) if Path::new("/proc/self").exists() => return false,
        Err(_) => {
            let output = Command::new("ps").args(["-ww", "-o", "command=", "-p", &pid.to_string()]).output();
            output.map(|output| output.stdout).unwrap_or_default()
        }
    };
    let mark = mark.as_os_str().as_encoded_bytes();
    line.windows(mark.len()).any(|part| part == mark)
}

/// Removes the pid file of a server that is gone; one that ends in order has done it.
pub fn forget(pid_file: &Path) -> Result<()> {
    match fs::remove_file(pid_file) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error).with_context(|| format!("remove {}", pid_file.display())),
        _ => Ok(()),
    }
}

/// Sends each signal in turn until the process is gone; the last should be one that cannot be refused.
pub fn stop(pid: u32, mark: &Path, signals: &[(Signal, Duration)]) -> Result<()> {
    for (signal, patience) in signals {
        send(pid, *signal)?;
        let until = Instant::now() + *patience;
        while Instant::now() < until {
            if !is_ours(pid, mark) {
                return Ok(());
            }
            sleep(LOOK_AGAIN);
        }
    }
    if is_ours(pid, mark) {
        bail!("process {pid} does not end");
    }
    Ok(())
}

pub fn send(pid: u32, signal: Signal) -> Result<()> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).context("a pid is a positive number")?;
    match kill_process(pid, signal) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
        Err(error) => Err(error).with_context(|| format!("signal process {}", pid.as_raw_nonzero())),
    }
}

/// Kills every process whose current folder is this one: what a killed postmaster left behind, still holding its shared memory.
/// Without /proc there is nothing to see, and they end by themselves when their query does.
pub fn kill_those_in(folder: &Path) -> Result<()> {
    for process in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = process.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        if fs::read_link(process.path().join("cwd")).is_ok_and(|cwd| cwd == folder) {
            send(pid, Signal::KILL)?;
        }
    }
    Ok(())
}

/// Asks until the server answers; gives up when the time is over, or when the answer will not change.
pub fn wait_for(limit: Duration, log: &Log, mut ask: impl FnMut() -> Result<String>) -> Result<String> {
    let until = Instant::now() + limit;
    loop {
        match ask() {
            Ok(answer) => return Ok(answer),
            Err(error) if Instant::now() > until || format!("{error:#}").contains("authentication failed") => {
                let message = format!("the server does not answer: {error:#}{}", log.said());
                bail!(
                    Failure::new("stack_start", message).hint("The whole log may say more: ".to_string() + &log.path.display().to_string())
                );
            }
            Err(_) => sleep(LOOK_AGAIN),
        }
    }
}

/// A server's log, and where in it the present start began.
pub struct Log<'a> {
    path: &'a Path,
    start: u64,
}

impl<'a> Log<'a> {
    /// Makes the log if there is none, puts a long one aside.
    pub fn open(path: &'a Path, account: Option<&Account>) -> Result<Self> {
        let mut start = fs::metadata(path).map_or(0, |log| log.len());
        if start > LOG_LIMIT {
            fs::rename(path, path.with_extension(OsStr::new("log.1"))).with_context(|| format!("put {} aside", path.display()))?;
            start = 0;
        }
        if !path.exists() {
            super::state::write_private(path, b"", account)?;
        }
        Ok(Log { path, start })
    }

    /// What the server said since the start.
    pub fn text(&self) -> String {
        let mut text = Vec::new();
        if let Ok(mut file) = fs::File::open(self.path)
            && file.seek(SeekFrom::Start(self.start)).is_ok()
        {
            // A log is talk for the error message; what cannot be read is not said.
            let _ = file.take(1 << 20).read_to_end(&mut text);
        }
        String::from_utf8_lossy(&text).into_owned()
    }

    /// The last lines, as the end of a sentence.
    pub fn said(&self) -> String {
        let text = self.text();
        let lines: Vec<&str> = text.lines().collect();
        if lines.is_empty() {
            return String::new();
        }
        format!("; its log ends:\n  {}", lines[lines.len().saturating_sub(10)..].join("\n  "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_pid_file_names_nobody() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let pid_file = folder.path().join("pid");
        assert_eq!(running(&pid_file, folder.path()), None);
        // This very process lives, but its command line does not name the folder.
        fs::write(&pid_file, format!("{}\nmore\n", std::process::id()))?;
        assert_eq!(running(&pid_file, folder.path()), None);
        fs::write(&pid_file, "half a numb")?;
        assert_eq!(running(&pid_file, folder.path()), None);
        Ok(())
    }

    #[test]
    fn the_tail_of_a_log_starts_where_the_start_did() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("a.log");
        fs::write(&path, "long ago\n")?;
        let log = Log::open(&path, None)?;
        fs::write(&path, "long ago\nFATAL: today\n")?;
        assert_eq!(log.said(), "; its log ends:\n  FATAL: today");
        Ok(())
    }
}
