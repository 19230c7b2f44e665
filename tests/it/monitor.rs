//! `candlefish monitor`: states as Prometheus has them, the strategy's four alerts by real causes, durations across runs, what is served, and what
//! others are told.

mod causes;
mod cost;
mod hook;
mod load;
mod page;
mod top;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, ChildStdout, Command};
use std::time::{Duration, Instant};

use candlefish::monitor::export::promtool_test_of;
use candlefish::monitor::{Key, Rules, Scripted};
use serde_json::Value;

use crate::server::{Server, machine};
use crate::stats::{session, session_at};
use crate::support::{Case, Database};

/// Promtool, which `cargo xtask setup` installs.
fn promtool(folder: &Path, arguments: &[&str]) -> (bool, String) {
    let output = Command::new("promtool").args(arguments).current_dir(folder).output().expect("cargo xtask setup installs promtool");
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.success(), said(&output.stdout) + &said(&output.stderr))
}

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
        // One that waits for its reader hears no signal before it is read.
        self.lines.by_ref().for_each(drop);
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

/// POST of a form, and all that comes.
fn post(url: &str, form: &str) -> String {
    let (server, path) = url.trim_start_matches("http://").split_once('/').unwrap();
    let mut stream = std::net::TcpStream::connect(server).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let kind = "Content-Type: application/x-www-form-urlencoded";
    let head = format!("POST /{path} HTTP/1.1\r\nHost: {server}\r\n{kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", form.len());
    stream.write_all((head + form).as_bytes()).unwrap();
    let mut said = String::new();
    stream.read_to_string(&mut said).unwrap();
    said
}

fn export(case: &Case, what: &str, file: &str, more: &[&str]) -> PathBuf {
    let output = case.run_args(["monitor", "export", what].iter().chain(more)).exit(0);
    let path = case.dir().join(file);
    std::fs::write(&path, &output.stdout).unwrap();
    path
}

#[test]
fn promtool_takes_what_is_exported_and_agrees_at_every_tick() {
    let case = Case::new("export");
    export(&case, "prometheus-rules", "candlefish.rules.yaml", &[]);
    let (good, said) = promtool(case.dir(), &["check", "rules", "candlefish.rules.yaml"]);
    assert!(good && said.contains("13 rules found"), "{said}");
    let test = export(&case, "promtool-test", "test.yaml", &[]);
    let (good, said) = promtool(case.dir(), &["test", "rules", "test.yaml"]);
    assert!(good, "{said}");
    // And it would say so if one tick were different.
    let text = std::fs::read_to_string(&test).unwrap();
    assert!(text.matches("alertstate=\"firing\"").count() + text.matches("alertstate=\\\"firing\\\"").count() > 100);
    std::fs::write(&test, text.replacen("alertstate=\\\"pending\\\"", "alertstate=\\\"firing\\\"", 1)).unwrap();
    assert!(!promtool(case.dir(), &["test", "rules", "test.yaml"]).0);

    // The dashboard is a document whose panels ask for what is served.
    let dashboard = case.run("monitor export grafana-dashboard").exit(0).json();
    let panels = dashboard["panels"].as_array().unwrap();
    assert_eq!(panels.iter().filter(|panel| panel["type"] == "stat").count(), 8);
    assert!(panels.iter().all(|panel| panel["datasource"]["uid"] == "${datasource}"));
    assert!(dashboard["id"].is_null() && dashboard["uid"] == "candlefish");
}

