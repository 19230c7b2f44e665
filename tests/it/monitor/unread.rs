//! A watch whose output nobody reads: a pipe that is full is no reason to stop watching, telling or serving, and none not to end.

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::hook::plain;
use super::{get, peak_kilobytes};
use crate::support::{Case, Database};

/// Waits for it, for seconds.
#[track_caller]
fn wait_for(what: &str, mut is_it: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_it() {
        assert!(began.elapsed() < Duration::from_secs(60), "{what} never came");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// SIGTERM, and its end within a second.
#[track_caller]
fn terminate(child: &mut Child) {
    assert!(Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap().success());
    let began = Instant::now();
    let code = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status.code();
        }
        if began.elapsed() > Duration::from_secs(1) {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("it did not end within a second");
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    assert_eq!(code, Some(0));
}

#[test]
fn a_watch_that_nobody_reads_goes_on_watching_telling_and_serving() {
    let database = Database::fresh();
    let case = Case::new("unread").database(&database);
    let rules = "alerts:\n  errors: {condition: 'error_rate[2s] > 1%', min_samples: 4}\n";
    std::fs::write(case.dir().join("rules.yaml"), rules).unwrap();
    // stderr is read, or is the same pipe.
    for is_read in [true, false] {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let page = format!("http://127.0.0.1:{port}");
        let (hook, told) = plain(vec![Some("200 OK"); 9]);
        let words = format!(
            "exec \"$0\" monitor --json --rules rules.yaml --interval 100ms --ignore-for --serve {port} --webhook http://127.0.0.1:{hook}/ -d {}{}",
            database.url(),
            if is_read { "" } else { " 2>&1" }
        );
        let program = case.command();
        let mut command = Command::new("sh");
        command.args(["-c", &words]).arg(program.get_program()).current_dir(case.dir());
        for (name, value) in program.get_envs() {
            if let Some(value) = value {
                command.env(name, value)
            } else {
                command.env_remove(name)
            };
        }
        let mut child = command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().unwrap();
        let history = || -> Vec<Value> {
            let (_, body) = get(&format!("{page}/api/v1/history"), &[]);
            serde_json::from_str::<Value>(&body).map_or(Vec::new(), |history| history["points"].as_array().unwrap().clone())
        };
        wait_for("the page", || TcpStream::connect(("127.0.0.1", port)).is_ok());
        // More than a pipe takes in, many times.
        wait_for("the 150th sample", || history().len() >= 150);
        wait_for("an alarm", || {
            (0..4).for_each(|_| drop(database.try_execute("SELECT 1/0")));
            told.try_recv().is_ok()
        });
        assert!(peak_kilobytes(child.id()) < 50_000, "{} kB", peak_kilobytes(child.id()));
        if is_read {
            // Whoever reads again sees whole samples, from now on too, and how many there were between.
            let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
            let mut said = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
            assert!(said.any(|line| line.contains("nobody reads stdout")));
            let mut seen = Vec::new();
            let began = jiff::Timestamp::now();
            while seen.last().is_none_or(|last| *last < began) {
                let sample: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
                seen.push(sample["at"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap());
            }
            assert!(seen.is_sorted(), "{seen:?}");
            let count = said
                .find_map(|line| line.split(" samples were dropped").next().filter(|start| start.len() < line.len()).map(str::to_string));
            let dropped: usize = count.unwrap().rsplit(' ').next().unwrap().parse().unwrap();
            assert!(dropped > 50 && seen.len() > 3, "{dropped} dropped, {} seen", seen.len());
            let before = history().last().unwrap()["at"].clone();
            // Nobody again, until it is full.
            wait_for("more samples", || history().last().unwrap()["at"] != before);
            std::thread::sleep(Duration::from_secs(3));
        }
        terminate(&mut child);
    }
}

#[test]
fn statistics_that_nobody_reads_end_when_they_are_told() {
    let database = Database::fresh();
    let case = Case::new("unread statistics").database(&database);
    for format in ["--format=json", "--format=table"] {
        let mut child = case.command().args(["stats", "all", "--watch", "100ms", format, "-d", &database.url()]).spawn().unwrap();
        let mut part = [0; 1];
        child.stdout.as_mut().unwrap().read_exact(&mut part).unwrap();
        std::thread::sleep(Duration::from_secs(3));
        terminate(&mut child);
    }
    // So many were asked for, and a reader that comes late has them all.
    let mut child = case.command().args(["stats", "--watch", "100ms", "--count", "15", "--json", "-d", &database.url()]).spawn().unwrap();
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(BufReader::new(child.stdout.take().unwrap()).lines().count(), 15);
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

/// Who has read enough waits for no sample.
#[test]
fn a_watch_ends_with_its_reader() {
    let database = Database::fresh();
    let case = Case::new("left").database(&database);
    let mut child = case.command().args(["monitor", "--json", "--interval", "2s", "-d", &database.url()]).spawn().unwrap();
    let mut reader = BufReader::new(child.stdout.take().unwrap());
    reader.read_line(&mut String::new()).unwrap();
    drop(reader);
    let began = Instant::now();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
}
