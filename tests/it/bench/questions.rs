//! What destroys asks on a terminal, and a signal is an answer.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::case;
use crate::monitor::top::{drawn, terminal};
use crate::support::Database;

#[test]
fn a_question_is_left_by_a_signal_at_once() {
    let database = Database::fresh();
    let case = case("asked", &database, &[]);
    for (signal, code) in [("-INT", 130), ("-TERM", 143)] {
        let (ours, theirs) = terminal(100, 20);
        let end = || Stdio::from(theirs.try_clone().unwrap());
        let mut command = case.command();
        command.args(["bench", "clean", "-d", &database.url()]).stdin(end()).stderr(end());
        let mut child = command.spawn().unwrap();
        let (said, mut seen, began) = (drawn(&ours), String::new(), Instant::now());
        while !seen.contains("[y/N]") {
            assert!(began.elapsed() < Duration::from_secs(30), "nothing was asked: {seen}");
            seen.extend(said.recv_timeout(Duration::from_millis(100)));
        }
        let told = Instant::now();
        assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success());
        while child.try_wait().unwrap().is_none() && told.elapsed() < Duration::from_secs(10) {
            seen.extend(said.recv_timeout(Duration::from_millis(20)));
        }
        // One that stands in its question is not left behind.
        let ended = child.try_wait().unwrap();
        let _ = child.kill();
        child.wait().unwrap();
        assert_eq!(ended.map(|status| status.code()), Some(Some(code)), "{seen}");
    }
}
