//! `candlefish monitor`: states as Prometheus has them, the strategy's four alerts by real causes, durations across runs, what is served, and what
//! others are told. Here is what its tests share.

mod browser;
mod causes;
mod cost;
mod cron;
mod hook;
mod kept;
mod load;
mod own_source;
mod page;
mod prometheus;
mod rules;
mod served;
pub mod top;
mod unread;
mod unreadable;
mod watch;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::{Child, ChildStderr, ChildStdout, Command};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::Case;

/// A monitor that runs until it is dropped.
pub struct Running {
    child: Child,
    lines: std::io::Lines<BufReader<ChildStdout>>,
    pub errors: BufReader<ChildStderr>,
}

impl Running {
    pub fn start(case: &Case, arguments: &[&str]) -> Self {
        let mut child = case.command().args(arguments).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let errors = BufReader::new(child.stderr.take().unwrap());
        Running { child, lines, errors }
    }

    /// The next sample, of one that was started with --json.
    pub fn next(&mut self) -> Value {
        let line = self.lines.next().expect("the monitor has ended").unwrap();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
    }

    /// Samples until one is as wanted, with something done before each.
    #[track_caller]
    pub fn until(&mut self, what: &str, mut before_each: impl FnMut(), is_it: impl Fn(&Value) -> bool) -> Value {
        let began = Instant::now();
        loop {
            before_each();
            let sample = self.next();
            if is_it(&sample) {
                return sample;
            }
            assert!(began.elapsed() < Duration::from_secs(60), "{what} never came: {sample:#}");
        }
    }

    /// Where the page is, as it says on stderr.
    pub fn page(&mut self) -> String {
        let mut line = String::new();
        while !line.starts_with("page: ") {
            line.clear();
            assert!(self.errors.read_line(&mut line).unwrap() > 0, "it ended without saying where its page is");
        }
        line.trim().trim_start_matches("page: ").trim_end_matches('/').to_string()
    }

    pub fn process(&self) -> u32 {
        self.child.id()
    }

    /// A signal is the normal end.
    pub fn stop(mut self) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        assert_eq!(self.child.wait().unwrap().code(), Some(0));
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // One that has been stopped is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The most memory that a process has had.
pub fn peak_kilobytes(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap().trim().trim_end_matches(" kB").parse().unwrap()
}

pub fn alert<'a>(sample: &'a Value, name: &str) -> &'a Value {
    sample["alerts"].as_array().unwrap().iter().find(|alert| alert["name"] == name).unwrap_or_else(|| panic!("no {name} in {sample:#}"))
}

/// GET, and what comes: status and body.
pub fn get(url: &str, headers: &[(&str, &str)]) -> (u16, String) {
    let (server, path) = url.trim_start_matches("http://").split_once('/').unwrap();
    let mut stream = std::net::TcpStream::connect(server).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let host = if headers.iter().any(|(name, _)| *name == "Host") { String::new() } else { format!("Host: {server}\r\n") };
    let more: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    stream.write_all(format!("GET /{path} HTTP/1.1\r\n{host}{more}Connection: close\r\n\r\n").as_bytes()).unwrap();
    let mut said = String::new();
    stream.read_to_string(&mut said).unwrap();
    let (head, body) = said.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_string())
}
