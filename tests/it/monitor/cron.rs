//! Runs that come and go, as cron starts them: durations go on from one to the next.

use std::io::BufRead as _;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{Running, alert};
use crate::support::{Case, Database};

const ERRORS: &str = "alerts:\n  errors: {condition: 'error_rate[30s] > 20%', duration: 2s, severity: critical, min_samples: 5}\n";

/// Statements that fail, until the server has counted them.
fn fail(database: &Database, count: usize) {
    let counted =
        || database.value("SELECT xact_rollback FROM pg_stat_database WHERE datname = current_database()").parse::<usize>().unwrap();
    let before = counted();
    for _ in 0..count {
        database.try_execute("SELECT 1/0").unwrap_err();
    }
    let began = Instant::now();
    while counted() < before + count {
        assert!(began.elapsed() < Duration::from_secs(20), "the server never counted them");
    }
}

#[test]
fn runs_from_cron_honour_durations_and_say_when_it_is_over() {
    let database = Database::fresh();
    let case = Case::new("cron").database(&database);
    std::fs::write(case.dir().join("rules.yaml"), ERRORS.replace("min_samples: 5", "min_samples: 5, on_no_data: hold")).unwrap();
    let line = "monitor --once --rules rules.yaml --state-file state.json --json -d {url}";
    // Nothing has happened yet: no alarm, and no word of health.
    let first = case.run(line).exit(0).json();
    let errors = alert(&first, "errors");
    assert!(errors["state"] == "inactive" && errors["value"].is_null(), "{first:#}");
    assert_eq!(errors["reason"], "nothing happened in the window");
    // Only where the rules say that silence is none: what was not seen is not known.
    std::fs::write(case.dir().join("never.yaml"), ERRORS).unwrap();
    let never = case.run("monitor --once --rules never.yaml --ignore-for --json -d {url}").exit(2).json();
    assert_eq!(alert(&never, "errors")["state"], "unknown", "{never:#}");
    fail(&database, 40);
    let second = case.run(line).exit(0).json();
    assert_eq!(alert(&second, "errors")["state"], "pending", "{second:#}");
    assert_eq!(alert(&second, "errors")["source"], "pg_stat_database");
    // Of its own short look alone nothing is to be said.
    std::fs::write(case.dir().join("many.yaml"), ERRORS.replace("min_samples: 5", "min_samples: 5000, on_no_data: hold")).unwrap();
    case.run("monitor --nagios --rules many.yaml --ignore-for -d {url}").exit(0).stdout_has("OK - 1 of 1 rules");
    let began = Instant::now();
    let third = loop {
        fail(&database, 5);
        let run = case.run(line);
        if run.code == Some(1) {
            break run.json();
        }
        assert!(began.elapsed() < Duration::from_secs(20));
    };
    assert_eq!(alert(&third, "errors")["state"], "firing");
    assert!(alert(&third, "errors")["value"].as_f64().unwrap() > 0.2 && alert(&third, "errors")["threshold"] == 0.2);
    case.run("monitor --nagios --rules rules.yaml --state-file state.json -d {url}")
        .exit(2)
        .stdout_has("CRITICAL - errors ")
        .stdout_has("a deliberate ROLLBACK is counted as an error");
    // The server goes: what nobody can see is neither over nor healthy.
    let gone = case.run("monitor --once --rules rules.yaml --state-file other.json -d postgresql://x@127.0.0.1:1/x");
    gone.exit(2).stdout_has("errors             critical  unknown").stderr_has("source pg_stat_database is failed");
    case.run("monitor --nagios -d postgresql://x@127.0.0.1:1/x").exit(3).stdout_has("UNKNOWN - ");
    case.run("monitor --nagios --no-such-flag").exit(3).stdout_has("UNKNOWN - ");
    case.run("monitor --once --state-file state.json --rules rules.yaml -d postgresql://x@127.0.0.1:1/x").exit(2).stderr_has("it is of");
    // Good times.
    let resolved = loop {
        for _ in 0..200 {
            database.execute("SELECT 1");
        }
        let run = case.run(line);
        if run.code == Some(0) {
            break run.json();
        }
        assert!(began.elapsed() < Duration::from_secs(60), "{}", run.stdout);
    };
    assert_eq!(alert(&resolved, "errors")["state"], "resolved", "{resolved:#}");
}

