//! `candlefish top` in a terminal: what it draws, its keys, and the terminal as it was before.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::process::Stdio;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};

use crate::support::{Case, Database};

/// A terminal of 110 columns and 40 rows: our end, and the program's.
fn terminal() -> (OwnedFd, OwnedFd) {
    let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&ours).unwrap();
    unlockpt(&ours).unwrap();
    let name = ptsname(&ours, Vec::new()).unwrap();
    let theirs = rustix::fs::open(name.as_c_str(), OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).unwrap();
    tcsetwinsize(&theirs, Winsize { ws_row: 40, ws_col: 110, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
    (ours, theirs)
}

/// What is drawn, as it comes.
fn drawn(ours: &OwnedFd) -> Receiver<String> {
    let (sender, drawn) = channel();
    let mut screen = File::from(ours.try_clone().unwrap());
    std::thread::spawn(move || {
        let mut buffer = [0; 65536];
        // It ends with an error once nobody has the other end open.
        while let Ok(length @ 1..) = screen.read(&mut buffer) {
            if sender.send(String::from_utf8_lossy(&buffer[..length]).into_owned()).is_err() {
                return;
            }
        }
    });
    drawn
}

#[test]
fn top_draws_until_q_and_leaves_the_terminal_as_it_was() {
    let database = Database::fresh();
    database.execute("CREATE EXTENSION pg_stat_statements; CREATE TABLE shop (a int)");
    let case = Case::new("top").database(&database);
    let (ours, theirs) = terminal();
    let before = tcgetattr(&theirs).unwrap().local_modes;
    assert!(before.contains(LocalModes::ECHO | LocalModes::ICANON));
    let end = || Stdio::from(theirs.try_clone().unwrap());
    let mut command = case.command();
    command.args(["top", "--interval", "200ms", "-d", &database.url()]).env("TERM", "xterm").stdin(end()).stdout(end());
    let mut child = command.spawn().unwrap();
    let frames = drawn(&ours);
    let mut seen = String::new();
    let wanted = ["\x1b[?1049h", "candlefish top", "connections ", "calls/s", "KPIs ", "query_error_rate", "FROM shop", "q quits"];
    let began = Instant::now();
    while let Some(missing) = wanted.iter().find(|word| !seen.contains(**word)) {
        assert!(began.elapsed() < Duration::from_secs(30), "{missing:?} was not drawn: {seen}");
        database.rows("SELECT count(*) FROM shop, pg_sleep(0.02)");
        seen.extend(frames.try_iter());
    }
    // Every line fits, whatever the statement.
    let longest = seen.split("\r\n").map(|line| line.chars().filter(|c| !c.is_control()).count()).max().unwrap();
    assert!(longest < 110 + "[?1049h[?25l[2J[H[K[J[1m[0m".len(), "{longest}");
    assert!(!tcgetattr(&theirs).unwrap().local_modes.contains(LocalModes::ICANON), "keys come as they are pressed");
    File::from(ours.try_clone().unwrap()).write_all(b"xq").unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert_eq!(tcgetattr(&theirs).unwrap().local_modes, before);
    drop((command, theirs));
    // Until the reader has read everything.
    seen.extend(frames.iter());
    assert!(seen.trim_end().ends_with("\x1b[?25h\x1b[?1049l"), "the screen is not given back: {:?}", &seen[seen.len() - 40..]);
}

#[test]
fn top_wants_a_terminal_and_a_signal_is_its_normal_end() {
    let database = Database::fresh();
    let case = Case::new("no terminal").database(&database);
    case.run("top -d {url}").exit(2).stderr_has("stdout is none").stderr_has("monitor --json");
    let (ours, theirs) = terminal();
    let mut command = case.command();
    command.args(["top", "--interval", "200ms", "-d", &database.url()]).env("TERM", "xterm");
    command.stdin(Stdio::null()).stdout(theirs);
    let mut child = command.spawn().unwrap();
    drop(command);
    let frames = drawn(&ours);
    let mut seen = String::new();
    while !seen.contains("q quits") {
        seen.push_str(&frames.recv_timeout(Duration::from_secs(30)).unwrap());
    }
    assert!(std::process::Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(0));
    seen.extend(frames.iter());
    assert!(seen.ends_with("\x1b[?25h\x1b[?1049l"), "{seen:?}");
}
