//! One run of one program: how long, and the most memory it ever had; and what many runs come to.

use std::fs::{self, File};
use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::time::Instant;

use anyhow::{Context as _, Result, bail};

#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// From before the process was started until it was gone.
    pub seconds: f64,
    /// `ru_maxrss` of the process.
    pub peak_bytes: u64,
    /// User and system time.
    pub cpu_seconds: f64,
}

/// Runs the command with its output in `log`; anything but exit 0 is an error with the end of it.
pub fn measure(command: &mut Command, log: &Path) -> Result<Sample> {
    let output = File::create(log).with_context(|| format!("make {}", log.display()))?;
    command.stdin(Stdio::null()).stderr(output.try_clone()?).stdout(output);
    let started = Instant::now();
    let child = command.spawn().with_context(|| format!("start {command:?}"))?;
    let (status, peak_bytes, cpu_seconds) = wait(child.id())?;
    let seconds = started.elapsed().as_secs_f64();
    if !status.success() {
        let said = fs::read_to_string(log).unwrap_or_default();
        let lines: Vec<&str> = said.lines().collect();
        let name = Path::new(command.get_program()).file_name().unwrap_or_default().to_string_lossy().into_owned();
        bail!("{name} ended with {status}:\n{}", lines[lines.len().saturating_sub(15)..].join("\n"));
    }
    Ok(Sample { seconds, peak_bytes, cpu_seconds })
}

/// The only call that tells the memory of one child rather than of all. A child starts with the peak of the process that forked it, so
/// whoever measures must stay small itself: fixtures are made by a process of their own.
fn wait(pid: u32) -> Result<(ExitStatus, u64, f64)> {
    let pid = libc::pid_t::try_from(pid)?;
    let mut status = 0;
    // SAFETY: an all-zero rusage is a valid one, and both pointers are to locals that outlive the call.
    let (ended, usage) = unsafe {
        let mut usage = std::mem::zeroed::<libc::rusage>();
        (libc::wait4(pid, &raw mut status, 0, &raw mut usage), usage)
    };
    if ended != pid {
        return Err(io::Error::last_os_error()).context("wait for a measured process");
    }
    // macOS counts bytes, everybody else KiB.
    let unit = if cfg!(target_os = "macos") { 1 } else { 1024 };
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    Ok((ExitStatus::from_raw(status), usage.ru_maxrss as u64 * unit, seconds(usage.ru_utime) + seconds(usage.ru_stime)))
}

/// The median; of an even number the middle of the two.
pub fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        odd if odd % 2 == 1 => Some(values[middle]),
        _ => Some((values[middle - 1] + values[middle]) / 2.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_of_the_sorted() {
        for (values, expected) in [(vec![], None), (vec![3.0], Some(3.0)), (vec![9.0, 1.0, 2.0], Some(2.0)), (vec![4.0, 1.0], Some(2.5))] {
            assert_eq!(median(values.into_iter()), expected);
        }
    }

    #[test]
    fn the_memory_is_the_childs_own_and_failure_is_told() {
        let log = std::env::temp_dir().join(format!("candlefish-measure-{}", std::process::id()));
        let peak = |words: &[&str]| measure(Command::new("dd").args(words), &log).unwrap().peak_bytes;
        let large = peak(&["if=/dev/zero", "of=/dev/null", "bs=67108864", "count=1"]);
        assert!(large > 64 << 20, "{large}");
        // Measured after the large one, and yet by itself.
        let small = peak(&["if=/dev/zero", "of=/dev/null", "bs=512", "count=1"]);
        assert!(small < 32 << 20, "{small}");
        let error = measure(Command::new("sh").args(["-c", "echo the reason; exit 3"]), &log).unwrap_err().to_string();
        assert!(error.contains("the reason") && error.contains('3'), "{error}");
        fs::remove_file(&log).unwrap();
    }
}