/// Series by chance: traffic that comes and goes, next to none, resets, scrapes that are missed, series that end and come back, gauges that jump; of
/// several instances, of a database, and of both.
#[test]
fn random_series_come_to_the_same_states_in_promtool() {
    let rules_text = "alerts:\n  \
        slow: {condition: 'avg_query_time[1m] > 100ms', duration: 1m}\n  \
        slow_a: {condition: 'avg_query_time{app_instance=\"a\"}[45s] >= 100ms', duration: 30s, keep_firing_for: 1m, severity: info}\n  \
        errors: {condition: error_rate > 1%, duration: 30s, severity: critical, min_samples: 0}\n  \
        errors_many: {condition: 'error_rate[2m] > 1%', min_samples: 150, on_no_data: hold}\n  \
        errors_ending: {condition: error_rate > 1%, duration: 30s, on_no_data: inactive}\n  \
        errors_or_none: {condition: error_rate > 1%, duration: 45s, on_no_data: firing}\n  \
        pool: {condition: pool_usage > 90%, duration: 45s, keep_firing_for: 30s, labels: {team: data}}\n  \
        pool_or_none: {condition: pool_usage > 90%, on_no_data: firing}\n  \
        p95: {condition: 'p95[1m] > 50ms', duration: 15s}\n  \
        hits: {condition: 'cache_hit_ratio[1m] < 90%', duration: 1m}\n";
    let case = Case::new("random");
    std::fs::write(case.dir().join("rules.yaml"), rules_text).unwrap();
    let rules = Rules::parse(rules_text, "rules.yaml").unwrap();
    export(&case, "prometheus-rules", "candlefish.rules.yaml", &["--rules", "rules.yaml"]);
    let mut chance = Chance(0x2545_f491_4f6c_dd1d);
    let names = rules.rules.iter().map(|rule| rule.name.as_str());
    let mut wanted: Vec<(&str, &str)> =
        names.map(|name| (name, if name == "hits" { "pending" } else { "firing" })).filter(|(name, _)| *name != "p95").collect();
    wanted.push(("p95", "firing"));
    let ticks = 120;
    for run in 0..6 {
        let (with_instances, with_database) = [(true, false), (false, true), (true, true)][run % 3];
        let mut series: Vec<Scripted> = Vec::new();
        for instance in ["a", "b"].into_iter().filter(|_| with_instances) {
            let of = |family: &str| Key::new(family, &[("app_instance", instance)]);
            let bucket = |le: &str| Key::new("candlefish_query_duration_seconds_bucket", &[("app_instance", instance), ("le", le)]);
            // Whoever is idle beside a database leaves the verdict to it.
            series.extend(chance.counted(ticks, |seen| {
                vec![
                    (of("candlefish_query_duration_seconds_count"), seen.count),
                    (of("candlefish_query_duration_seconds_sum"), seen.seconds),
                    (bucket("0.05"), seen.fast),
                    (bucket("0.1"), seen.count),
                    (bucket("+Inf"), seen.count),
                    (of("candlefish_query_failures_total"), seen.failed),
                    (of("candlefish_cache_answered_total"), seen.hits),
                    (of("candlefish_cache_requests_total"), seen.count),
                    (of("candlefish_pool_in_use"), seen.in_use),
                    (of("candlefish_pool_max"), 20.0),
                ]
            }));
        }
        if with_database {
            let of = |family: &str| Key::new(family, &[]);
            series.extend(chance.counted(ticks, |seen| {
                vec![
                    (of("candlefish_pg_commits_total"), seen.count - seen.failed),
                    (of("candlefish_pg_rollbacks_total"), seen.failed),
                    (of("candlefish_statements_total"), seen.count),
                    (of("candlefish_statement_seconds_total"), seen.seconds),
                    (of("candlefish_pg_blocks_hit_total"), seen.hits),
                    (of("candlefish_pg_blocks_read_total"), seen.count - seen.hits),
                    (of("candlefish_pg_connections"), seen.in_use),
                    (of("candlefish_pg_connections_max"), 20.0),
                ]
            }));
        }
        let text = promtool_test_of(&rules, "candlefish.rules.yaml", &series, ticks);
        wanted.retain(|(name, state)| !text.contains(&format!("alertname=\\\"{name}\\\", alertstate=\\\"{state}\\\"")));
        std::fs::write(case.dir().join("test.yaml"), text).unwrap();
        let (good, said) = promtool(case.dir(), &["test", "rules", "test.yaml"]);
        assert!(good, "run {run}: {said}");
    }
    // It would prove little if nothing happened.
    assert!(wanted.is_empty(), "never seen: {wanted:?}");
}

