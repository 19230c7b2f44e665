//! `candlefish top` in a terminal: what it draws, its keys, and the terminal as it was before.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::process::Stdio;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags};
use rustix::io::{FdFlags, fcntl_getfd};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};

use crate::support::{Case, Database};

/// A terminal of so many columns and rows: our end, and the program's.
pub fn terminal(columns: u16, rows: u16) -> (OwnedFd, OwnedFd) {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY;
    // A program of another test that inherited an end would keep the terminal open.
    #[cfg(target_os = "linux")]
    let flags = flags | OpenptFlags::CLOEXEC;
    let ours = openpt(flags).unwrap();
    grantpt(&ours).unwrap();
    unlockpt(&ours).unwrap();
    let name = ptsname(&ours, Vec::new()).unwrap();
    let theirs = rustix::fs::open(name.as_c_str(), OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty()).unwrap();
    tcsetwinsize(&theirs, Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
    (ours, theirs)
}

/// What is drawn, as it comes.
pub fn drawn(ours: &OwnedFd) -> Receiver<String> {
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
    let (ours, theirs) = terminal(110, 40);
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
    // Where there is no other screen, the shell goes on in the last line, and nowhere in what was drawn.
    assert!(seen.ends_with("\x1b[0m\x1b[40;1H\x1b[K\x1b[?25h\x1b[?1049l"), "the screen is not given back: {:?}", &seen[seen.len() - 60..]);
}

/// Ctrl-Z: while it is stopped the terminal is the shell's, and then its own again.
#[test]
fn a_stopped_top_gives_the_terminal_back_until_it_goes_on() {
    let database = Database::fresh();
    let case = Case::new("stopped top").database(&database);
    let (ours, theirs) = terminal(80, 24);
    let before = tcgetattr(&theirs).unwrap().local_modes;
    let end = || Stdio::from(theirs.try_clone().unwrap());
    let mut command = case.command();
    command.args(["top", "--interval", "200ms", "-d", &database.url()]).env("TERM", "xterm").stdin(end()).stdout(end());
    let mut child = command.spawn().unwrap();
    let frames = drawn(&ours);
    let send =
        |signal: &str| assert!(std::process::Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success());
    let until = |what: &str, is_there: &dyn Fn(&str) -> bool| {
        let (mut seen, began) = (String::new(), Instant::now());
        while !is_there(&seen) {
            assert!(began.elapsed() < Duration::from_secs(30), "{what} never came: {seen:?}");
            seen.extend(frames.recv_timeout(Duration::from_millis(100)));
        }
    };
    let is_stopped = || {
        let said = std::process::Command::new("ps").args(["-o", "stat=", "-p", &child.id().to_string()]).output().unwrap().stdout;
        String::from_utf8_lossy(&said).trim_start().starts_with('T')
    };
    until("a frame", &|seen| seen.contains("q quits"));
    send("-TSTP");
    until("the shell's screen", &|seen| seen.ends_with("\x1b[?25h\x1b[?1049l") && is_stopped());
    assert_eq!(tcgetattr(&theirs).unwrap().local_modes, before);
    send("-CONT");
    until("another frame", &|seen| seen.contains("\x1b[?1049h") && seen.contains("q quits"));
    assert!(!tcgetattr(&theirs).unwrap().local_modes.contains(LocalModes::ICANON), "keys come as they are pressed again");
    File::from(ours.try_clone().unwrap()).write_all(b"q").unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

/// A terminal whose locale is not UTF-8 is shown nothing that it has no letters for.
#[test]
fn a_terminal_without_utf8_is_drawn_on_in_ascii() {
    let database = Database::fresh();
    let case = Case::new("ascii").database(&database);
    for (locale, is_ascii) in [("C", true), ("en_US.ISO-8859-1", true), ("C.UTF-8", false)] {
        let (ours, theirs) = terminal(60, 24);
        let end = || Stdio::from(theirs.try_clone().unwrap());
        let mut command = case.command();
        command
            .args(["top", "--interval", "200ms", "-d", &database.url()])
            .env("TERM", "xterm")
            .env("LC_ALL", locale)
            .stdin(end())
            .stdout(end());
        let mut child = command.spawn().unwrap();
        drop(command);
        let frames = drawn(&ours);
        let (mut seen, began) = (String::new(), Instant::now());
        let has_bars = |seen: &str| seen.lines().any(|line| line.starts_with("connections ") && line.contains(['#', '█']));
        let is_cut = |seen: &str| seen.contains(['~', '…']);
        while !(has_bars(&seen) && is_cut(&seen)) {
            assert!(began.elapsed() < Duration::from_secs(30), "{locale}: {seen}");
            seen.extend(frames.recv_timeout(Duration::from_millis(100)));
        }
        assert_eq!(seen.is_ascii(), is_ascii, "{locale}: {seen}");
        File::from(ours.try_clone().unwrap()).write_all(b"q").unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(0));
    }
    // Tables, too; and a pipe is given what it is given in every locale.
    let (ours, theirs) = terminal(60, 24);
    let mut command = case.command();
    for table in 0..3 {
        database.execute(&format!("CREATE TABLE t{table} (a int)"));
    }
    command.args(["stats", "tables", "--limit", "1", "-d", &database.url()]).env("LC_ALL", "C").stdout(Stdio::from(theirs));
    let screen = drawn(&ours);
    assert_eq!(command.spawn().unwrap().wait().unwrap().code(), Some(0));
    drop(command);
    let shown: String = screen.iter().collect();
    assert!(shown.is_ascii() && shown.contains("... and 2 more tables (--limit)"), "{shown}");
    let case = case.env("LC_ALL", "C");
    case.run("stats tables --limit 1 -d {url}").exit(0).stdout_has("… and 2 more tables (--limit)");
}

#[test]
fn top_wants_a_terminal_and_a_signal_is_its_normal_end() {
    let database = Database::fresh();
    let case = Case::new("no terminal").database(&database);
    case.run("top -d {url}").exit(2).stderr_has("stdout is none").stderr_has("monitor --json");
    let (ours, theirs) = terminal(110, 40);
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

/// Alerts, charts, KPIs and statements share what rows there are.
#[test]
fn top_shows_a_statement_beside_four_alerts_in_24_rows() {
    let database = Database::fresh();
    database.execute("CREATE EXTENSION pg_stat_statements; CREATE TABLE shop (a int)");
    let case = Case::new("shared rows").database(&database);
    let rule = |name, limit| format!("  alert_{name}: {{condition: pool_usage > {limit}%}}\n");
    let rules = ["a", "b", "c", "d"].map(|name| rule(name, 0)).concat() + &["e", "f", "g", "h"].map(|name| rule(name, 100)).concat();
    std::fs::write(case.dir().join("rules.yaml"), format!("alerts:\n{rules}")).unwrap();
    let (ours, theirs) = terminal(80, 24);
    let mut command = case.command();
    command.args(["top", "--rules", "rules.yaml", "--interval", "200ms", "-d", &database.url()]).env("TERM", "xterm");
    let mut child = command.stdin(Stdio::from(theirs.try_clone().unwrap())).stdout(theirs).spawn().unwrap();
    drop(command);
    let frames = drawn(&ours);
    let (mut seen, began) = (String::new(), Instant::now());
    let is_whole = |frame: &&str| {
        ["alert_a", "alert_d", "alert_e", "mean time", "KPIs", "FROM shop", "q quits"].iter().all(|word| frame.contains(word))
    };
    while !seen.split("\x1b[H").any(|frame| is_whole(&frame)) {
        assert!(began.elapsed() < Duration::from_secs(30), "{seen}");
        database.rows("SELECT count(*) FROM shop, pg_sleep(0.02)");
        seen.extend(frames.try_iter());
    }
    let frame = seen.split("\x1b[H").find(is_whole).unwrap();
    assert!(frame.split("\r\n").count() <= 24, "{frame}");
    File::from(ours.try_clone().unwrap()).write_all(b"q").unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

/// What fires is said even where there is room for little, and no line wraps or scrolls what stands above it away.
#[test]
fn top_says_what_fires_on_the_smallest_of_terminals() {
    let database = Database::fresh();
    let case = Case::new("small").database(&database);
    std::fs::write(case.dir().join("rules.yaml"), "alerts:\n  always: {condition: pool_usage >= 0%, severity: critical}\n").unwrap();
    let (ours, theirs) = terminal(40, 8);
    let mut command = case.command();
    command.args(["top", "--rules", "rules.yaml", "--interval", "200ms", "-d", &database.url()]).env("TERM", "xterm");
    let mut child = command.stdin(Stdio::from(theirs.try_clone().unwrap())).stdout(theirs).spawn().unwrap();
    drop(command);
    let frames = drawn(&ours);
    let mut seen = String::new();
    // Whole is one that another follows.
    let whole = |seen: &str| {
        let mut frames: Vec<String> = seen.split("\x1b[H").map(str::to_string).collect();
        frames.pop();
        frames.into_iter().find(|frame| frame.contains("firing"))
    };
    while whole(&seen).is_none() {
        seen.push_str(&frames.recv_timeout(Duration::from_secs(30)).unwrap());
    }
    let frame = whole(&seen).unwrap();
    // The terminal adds a return of its own.
    let lines: Vec<&str> = frame.split("\r\n").map(|line| line.trim_end_matches('\r')).collect();
    assert!(lines.len() <= 8, "{frame}");
    assert!(lines.iter().any(|line| line.contains("firing always")), "{frame}");
    // What no terminal shows is no character.
    let shown = |line: &str| {
        line.split('\x1b')
            .enumerate()
            .map(|(at, part)| if at == 0 { part } else { part.split_once(['m', 'K', 'J', 'h', 'l']).map_or("", |(_, rest)| rest) })
            .map(|part| part.chars().count())
            .sum::<usize>()
    };
    assert!(lines.iter().all(|line| shown(line) < 40), "{frame}");
    File::from(ours.try_clone().unwrap()).write_all(b"q").unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

/// What nobody lets go on (Ctrl-S) ends all the same when it is told to, and leaves the terminal as it was.
#[test]
fn a_stopped_terminal_keeps_nobody_from_ending() {
    let database = Database::fresh();
    let case = Case::new("stopped").database(&database);
    for words in [&["top", "--interval", "200ms"][..], &["stats", "tables", "--watch", "200ms"]] {
        let (ours, theirs) = terminal(80, 24);
        let before = tcgetattr(&theirs).unwrap().local_modes;
        let end = || Stdio::from(theirs.try_clone().unwrap());
        let mut command = case.command();
        command.args(words).args(["-d", &database.url()]).env("TERM", "xterm").stdin(end()).stdout(end()).stderr(end());
        let mut child = command.spawn().unwrap();
        drop(command);
        let frames = drawn(&ours);
        let mut seen = String::new();
        while seen.matches("\x1b[H").count() < 3 {
            seen.push_str(&frames.recv_timeout(Duration::from_secs(30)).unwrap());
        }
        File::from(ours.try_clone().unwrap()).write_all(b"\x13").unwrap();
        // Nothing comes any more: it stands in a write.
        while let Ok(more) = frames.recv_timeout(Duration::from_secs(2)) {
            seen.push_str(&more);
        }
        let began = Instant::now();
        assert!(std::process::Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap().success());
        let status = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break status;
            }
            assert!(began.elapsed() < Duration::from_secs(20), "{words:?} does not end");
            std::thread::sleep(Duration::from_millis(5));
        };
        assert!(began.elapsed() < Duration::from_secs(5), "{words:?} took {:?}", began.elapsed());
        assert_eq!(status.code(), Some(0), "{words:?}");
        assert_eq!(tcgetattr(&theirs).unwrap().local_modes, before);
        drop(theirs);
        seen.extend(frames.iter());
        assert!(words[0] != "top" || seen.ends_with("\x1b[?25h\x1b[?1049l"), "{:?}", &seen[seen.len().saturating_sub(80)..]);
    }
}

#[test]
fn a_terminal_of_a_test_is_no_others() {
    let (ours, theirs) = terminal(80, 24);
    for end in [&ours, &theirs] {
        assert!(fcntl_getfd(end).unwrap().contains(FdFlags::CLOEXEC));
    }
}
