//! Each of the strategy's four alerts fires and resolves by a real cause, and a receiver is told of both.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use candlefish::model::{ParamType, Query};
use candlefish::store::{PoolConfig, Store};
use serde_json::Value;

use super::{Running, alert};
use crate::store::cache::{cached, settled};
use crate::support::{Case, Database, addresses};

/// The strategy's conditions, with windows and durations that a test can wait for.
const RULES: &str = "interval: 300ms\ndefaults: {min_samples: 5, duration: 600ms}\nalerts:\n  \
    database_slow_queries: {condition: 'avg_query_time[1500ms] > 100ms', severity: warning}\n  \
    low_cache_hit_ratio: {condition: 'cache_hit_ratio[1500ms] < 90%', severity: warning}\n  \
    connection_pool_exhaustion: {condition: pool_usage > 90%, severity: critical}\n  \
    query_error_rate: {condition: 'error_rate[1500ms] > 1%', severity: critical}\n";

const SLEEP: Query = Query::read("sleep", "SELECT 1 FROM pg_sleep($1)", &[ParamType::Float8]);
const FAIL: Query = Query::read("fail", "SELECT 1 / ($1::bigint - 1)", &[ParamType::Int8]);
const THING: Query = Query::cached("thing", "SELECT $1::bigint AS thing", &[ParamType::Int8]).tags(&["thing:{1}"]);

/// A receiver of webhooks: it refuses the first, and gives on what it is sent after that.
fn receiver() -> (String, Receiver<Value>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://user:p%40ss@{}/hook", listener.local_addr().unwrap());
    let (sender, received) = channel();
    std::thread::spawn(move || {
        let mut refused = false;
        for stream in listener.incoming() {
            let mut reader = BufReader::new(stream.unwrap());
            loop {
                let (mut length, mut authorized, mut line) = (0, false, String::new());
                while reader.read_line(&mut line).unwrap_or(0) > 0 && line.trim() != "" {
                    let lower = line.to_ascii_lowercase();
                    if let Some(text) = lower.strip_prefix("content-length:") {
                        length = text.trim().parse().unwrap();
                    }
                    authorized |= line.trim() == "authorization: Basic dXNlcjpwQHNz";
                    line.clear();
                }
                if length == 0 {
                    break;
                }
                let mut body = vec![0; length];
                reader.read_exact(&mut body).unwrap();
                let answer = if refused && authorized { "200 OK" } else { "503 Service Unavailable" };
                reader.get_mut().write_all(format!("HTTP/1.1 {answer}\r\ncontent-length: 0\r\n\r\n").as_bytes()).unwrap();
                if refused && authorized && sender.send(serde_json::from_slice(&body).unwrap()).is_err() {
                    return;
                }
                refused = true;
            }
        }
    });
    (url, received)
}