/// A source that is named and cannot be read is not answered for by another, and keeps what fires: there as here.
#[test]
fn a_source_that_has_failed_means_the_same_in_promtool() {
    let case = Case::new("failed");
    let rules_text = "alerts:\n  \
        unknown: {condition: error_rate > 1%}\n  \
        inactive: {condition: error_rate > 1%, on_no_data: inactive}\n  \
        firing: {condition: error_rate > 1%, on_no_data: firing}\n  \
        pool: {condition: pool_usage > 90%}\n";
    std::fs::write(case.dir().join("rules.yaml"), rules_text).unwrap();
    let rules = Rules::parse(rules_text, "rules.yaml").unwrap();
    export(&case, "prometheus-rules", "candlefish.rules.yaml", &["--rules", "rules.yaml"]);
    let mut chance = Chance(0x1234_5678_9abc_def1);
    let ticks = 120;
    for run in 0..1 {
        let of = |family: &str| Key::new(family, &[]);
        let mut series = chance.counted(ticks, |seen| {
            vec![
                (of("candlefish_query_duration_seconds_count"), seen.count),
                (of("candlefish_query_failures_total"), seen.failed),
                (of("candlefish_pool_in_use"), seen.in_use),
                (of("candlefish_pool_max"), 20.0),
            ]
        });
        series.extend(chance.counted(ticks, |seen| {
            vec![
                (of("candlefish_pg_commits_total"), seen.count - seen.failed),
                (of("candlefish_pg_rollbacks_total"), seen.failed),
                (of("candlefish_pg_connections"), seen.in_use),
                (of("candlefish_pg_connections_max"), 20.0),
            ]
        }));
        for source in ["instances", "pg_stat_database"] {
            let mut failed = 0.0;
            let values = (0..ticks).map(|_| {
                failed = if chance.next() < 0.1 { 1.0 - failed } else { failed };
                Some(failed)
            });
            series.push((Key::new("candlefish_source_failed", &[("source", source)]), values.collect()));
        }
        let text = promtool_test_of(&rules, "candlefish.rules.yaml", &series, ticks);
        // What pends, as the KPIs' alerts do, waits here for a source to come back, and begins anew there.
        let text = text.replace("expr: ALERTS\n", "expr: ALERTS{alertname!~\"kpi_.*\"}\n");
        let mut lines = text.lines();
        let mut kept = String::new();
        while let Some(line) = lines.next() {
            if line.contains("alertname=\\\"kpi_") {
                lines.next();
            } else {
                kept += &format!("{line}\n");
            }
        }
        std::fs::write(case.dir().join("test.yaml"), kept).unwrap();
        let (good, said) = promtool(case.dir(), &["test", "rules", "test.yaml"]);
        assert!(good, "run {run}: {said}");
    }
}

/// Chance that is the same every time.
struct Chance(u64);

/// What was counted at a tick, and what was in use.
#[derive(Default)]
struct Seen {
    count: f64,
    seconds: f64,
    fast: f64,
    failed: f64,
    hits: f64,
    in_use: f64,
}