/// A job that comes more rarely than its rules look back judges all the time since it last came.
#[test]
fn a_job_may_be_rarer_than_its_windows() {
    let database = Database::fresh();
    let case = Case::new("rare").database(&database);
    let rules = "alerts:\n  errors: {condition: 'error_rate[1s] > 20%', min_samples: 5}\n";
    std::fs::write(case.dir().join("rules.yaml"), rules).unwrap();
    let line = "monitor --once --rules rules.yaml --state-file state.json --json -d {url}";
    case.run(line).exit(2);
    let ran = Instant::now();
    fail(&database, 40);
    // What the window of a second reaches is past.
    while ran.elapsed() < Duration::from_millis(1500) {
        database.rows("SELECT pg_sleep(0.2)");
    }
    let second = case.run(line).exit(1).json();
    let errors = alert(&second, "errors");
    assert!(errors["state"] == "firing" && errors["value"].as_f64().unwrap() > 0.2, "{second:#}");
    assert!(second["metrics"]["error_rate"]["window_seconds"].as_f64().unwrap() >= 60.0);
}

/// As if the run that left this file had been so long ago.
pub fn age(state_file: &Path, by_ms: i64) {
    let mut saved: Value = serde_json::from_str(&std::fs::read_to_string(state_file).unwrap()).unwrap();
    let earlier = |time: &mut Value| {
        if let Some(ms) = time.as_i64() {
            *time = (ms - by_ms).into();
        }
    };
    earlier(&mut saved["at"]);
    for series in saved["series"].as_array_mut().unwrap() {
        series[1].as_array_mut().unwrap().iter_mut().for_each(|point| earlier(&mut point[0]));
    }
    for (_, alert) in saved["alerts"].as_object_mut().unwrap() {
        ["active_at", "fired_at", "resolved_at"].iter().for_each(|name| earlier(&mut alert[*name]));
    }
    saved["missed"].as_object_mut().into_iter().flat_map(|missed| missed.values_mut()).for_each(earlier);
    std::fs::write(state_file, saved.to_string()).unwrap();
}

#[test]
fn a_cron_job_judges_the_strategys_rules_however_rarely_it_runs() {
    let database = Database::fresh();
    database.execute("CREATE EXTENSION pg_stat_statements; CREATE TABLE read AS SELECT 1 AS i");
    let case = Case::new("rarely").database(&database);
    let line = "monitor --once --state-file state.json --json -d {url}";
    case.run(line);
    for (minutes, state, code) in [(5, "pending", 0), (70, "firing", 1)] {
        age(&case.dir().join("state.json"), minutes * 60_000);
        fail(&database, 40);
        for _ in 0..30 {
            database.execute("SELECT count(*) FROM read");
        }
        let seen = case.run(line).exit(code).json();
        let errors = alert(&seen, "query_error_rate");
        assert!(errors["state"] == state && errors["value"].as_f64().unwrap() > 0.2, "{errors:#}");
        // Its window is two minutes, in which there is one sample.
        let slow = alert(&seen, "database_slow_queries");
        assert!(slow["state"] == "inactive" && slow["value"].is_number(), "{slow:#}");
    }
}

