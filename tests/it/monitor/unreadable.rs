//! A source that cannot be read is an alert of its own: it pends, fires, is told, and is over, whatever the rules are about.

use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::process::Stdio;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde_json::Value;

use super::cron::age;
use super::hook::take;
use super::{Running, get};
use crate::server::{Server, machine};
use crate::support::{Case, Database};

/// A rule that never holds, and that PostgreSQL alone judges.
const QUIET: &str = "alerts:\n  pool: {condition: pool_usage > 100%}\n";

/// The alert about this source, where there is one.
fn of<'a>(sample: &'a Value, source: &str) -> Option<&'a Value> {
    let alerts = sample["alerts"].as_array().unwrap().iter();
    alerts.into_iter().find(|alert| alert["name"] == "source_unreadable" && alert["source"] == source)
}

fn state<'a>(sample: &'a Value, source: &str) -> &'a str {
    of(sample, source).map_or("none", |alert| alert["state"].as_str().unwrap())
}

/// Takes what it is sent.
fn receiver() -> (String, Receiver<Value>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    let (sender, received) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            // A watch that is stopped hangs up.
            if take(&mut BufReader::new(stream.unwrap())).is_some_and(|document| sender.send(document).is_err()) {
                return;
            }
        }
    });
    (url, received)
}

/// What one notice says: firing or resolved, of which source, and its annotations.
fn told(notices: impl Iterator<Item = Value>) -> Vec<(String, String, Value)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_string();
    let one = |document: Value| {
        let alert = &document["alerts"][0];
        assert_eq!((&alert["labels"]["alertname"], &alert["labels"]["severity"]), (&"source_unreadable".into(), &"critical".into()));
        assert_eq!(document["groupLabels"]["source"], alert["labels"]["source"]);
        (text(&document["status"]), text(&alert["labels"]["source"]), alert["annotations"].clone())
    };
    notices.map(one).collect()
}

#[test]
fn cron_is_told_that_postgresql_cannot_be_read_and_that_it_can_again() {
    let server = Server::start(&machine(), &[]);
    let (hook, notices) = receiver();
    let case = Case::new("unreadable").env("CANDLEFISH_WEBHOOK", &hook);
    std::fs::write(case.dir().join("rules.yaml"), QUIET).unwrap();
    let (url, state_file) = (server.url(), case.dir().join("state.json"));
    let run = |more: &str| {
        let words = ["monitor", "--rules", "rules.yaml", "--state-file", "state.json", "-d", &url];
        case.run_args(words.into_iter().chain(more.split(' ')))
    };
    let well = run("--once --json").exit(0).json();
    assert_eq!(state(&well, "pg_stat_database"), "inactive");
    // Of who is not there, and is named by nobody, nothing is said.
    assert_eq!(["instances", "pgbouncer", "pg_stat_statements"].map(|source| state(&well, source)), ["none"; 3]);
    server.stop();
    let pending = run("--once --json").exit(2).json();
    assert_eq!(state(&pending, "pg_stat_database"), "pending", "{pending:#}");
    run("--nagios").exit(3).stdout_has("UNKNOWN - pool: a source cannot be read; ");
    assert_eq!(told(notices.try_iter()), []);
    age(&state_file, 60_000);
    let firing = run("--once --json").exit(1).json();
    let alert = of(&firing, "pg_stat_database").unwrap();
    assert_eq!(
        (&alert["state"], &alert["severity"], &alert["labels"]["source"]),
        (&"firing".into(), &"critical".into(), &"pg_stat_database".into())
    );
    assert!(alert["reason"].as_str().unwrap().contains("cannot be reached"), "{alert:#}");
    assert_eq!(state(&firing, "pg_stat_statements"), "none", "it is in the same server");
    let said = told(notices.try_iter());
    let [(status, source, annotations)] = &said[..] else { panic!("{said:#?}") };
    assert_eq!((status.as_str(), source.as_str()), ("firing", "pg_stat_database"));
    assert_eq!(annotations["summary"], "pg_stat_database cannot be read");
    assert!(annotations["reason"].as_str().unwrap().contains("cannot be reached"), "{annotations:#}");
    // The cause is said once, however many rules it leaves in the dark.
    let strategys = ["monitor", "--nagios", "--ignore-for", "-d", &url];
    for nagios in [run("--nagios"), case.run_args(strategys)] {
        let nagios = nagios.exit(2).stdout_has("CRITICAL - source_unreadable pg_stat_database for ");
        assert_eq!(nagios.stdout.matches("cannot be reached").count(), 1, "{nagios}");
    }
    run("--once").exit(1).stdout_has("source_unreadable  critical  firing");
    server.start_again();
    let back = run("--once --json").exit(0).json();
    assert_eq!(state(&back, "pg_stat_database"), "resolved", "{back:#}");
    let said: Vec<_> = told(notices.try_iter()).into_iter().filter(|(status, ..)| status == "resolved").collect();
    assert_eq!(said.len(), 1, "{said:#?}");
}

