//! What a run leaves for the next, and what it says of what it could not use or could not do.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Command, Stdio};
use std::time::Duration;

use super::hook::plain;
use super::{Running, alert};
use crate::support::{Case, Database};

/// One bad run, which says so; then all is as it should be, and nothing was thrown away.
#[test]
fn a_damaged_state_file_is_put_aside_and_stops_nobody_for_ever() {
    let database = Database::fresh();
    let case = Case::new("damaged").database(&database);
    std::fs::write(case.dir().join("rules.yaml"), "alerts:\n  pool: {condition: pool_usage > 100%}\n").unwrap();
    let state = case.dir().join("state.json");
    let aside = || {
        let names = std::fs::read_dir(case.dir()).unwrap().map(|file| file.unwrap().path());
        names.filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with("state.json.damaged-2")).collect::<Vec<_>>()
    };
    let line = "monitor --once --rules rules.yaml --state-file state.json -d {url}";
    case.run(line).exit(0);
    let whole = std::fs::read(&state).unwrap();
    let damages = [&b""[..], b" \n", &[0; 4096], &whole[..9], &whole[..whole.len() / 2], b"{\"version\":1,\"at\":\xff", b"{\"vers\0\0"];
    for damage in damages {
        std::fs::write(&state, damage).unwrap();
        case.run(line).exit(2).stdout_has("inactive").stderr_has("state.json was damaged (").stderr_has("state.json.damaged-2");
        case.run(line).exit(0);
    }
    let kept: Vec<Vec<u8>> = aside().iter().map(|path| std::fs::read(path).unwrap()).collect();
    assert!(kept.len() == damages.len() && damages.iter().all(|damage| kept.iter().any(|kept| kept == damage)), "{:?}", aside());
    // What nobody has written as one is not touched.
    for other in [
        &b"[1]"[..],
        b"alerts: {}\n",
        b"\xff\xfe",
        b"{\n  \"version\": \"1.2.3\"\n}\n",
        b"{\"version\":\"1.2.3\",\"mine\":true}",
        b"{\"version\":1,\"mine\":true}",
    ] {
        std::fs::write(&state, other).unwrap();
        case.run(line).exit(2).stderr_has("it is none that candlefish has written");
        assert_eq!(std::fs::read(&state).unwrap(), other);
    }
    // A run that is killed before it saves leaves it to the next one.
    std::fs::write(&state, &whole[..whole.len() / 3]).unwrap();
    let (hangs, _asked) = plain(Vec::new());
    let nowhere = format!("postgresql://nobody@127.0.0.1:{hangs}/none");
    let words = ["monitor", "--once", "--rules", "rules.yaml", "--state-file", "state.json", "-d", &nowhere];
    let mut killed = case.command().args(words).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(killed.stderr.take().unwrap()).lines();
    assert!(said.any(|line| line.unwrap().contains("state.json was damaged (")));
    killed.kill().unwrap();
    killed.wait().unwrap();
    case.run(line).exit(2).stderr_has("state.json was damaged (");
    case.run(line).exit(0);
    assert_eq!(aside().len(), damages.len() + 1);
    // Nagios, and a watch.
    let nagios = "monitor --nagios --rules rules.yaml --state-file state.json -d {url}";
    std::fs::write(&state, "").unwrap();
    case.run(nagios).exit(3).stdout_has("UNKNOWN - the state file ").stdout_has("was damaged (it is empty)");
    case.run(nagios).exit(0);
    std::fs::write(&state, "").unwrap();
    let url = database.url();
    let words = ["monitor", "--rules", "rules.yaml", "--state-file", "state.json", "--interval", "200ms", "--json", "-d", &url];
    let mut running = Running::start(&case, &words);
    assert_eq!(alert(&running.next(), "pool")["state"], "inactive");
    let mut said = String::new();
    terminate(&running);
    running.errors.read_to_string(&mut said).unwrap();
    assert!(said.contains("was damaged (it is empty)"), "{said}");
    // What fires is worse than that.
    std::fs::write(case.dir().join("rules.yaml"), "alerts:\n  pool: {condition: pool_usage >= 0%}\n").unwrap();
    std::fs::write(&state, "").unwrap();
    case.run(line).exit(1).stderr_has("was damaged (it is empty)");
    std::fs::write(&state, "").unwrap();
    case.run(nagios).exit(1).stdout_has("WARNING - pool").stdout_has("\nthe state file ");
    // One of another candlefish is whole.
    std::fs::write(&state, "{\"version\": 2, \"of\": \"a later candlefish\"}").unwrap();
    case.run(line).exit(2).stderr_has("it has version 2, not 1").stderr_has("Remove it to begin anew");
}

fn terminate(running: &Running) {
    assert!(Command::new("kill").args(["-TERM", &running.process().to_string()]).status().unwrap().success());
}

/// A watch that is stopped says who was not told, and leaves it to the next run.
#[test]
fn a_watch_that_is_stopped_says_what_it_has_not_told() {
    let database = Database::fresh();
    let case = Case::new("stopped").database(&database);
    // Somebody is always connected: the one who asks.
    std::fs::write(case.dir().join("rules.yaml"), "alerts:\n  open: {condition: pool_usage > 0%}\n").unwrap();
    let url = database.url();
    let stopped = |more: &[&str]| {
        let (hangs, asked) = plain(Vec::new());
        let hook = format!("http://127.0.0.1:{hangs}/");
        let words = ["monitor", "--rules", "rules.yaml", "--interval", "200ms", "--webhook", &hook, "-d", &url];
        let mut running = Running::start(&case, &[&words[..], more].concat());
        asked.recv_timeout(Duration::from_secs(10)).expect("nobody was told");
        terminate(&running);
        let mut said = String::new();
        running.errors.read_to_string(&mut said).unwrap();
        running.stop();
        said
    };
    let said = stopped(&["--ignore-for"]);
    assert!(said.contains("1 not told: open; without a state file they are lost"), "{said}");
    let said = stopped(&["--state-file", "state.json"]);
    assert!(said.contains("1 not told: open; the next run tells them"), "{said}");
    let (answers, asked) = plain(vec![Some("200 OK"), Some("200 OK")]);
    let hook = format!("http://127.0.0.1:{answers}/");
    let once = ["monitor", "--once", "--rules", "rules.yaml", "--state-file", "state.json", "--webhook", &hook, "-d", &url];
    let told = case.run_args(once).exit(1);
    assert!(asked.try_iter().count() == 1 && !told.stderr.contains("not told"), "{told}");
    case.run_args(once).exit(1);
    assert_eq!(asked.try_iter().count(), 0, "told twice");
}