#[test]
fn what_cannot_be_kept_stops_no_watch_and_hides_no_alert() {
    let database = Database::fresh();
    let case = Case::new("no room").database(&database);
    let url = database.url();
    // Nobody can make a file there.
    let nowhere = ["--state-file", "/proc/candlefish/state.json", "-d", &url];
    let mut running = Running::start(&case, &[&["monitor", "--interval", "100ms", "--json"][..], &nowhere].concat());
    for _ in 0..3 {
        running.next();
    }
    let mut said = String::new();
    while !said.contains("the watch goes on without it") {
        assert!(running.errors.read_line(&mut said).unwrap() > 0, "{said}");
    }
    running.stop();
    let once = |rule: &str, more: &str| {
        std::fs::write(case.dir().join("rules.yaml"), format!("alerts:\n  pool: {{condition: {rule}}}\n")).unwrap();
        case.run_args(["monitor", "--rules", "rules.yaml"].into_iter().chain(more.split(' ')).chain(nowhere))
    };
    once("pool_usage >= 0%", "--once").exit(1).stdout_has("firing").stderr_has("and the next run begins anew").stderr_has("--state-file");
    once("pool_usage > 100%", "--once").exit(2).stdout_has("inactive");
    once("pool_usage > 100%", "--once -q").exit(2).stderr_has("write the state file");
    once("pool_usage >= 0%", "--nagios").exit(1).stdout_has("WARNING - pool").stdout_has("\nwrite the state file");
    once("pool_usage > 100%", "--nagios").exit(3).stdout_has("UNKNOWN - write the state file");
    // One that is there stays as it was.
    let state = case.dir().join("state.json");
    let line = ["monitor", "--once", "--rules", "rules.yaml", "--state-file", "state.json", "-d", &url];
    case.run_args(line).exit(0);
    let before = std::fs::read(&state).unwrap();
    let mut without_room = std::process::Command::new("sh");
    without_room.args(["-c", "trap '' XFSZ; ulimit -f 1; exec \"$0\" \"$@\""]).arg(case.command().get_program()).args(line);
    let output = without_room.current_dir(case.dir()).env("HOME", case.dir()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("state.json: File too large") && said.contains("from where the next run goes on"), "{said}");
    assert_eq!(std::fs::read(&state).unwrap(), before);
    let left: Vec<_> = std::fs::read_dir(case.dir()).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    assert!(left.iter().all(|name| !name.starts_with(".state.json.") || name == ".state.json.lock"), "{left:?}");
    // By default it has one place, whether a Redis is named or not.
    let folder = case.dir().join("kept");
    let case = Case::new("one place").database(&database).env("XDG_STATE_HOME", folder.to_str().unwrap());
    case.run("monitor --once -d {url}");
    case.run("monitor --once --redis redis://127.0.0.1:1 -d {url}").exit(2);
    let kept = std::fs::read_dir(folder.join("candlefish")).unwrap();
    let names: Vec<_> = kept.map(|file| file.unwrap().file_name().into_string().unwrap()).filter(|name| name.ends_with(".json")).collect();
    assert_eq!(names.len(), 1, "{names:?}");
}

/// Two watches would tell everything twice, and each forget what the other has seen.
#[test]
fn a_state_file_has_one_watch() {
    let database = Database::fresh();
    let case = Case::new("one watch").database(&database);
    let url = database.url();
    let file = ["--state-file", "state.json", "-d", &url];
    let mut running = Running::start(&case, &[&["monitor", "--interval", "200ms", "--json"][..], &file].concat());
    running.next();
    let who = format!("state.json is held by a watch, process {}, since ", running.process());
    std::os::unix::fs::symlink("state.json", case.dir().join("link.json")).unwrap();
    for more in ["", "--once", "--nagios"] {
        let words = ["monitor"].into_iter().chain(more.split_whitespace()).chain(file);
        let began = Instant::now();
        let refused = case.run_args(words).exit(if more == "--nagios" { 3 } else { 2 });
        assert!(format!("{}{}", refused.stdout, refused.stderr).contains(&who), "{refused}");
        assert!(began.elapsed() < Duration::from_secs(10));
    }
    case.run("monitor --once --state-file link.json -d {url}").exit(2).stderr_has(&who).stderr_has("--ignore-for");
    running.stop();
    let code = case.run_args(["monitor", "--once"].into_iter().chain(file)).code;
    assert!(code != Some(2) || case.dir().join("state.json").is_file());
}