impl Chance {
    fn next(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// The series of one who counts.
    fn counted(&mut self, ticks: usize, keyed: impl Fn(&Seen) -> Vec<(Key, f64)>) -> Vec<Scripted> {
        let mut seen = Seen { count: self.next() * 1000.0, seconds: 7.0, ..Seen::default() };
        let (mut mood, mut traffic, mut absent, mut ended) = (0.0, 60.0, 0, false);
        let mut series: Vec<Scripted> = keyed(&seen).into_iter().map(|(key, _)| (key, Vec::new())).collect();
        for tick in 0..ticks {
            if tick % 12 == 0 {
                mood = self.next();
                traffic = [60.0, 60.0, 60.0, 6.0, 0.0][(self.next() * 5.0) as usize];
            }
            if self.next() < 0.03 {
                absent = 1 + (self.next() * 30.0) as i32;
                ended = self.next() < 0.5;
            }
            // A restart: everything begins at 0.
            if self.next() < 0.02 {
                seen = Seen::default();
            }
            let calls = if self.next() < 0.2 { 0.0 } else { (self.next() * traffic).floor() };
            seen.count += calls;
            seen.seconds += calls * 0.4 * mood * (0.5 + self.next() / 2.0);
            seen.fast += (calls * (1.0 - mood * 0.2)).floor();
            seen.failed += (calls * mood * 0.05 * self.next()).floor();
            seen.hits += (calls * (1.0 - 0.3 * mood * self.next())).floor();
            seen.in_use = (20.0 * mood).round();
            absent -= 1;
            for ((_, values), (_, value)) in series.iter_mut().zip(keyed(&seen)) {
                // A scrape that was missed, or a series that has ended and comes back.
                values.push(if absent < 0 { Some(value) } else { ended.then_some(f64::NAN) });
            }
        }
        series
    }
}

#[test]
fn rules_are_checked_and_tried() {
    let case = Case::new("rules");
    let write = |name: &str, text: &str| std::fs::write(case.dir().join(name), text).unwrap();
    write("strategy.yaml", include_str!("../../src/monitor/strategy.yaml"));
    case.run("monitor rules check strategy.yaml").exit(0).stdout_has("connection_pool_exhaustion  critical  pool_usage > 90%");
    write("bad.yaml", "alerts:\n  a:\n    condition: pool_usage > 100ms\n");
    case.run("monitor rules check bad.yaml").exit(2).stderr_has("bad.yaml:3:32: pool_usage is counted in ratios, and ms counts time");
    case.run("monitor rules check nowhere.yaml").exit(2).stderr_has("read nowhere.yaml");
    // A device has no end, a pipe has one; and what is no file keeps no state.
    for line in ["rules check /dev/zero", "rules test /dev/full", "--once --rules /dev/zero -d postgresql://x@127.0.0.1:1/x"] {
        case.run(&format!("monitor {line}")).exit(2).stderr_has("longer than 1 MiB");
    }
    for device in ["/dev/null", "/dev/zero"] {
        case.run(&format!("monitor --once --state-file {device} -d postgresql://x@127.0.0.1:1/x")).exit(2).stderr_has("it is no file");
    }
    let line = "monitor --serve 127.0.0.1:0 --token-file /dev/zero -d postgresql://x@127.0.0.1:1/x";
    case.run(line).exit(2).stderr_has("longer than 64 KiB");
    let mut piped = case.command();
    let mut child = piped.args(["monitor", "rules", "check", "/dev/stdin"]).stdin(std::process::Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"alerts:\n  a: {condition: error_rate > 1}\n").unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    // What is not written is said.
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("a: no unit is written, and its limit is taken as 100 %"), "{said}");
    // Prometheus's are not ours.
    write("prometheus.yaml", &case.run("monitor export prometheus-rules").exit(0).stdout);
    case.run("monitor rules check prometheus.yaml")
        .exit(2)
        .stderr_has("prometheus.yaml:2:1: these are rules for Prometheus")
        .stderr_has("promtool");
    write("exported.yaml", &case.run("monitor export promtool-test --rules-file prometheus.yaml").exit(0).stdout);
    case.run("monitor rules test exported.yaml").exit(2).stderr_has("these are rules for Prometheus").stderr_has("promtool test rules");
    let test = |wanted: &str| {
        format!(
            "rule_files: [strategy.yaml]\nevaluation_interval: 15s\ntests:\n- name: full\n  input_series:\n  - {{series: 'candlefish_pool_in_use{{app_instance=\"a\"}}', values: '5x3 20x9 5x9'}}\n  \
             - {{series: 'candlefish_pool_max{{app_instance=\"a\"}}', values: '20x30'}}\n  alert_rule_test:\n  - {{eval_time: 2m, alertname: connection_pool_exhaustion, exp_state: {wanted}}}\n"
        )
    };
    write("test.yaml", &test("firing"));
    case.run("monitor rules test test.yaml").exit(0).stdout_has("full  2m    connection_pool_exhaustion  firing").stderr_has("0 failed");
    write("test.yaml", &test("pending"));
    case.run("monitor rules test test.yaml").exit(1).stderr_has("connection_pool_exhaustion at 2m is firing, and should be pending");
}

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
    case.run("monitor --nagios --rules rules.yaml --state-file state.json -d {url}").exit(2).stdout_has("CRITICAL - errors ");
    // The server goes: what nobody can see is neither over nor healthy.
    let gone = case.run("monitor --once --rules rules.yaml --state-file other.json -d postgresql://x@127.0.0.1:1/x");
    gone.exit(2).stdout_has("errors  critical  unknown").stderr_has("source pg_stat_database is failed");
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
    std::fs::write(case.dir().join("state.json"), "{\"version\": 1").unwrap();
    case.run(line).exit(2).stderr_has("cannot be used");
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
fn age(state_file: &Path, by_ms: i64) {
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
    std::fs::write(state_file, saved.to_string()).unwrap();
}