/// A watch of everything: each source by itself, in every place where alerts are.
#[test]
fn each_source_that_is_named_has_an_alert_of_its_own() {
    let server = Server::start(&machine(), &[]);
    let (hook, notices) = receiver();
    let case = Case::new("each source").env("CANDLEFISH_WEBHOOK", &hook);
    // One of the same name takes the place of the built-in one.
    let quick =
        format!("interval: 200ms\n{QUIET}  source_unreadable: {{condition: source_failed > 0, duration: 600ms, severity: critical}}\n");
    std::fs::write(case.dir().join("rules.yaml"), quick).unwrap();
    let nobody = |scheme: &str| format!("{scheme}://x@127.0.0.1:1/x");
    let (pooler, redis, url) = (nobody("postgresql"), "redis://127.0.0.1:1".to_string(), server.url());
    let words = ["monitor", "--rules", "rules.yaml", "--pooler", &pooler, "--redis", &redis, "-d", &url];
    let mut running = Running::start(&case, &[&words[..], &["--json", "--serve", "127.0.0.1:0"]].concat());
    let page = running.page();
    let first = running.next();
    assert_eq!(["pgbouncer", "instances", "pg_stat_database"].map(|source| state(&first, source)), ["pending", "pending", "inactive"]);
    let both = |sample: &Value| ["pgbouncer", "instances"].iter().all(|source| state(sample, source) == "firing");
    let sample = running.until("both", || {}, both);
    assert_eq!(state(&sample, "pg_stat_database"), "inactive");
    server.stop();
    running.until("all three", || {}, |sample| both(sample) && state(sample, "pg_stat_database") == "firing");
    let metrics = get(&format!("{page}/metrics"), &[]).1;
    for source in ["instances", "pgbouncer", "pg_stat_database"] {
        let line =
            format!("candlefish_alert_state{{alert=\"source_unreadable\",severity=\"critical\",source=\"{source}\",state=\"firing\"}} 1");
        assert!(metrics.contains(&line) && metrics.contains(&format!("candlefish_source_failed{{source=\"{source}\"}} 1")), "{metrics}");
    }
    let status: Value = serde_json::from_str(&get(&format!("{page}/api/v1/status"), &[]).1).unwrap();
    assert!(both(&status), "{status:#}");
    server.start_again();
    running.until("its return", || {}, |sample| both(sample) && state(sample, "pg_stat_database") == "resolved");
    let four = std::iter::from_fn(|| Some(notices.recv_timeout(Duration::from_secs(10)).expect("four notices"))).take(4);
    let said = told(four);
    running.stop();
    for (status, source) in
        [("firing", "pgbouncer"), ("firing", "instances"), ("firing", "pg_stat_database"), ("resolved", "pg_stat_database")]
    {
        let is_it =
            |(told_status, told_source, _): &&(String, String, Value)| (told_status.as_str(), told_source.as_str()) == (status, source);
        assert_eq!(said.iter().filter(is_it).count(), 1, "{status} {source}: {said:#?}");
    }
    // Where nobody is at the terminal: a line for each change, that says of whom.
    let mut plain = case.command().args(words).args(["--ignore-for"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(plain.stdout.take().unwrap()).lines().map(Result::unwrap);
    let wanted = ["firing  source_unreadable instances  1: ", "firing  source_unreadable pgbouncer  1: "];
    let seen: Vec<String> = lines.by_ref().take_while(|line| !line.contains("  watching ")).collect();
    assert!(wanted.iter().all(|wanted| seen.iter().any(|line| line.contains(wanted))), "{seen:#?}");
    plain.kill().and_then(|()| plain.wait()).unwrap();
}

/// Nobody names pg_stat_statements; but that it was there, and is not, is told.
#[test]
fn what_was_read_once_is_missed() {
    let database = Database::fresh();
    let case = Case::new("missed").database(&database);
    std::fs::write(case.dir().join("rules.yaml"), QUIET).unwrap();
    let line = "monitor --once --rules rules.yaml --state-file state.json --json -d {url}";
    let run = || case.run(line).json();
    assert_eq!(state(&run(), "pg_stat_statements"), "none");
    database.execute("CREATE EXTENSION pg_stat_statements");
    assert_eq!(state(&run(), "pg_stat_statements"), "inactive");
    database.execute("DROP EXTENSION pg_stat_statements");
    let lost = run();
    assert_eq!(state(&lost, "pg_stat_statements"), "pending", "{lost:#}");
    age(&case.dir().join("state.json"), 60_000);
    let lost = run();
    let alert = of(&lost, "pg_stat_statements").unwrap();
    assert!(alert["state"] == "firing" && alert["reason"].as_str().unwrap().starts_with("it was read before: "), "{alert:#}");
    // After two days it is one that was taken away.
    age(&case.dir().join("state.json"), 50 * 3_600_000);
    let over = run();
    assert_eq!(state(&over, "pg_stat_statements"), "resolved", "{over:#}");
    // A rule of the same name takes the place of the built-in one.
    let own = "alerts:\n  source_unreadable: {condition: 'source_failed{source=\"pgbouncer\"} > 0', severity: info}\n";
    std::fs::write(case.dir().join("own.yaml"), own).unwrap();
    let own = case.run("monitor --once --rules own.yaml --ignore-for --json --pooler postgresql://x@127.0.0.1:1/x -d {url}").exit(1).json();
    let alerts: Vec<_> = own["alerts"].as_array().unwrap().iter().map(|alert| (&alert["source"], &alert["severity"])).collect();
    assert_eq!(alerts, [(&"pgbouncer".into(), &"info".into())]);
    case.run("monitor rules check own.yaml").exit(0).stdout_has("source_unreadable");
    case.run("monitor rules check rules.yaml").exit(0).stdout_has("source_unreadable").stderr_has("source_unreadable is built in");
}