/// Two jobs that share a file and come at once: the second takes up what the first has left, and tells nothing twice.
#[test]
fn jobs_at_the_same_time_tell_an_alert_once() {
    let database = Database::fresh();
    let (hook, told) = receiver();
    let case = Case::new("at once").database(&database).env("CANDLEFISH_WEBHOOK", &hook);
    std::fs::write(case.dir().join("rules.yaml"), "alerts:\n  pool: {condition: pool_usage >= 0%}\n").unwrap();
    let url = database.url();
    let line = ["monitor", "--once", "--rules", "rules.yaml", "--state-file", "state.json", "-d", &url];
    let jobs = [(); 3].map(|()| case.command().args(line).spawn().unwrap());
    jobs.into_iter().for_each(|mut job| assert_eq!(job.wait().unwrap().code(), Some(1)));
    assert_eq!(told.try_iter().count(), 1);
    // Who only looks takes nothing from who tells.
    std::fs::write(case.dir().join("rules.yaml"), "alerts:\n  pool: {condition: pool_usage > 100%}\n").unwrap();
    let mut looks = case.command();
    assert_eq!(looks.args(line).env_remove("CANDLEFISH_WEBHOOK").output().unwrap().status.code(), Some(0));
    assert_eq!(case.run_args(line).code, Some(0));
    assert_eq!(told.try_iter().next().unwrap()["status"], "resolved");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_of_the_strategys_alerts_fires_and_resolves_by_a_real_cause() {
    let database = Database::fresh();
    let mut config = cached(&database);
    config.pool = PoolConfig { max: 4, min: 1, ..PoolConfig::default() };
    config.status_interval = Duration::from_millis(200);
    config.retries = 0;
    let namespace = config.namespace.clone();
    let store = Store::open(config).await.unwrap();
    settled(&store).await;
    let (sleep, fails, thing) = (store.declare(SLEEP).unwrap(), store.declare(FAIL).unwrap(), store.declare(THING).unwrap());

    let (hook, told) = receiver();
    let case = Case::new("causes").database(&database).env("REDIS_URL", &addresses().redis_url()).env("CANDLEFISH_WEBHOOK", &hook);
    std::fs::write(case.dir().join("rules.yaml"), RULES).unwrap();
    let mut running =
        Running::start(&case, &["monitor", "--rules", "rules.yaml", "--namespace", &namespace, "--json", "-d", &database.url()]);

    // Good times: fast, from memory, without failures.
    let good = {
        let (store, thing) = (store.clone(), thing.clone());
        move || {
            let (store, thing) = (store.clone(), thing.clone());
            let work = async move {
                for number in 0..4000_i64 {
                    store.fetch(&thing, &[&(number % 4)]).await.unwrap();
                }
            };
            tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(work));
        }
    };
    let is = |name: &'static str, state: &'static str| move |sample: &Value| alert(sample, name)["state"] == state;
    let quiet = |sample: &Value| sample["alerts"].as_array().unwrap().iter().all(|alert| alert["state"] == "inactive");
    let sample = running.until("good times", &good, quiet);
    let judged = |alert: &&Value| alert["name"] != "source_unreadable";
    assert!(sample["alerts"].as_array().unwrap().iter().filter(judged).all(|alert| alert["source"] == "instances"), "{sample:#}");
    let missed: Vec<_> = sample["kpis"].as_array().unwrap().iter().filter(|kpi| kpi["met"] == false && kpi["name"] != "memory").collect();
    assert!(missed.iter().all(|kpi| kpi["name"] == "l2_hit_ratio"), "{missed:#?}");

    // Failing queries.
    let run = |work: std::pin::Pin<Box<dyn Future<Output = ()> + Send>>| {
        tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(work))
    };
    let failing = || {
        let (store, fails) = (store.clone(), fails.clone());
        run(Box::pin(async move {
            for _ in 0..20 {
                store.fetch(&fails, &[&1_i64]).await.unwrap_err();
            }
        }));
    };
    running.until("failures", failing, is("query_error_rate", "firing"));
    running.until("their end", &good, is("query_error_rate", "resolved"));

    // A cold cache: no two questions are the same.
    let mut next = 1000_i64;
    let cold = || {
        let (store, thing, first) = (store.clone(), thing.clone(), next);
        next += 50;
        run(Box::pin(async move {
            for number in first..first + 50 {
                store.fetch(&thing, &[&number]).await.unwrap();
            }
        }));
    };
    running.until("a cold cache", cold, is("low_cache_hit_ratio", "firing"));
    running.until("a warm one", &good, is("low_cache_hit_ratio", "resolved"));

    // Slow queries.
    let slow = || {
        let (store, sleep) = (store.clone(), sleep.clone());
        run(Box::pin(async move {
            let both = [0.15, 0.15].map(|seconds| {
                let (store, sleep) = (store.clone(), sleep.clone());
                async move { drop(store.fetch(&sleep, &[&seconds]).await.unwrap()) }
            });
            futures_util::future::join_all(both).await;
        }));
    };
    let sample = running.until("slow queries", slow, is("database_slow_queries", "firing"));
    assert!(alert(&sample, "database_slow_queries")["value"].as_f64().unwrap() > 100.0, "{sample:#}");
    running.until("fast ones", &good, is("database_slow_queries", "resolved"));

    // A pool of four with four long statements.
    let holders: Vec<_> = (0..4)
        .map(|_| {
            let (store, sleep) = (store.clone(), sleep.clone());
            tokio::spawn(async move {
                loop {
                    store.fetch(&sleep, &[&1.0_f64]).await.unwrap();
                }
            })
        })
        .collect();
    let sample = running.until("a full pool", || {}, is("connection_pool_exhaustion", "firing"));
    assert_eq!(alert(&sample, "connection_pool_exhaustion")["value"], 1.0);
    holders.iter().for_each(tokio::task::JoinHandle::abort);
    running.until("a free pool", &good, is("connection_pool_exhaustion", "resolved"));

    // Both were told, in Alertmanager's words; the refused first one too.
    let mut heard: Vec<(String, String)> = Vec::new();
    for name in ["query_error_rate", "low_cache_hit_ratio", "database_slow_queries", "connection_pool_exhaustion"] {
        for status in ["firing", "resolved"] {
            let wanted = (name.to_string(), status.to_string());
            while !heard.contains(&wanted) {
                let document = told.recv_timeout(Duration::from_secs(30)).unwrap_or_else(|_| panic!("{wanted:?} was not told; {heard:?}"));
                assert_eq!((&document["version"], document["alerts"].as_array().unwrap().len()), (&"4".into(), 1));
                let alert = &document["alerts"][0];
                assert_eq!(alert["status"], document["status"]);
                assert!(alert["startsAt"].as_str().unwrap().starts_with("20") && alert["fingerprint"].as_str().unwrap().len() == 16);
                assert_eq!(alert["endsAt"].as_str().unwrap().starts_with("0001"), alert["status"] == "firing", "{alert:#}");
                heard.push((alert["labels"]["alertname"].as_str().unwrap().to_string(), alert["status"].as_str().unwrap().to_string()));
            }
        }
    }
    running.stop();

    // The fleet, as statistics show it.
    let document = case.run_args(["stats", "cache", "--json", "--namespace", &namespace, "-d", &database.url()]).exit(0).json();
    let row = document["rows"].as_array().unwrap().iter().find(|row| row["query"] == "thing" && row["layer"] == "l1").unwrap().clone();
    assert!(row["hits"].as_u64().unwrap() > 1000 && row["hit_ratio"].as_f64().unwrap() > 0.5, "{row:#}");
    let document = case.run_args(["stats", "pools", "--json", "--namespace", &namespace, "-d", &database.url()]).exit(0).json();
    assert!(
        document["rows"].as_array().unwrap().iter().any(|row| row["pool"].as_str().unwrap().starts_with("candlefish ") && row["most"] == 4),
        "{document:#}"
    );
}