#[test]
fn a_cron_job_judges_the_strategys_rules_however_rarely_it_runs() {
    let database = Database::fresh();
    database.execute("CREATE EXTENSION pg_stat_statements");
    let case = Case::new("rarely").database(&database);
    let line = "monitor --once --state-file state.json --json -d {url}";
    case.run(line);
    for (minutes, state, code) in [(5, "pending", 0), (70, "firing", 1)] {
        age(&case.dir().join("state.json"), minutes * 60_000);
        fail(&database, 40);
        for _ in 0..30 {
            database.execute("SELECT 1");
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
    once("pool_usage >= 0%", "--once").exit(1).stdout_has("firing").stderr_has("the next run begins anew");
    once("pool_usage > 100%", "--once").exit(2).stdout_has("inactive");
    once("pool_usage > 100%", "--once -q").exit(2).stderr_has("write the state file");
    once("pool_usage >= 0%", "--nagios").exit(1).stdout_has("WARNING - pool").stdout_has("\nwrite the state file");
    once("pool_usage > 100%", "--nagios").exit(3).stdout_has("UNKNOWN - write the state file");
    // By default it has one place, whether a Redis is named or not.
    let folder = case.dir().join("kept");
    let case = Case::new("one place").database(&database).env("XDG_STATE_HOME", folder.to_str().unwrap());
    case.run("monitor --once -d {url}");
    case.run("monitor --once --redis redis://127.0.0.1:1 -d {url}").exit(2);
    let kept = std::fs::read_dir(folder.join("candlefish")).unwrap();
    let names: Vec<_> = kept.map(|file| file.unwrap().file_name().into_string().unwrap()).filter(|name| name.ends_with(".json")).collect();
    assert_eq!(names.len(), 1, "{names:?}");
}

/// The clients have given up, and what the server does by itself succeeds.
#[tokio::test(flavor = "multi_thread")]
async fn autovacuum_ends_no_outage() {
    let server = Server::start(&machine(), &["autovacuum_naptime = 1"]);
    let case = Case::new("autovacuum");
    let rules = "interval: 200ms\nalerts:\n  errors: {condition: 'error_rate[3s] > 1%', min_samples: 4}\n";
    std::fs::write(case.dir().join("rules.yaml"), rules).unwrap();
    let client = session_at(&server.url()).await;
    let ask = |sql: &'static str| tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(client.batch_execute(sql)));
    let mut running = Running::start(&case, &["monitor", "--rules", "rules.yaml", "--json", "-d", &server.url()]);
    running.until("the outage", || drop(ask("SELECT 1/0 FROM pg_am").unwrap_err()), |sample| alert(sample, "errors")["state"] == "firing");
    // Nobody calls; our own looks are not counted, and it comes by every second.
    let nobody = |sample: &Value| alert(sample, "errors")["reason"].is_string() && alert(sample, "errors")["state"] == "firing";
    running.until("silence", || {}, nobody);
    for _ in 0..20 {
        let sample = running.next();
        assert!(alert(&sample, "errors")["state"] == "firing", "{sample:#}");
    }
    // What reads no table is counted late.
    let calls = || (0..20).for_each(|_| ask("SELECT FROM pg_am").unwrap());
    running.until("good times", calls, |sample| alert(sample, "errors")["state"] == "resolved");
    running.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_too_busy_to_tell_is_not_one_without_the_extension() {
    let database = Database::fresh();
    let case = Case::new("busy").database(&database);
    std::fs::write(case.dir().join("rules.yaml"), "alerts:\n  slow: {condition: avg_query_time > 100ms}\n").unwrap();
    let line = "monitor --once --rules rules.yaml --ignore-for --json -d {url}";
    let without = case.run(line).exit(0).json();
    assert_eq!(alert(&without, "slow")["state"], "not_applicable", "{without:#}");
    database.execute("CREATE EXTENSION pg_stat_statements");
    let holder = session(&database).await;
    holder.batch_execute("BEGIN; LOCK TABLE pg_stat_statements IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let busy = case.run(line).exit(2).json();
    assert_eq!(alert(&busy, "slow")["state"], "unknown", "{busy:#}");
    case.run("monitor --nagios --rules rules.yaml --ignore-for -d {url}").exit(3).stdout_has("lock timeout");
}

#[test]
fn metrics_are_served_as_prometheus_wants_them_and_only_to_those_who_may() {
    let database = Database::fresh();
    database.execute("CREATE EXTENSION pg_stat_statements");
    let case = Case::new("served").database(&database).env("POOLER_URL", &database.pooler_url());
    let url = database.url();
    let mut running = Running::start(&case, &["monitor", "--serve", "127.0.0.1:0", "--interval", "300ms", "--json", "-d", &url]);
    let page = running.page();
    running.next();
    running.next();
    let (status, metrics) = get(&format!("{page}/metrics"), &[]);
    assert_eq!(status, 200);
    assert!(
        metrics.contains("candlefish_source_up{source=\"pg_stat_statements\"} 1") && metrics.contains("candlefish_pg_commits_total "),
        "{metrics}"
    );
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    promtool.stdin.take().unwrap().write_all(metrics.as_bytes()).unwrap();
    let said = promtool.wait_with_output().unwrap();
    assert!(said.status.success() && said.stdout.is_empty() && said.stderr.is_empty(), "{said:?}\n{metrics}");
    let status: Value = serde_json::from_str(&get(&format!("{page}/api/v1/status"), &[]).1).unwrap();
    assert_eq!((&status["schema_version"], status["kpis"].as_array().unwrap().len()), (&Value::from(1), 8));
    assert_eq!(get(&format!("{page}/healthz"), &[]), (200, "ok\n".to_string()));
    assert!(!status.to_string().contains(&url), "no password is served");
    // Another site's name for this address.
    assert_eq!(get(&format!("{page}/api/v1/status"), &[("Host", "evil.example")]).0, 403);
    assert_eq!(get(&format!("{page}/nowhere"), &[]).0, 404);
    running.stop();

    case.run("monitor --serve 0.0.0.0:0 -d {url}").exit(2).stderr_has("there is no token");
    std::fs::write(case.dir().join("token"), "0123456789abcdef0123\n").unwrap();
    let mut running =
        Running::start(&case, &["monitor", "--serve", "0.0.0.0:0", "--token-file", "token", "--interval", "300ms", "--json", "-d", &url]);
    let page = running.page().replace("0.0.0.0", "127.0.0.1");
    running.next();
    // Each port has its own: browsers give a host's to all of them.
    let cookie = format!("candlefish-{}=0123456789abcdef0123", page.rsplit_once(':').unwrap().1);
    assert_eq!(get(&format!("{page}/"), &[("Cookie", "candlefish-1=0123456789abcdef0123")]).0, 401);
    for path in ["/", "/metrics", "/api/v1/status", "/api/v1/history"] {
        assert_eq!(get(&format!("{page}{path}"), &[]).0, 401, "{path}");
        assert_eq!(get(&format!("{page}{path}"), &[("Authorization", "Bearer 0123456789abcdef0124")]).0, 401, "{path}");
        assert_eq!(get(&format!("{page}{path}"), &[("Authorization", "Bearer 0123456789abcdef0123")]).0, 200, "{path}");
        assert_eq!(get(&format!("{page}{path}"), &[("Cookie", &format!("a=b; {cookie}"))]).0, 200, "{path}");
    }
    assert_eq!(get(&format!("{page}/?token=0123456789abcdef0123"), &[]).0, 303);
    // A browser is asked for it; programs are told.
    let (status, asked) = get(&format!("{page}/"), &[("Accept", "text/html,*/*")]);
    assert!(status == 401 && asked.contains("name=\"token\"") && !asked.contains("not the token"), "{asked}");
    // It leads to no other host, and nowhere by a wrong one beside a right cookie.
    assert_eq!(get(&format!("{page}//elsewhere.example/?token=0123456789abcdef0123"), &[]).0, 404);
    let entered = [("Cookie", cookie.as_str())];
    assert_eq!(get(&format!("{page}//elsewhere.example/?token=wrong"), &entered).0, 404);
    assert_eq!(get(&format!("{page}/api/v1/status?token=wrong"), &entered).0, 200);
    assert!(get(&format!("{page}/?token=wrong"), &[("Accept", "text/html")]).1.contains("That is not the token"));
    let answer = |token: &str| post(&format!("{page}/token"), &format!("token={token}"));
    assert!(answer("wrong").starts_with("HTTP/1.1 401"));
    let right = answer("0123456789abcdef0123");
    assert!(right.starts_with("HTTP/1.1 303") && right.contains(&format!("{cookie}; HttpOnly; SameSite=Lax")), "{right}");
    assert_eq!(get(&format!("{page}/healthz"), &[]).0, 200);
}

#[test]
fn the_watch_survives_the_database_and_stays_small() {
    let server = Server::start(&machine(), &["shared_preload_libraries = 'pg_stat_statements'"]);
    server.rows("CREATE EXTENSION pg_stat_statements");
    let case = Case::new("survives");
    let url = server.url();
    let mut running = Running::start(&case, &["monitor", "--serve", "127.0.0.1:0", "--interval", "200ms", "--json", "-d", &url]);
    let page = running.page();
    let state = |sample: &Value, name: &str| {
        sample["sources"].as_array().unwrap().iter().find(|source| source["name"] == name).unwrap()["state"].as_str().unwrap().to_string()
    };
    running.until("the database", || {}, |sample| state(sample, "pg_stat_database") == "there");
    server.stop();
    let gone = running.until("its end", || {}, |sample| state(sample, "pg_stat_database") == "failed");
    assert_eq!(alert(&gone, "query_error_rate")["state"], "unknown", "{gone:#}");
    assert_eq!(get(&format!("{page}/"), &[]).0, 200);
    assert_eq!(get(&format!("{page}/healthz"), &[]).0, 200);
    assert!(get(&format!("{page}/metrics"), &[]).1.contains("candlefish_source_up{source=\"pg_stat_database\"} 0"));
    server.start_again();
    let back = running.until("its return", || {}, |sample| state(sample, "pg_stat_database") == "there");
    assert!(back["connections"]["used"].is_number());
    // A load is seen at the next sample.
    let busy = running.until(
        "the load",
        || drop(server.rows("SELECT count(*) FROM generate_series(1, 20000) AS a_load")),
        |sample| sample["slow_queries"].to_string().contains("a_load"),
    );
    assert!(busy["slow_queries"][0]["calls_per_s"].as_f64().unwrap() > 0.0);
    let status = std::fs::read_to_string(format!("/proc/{}/status", running.process())).unwrap();
    let kilobytes: u64 =
        status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap().trim().trim_end_matches(" kB").parse().unwrap();
    assert!(kilobytes < 50_000, "{kilobytes} kB");
    running.stop();
}
