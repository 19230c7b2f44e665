//! What has to be said where nobody reads it: whoever waits for a reader ends when told to.

use std::io::Write as _;
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::{Case, Database};

/// A pipe that is full: the end that nobody reads, and the other.
fn full_pipe() -> (OwnedFd, OwnedFd) {
    let (theirs, ours) = std::io::pipe().unwrap();
    let (theirs, ours) = (OwnedFd::from(theirs), OwnedFd::from(ours));
    rustix::io::ioctl_fionbio(&ours, true).unwrap();
    let mut file = std::fs::File::from(ours.try_clone().unwrap());
    while file.write(&[b'x'; 512]).is_ok() {}
    rustix::io::ioctl_fionbio(&ours, false).unwrap();
    (theirs, ours)
}

/// It has done all that it can: its threads have slept for longer than `monitor --once` does between its two samples.
fn wait_until_it_waits(pid: u32) {
    let ticks = || std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap().split(' ').skip(13).take(2).collect::<Vec<_>>().join(" ");
    let (mut seen, mut since) = (ticks(), Instant::now());
    while since.elapsed() < Duration::from_millis(1500) {
        std::thread::sleep(Duration::from_millis(20));
        let now = ticks();
        if now != seen {
            (seen, since) = (now, Instant::now());
        }
    }
}

#[test]
fn whoever_waits_for_a_reader_ends_when_told_to() {
    let database = Database::fresh();
    let case = Case::new("unread").database(&database);
    let url = database.url();
    let commands = [
        (&["stats", "all", "--json", "-d", &url][..], false),
        (&["stats", "tables", "-d", &url], true),
        (&["doctor", "-d", &url], true),
        (&["monitor", "--once", "--json", "-d", &url], false),
        (&["runs", "--json", "-d", &url], false),
        (&["stats", "list"], false),
    ];
    // Side by side: each has to be seen waiting.
    let waiting = commands.map(|(words, and_stderr)| {
        let (unread, full) = full_pipe();
        let mut command = case.command();
        command.args(words).stdout(Stdio::from(full.try_clone().unwrap())).stderr(Stdio::null());
        if and_stderr {
            command.stderr(Stdio::from(full));
        }
        (words, command.spawn().unwrap(), unread)
    });
    for (words, mut child, _unread) in waiting {
        wait_until_it_waits(child.id());
        assert!(child.try_wait().unwrap().is_none(), "{words:?} does not wait");
        assert!(Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap().success());
        let began = Instant::now();
        let code = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break status.code();
            }
            if began.elapsed() > Duration::from_secs(10) {
                child.kill().unwrap();
                child.wait().unwrap();
                panic!("{words:?} did not end");
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        assert_eq!(code, Some(143), "{words:?}");
    }
}

/// Who reads slowly has all of it.
#[test]
fn a_slow_reader_has_all_of_it() {
    let database = Database::fresh();
    for part in 0..3 {
        let tables: String =
            (0..300).map(|table| format!("CREATE TABLE a_table_of_which_there_are_many_{part}_{table} (a int PRIMARY KEY);")).collect();
        database.execute(&tables);
    }
    let case = Case::new("slow reader").database(&database);
    let whole = case.run("stats tables --limit 10000 --json -d {url}").exit(0).json();
    assert_eq!(whole["rows"].as_array().unwrap().len(), 900);
    let mut command = case.command();
    let mut child =
        command.args(["stats", "tables", "--limit", "10000", "--json", "-d", &database.url()]).stdout(Stdio::piped()).spawn().unwrap();
    wait_until_it_waits(child.id());
    // Told to end it waits for its reader still, for some seconds from the last that was read on.
    assert!(Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap().success());
    std::thread::sleep(Duration::from_secs(2));
    let mut text = String::new();
    std::io::Read::read_to_string(child.stdout.as_mut().unwrap(), &mut text).unwrap();
    assert!([Some(0), Some(143)].contains(&child.wait().unwrap().code()));
    let document: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert!(text.len() > 200_000 && document["rows"].as_array().unwrap().len() == 900, "{}", text.len());
}
