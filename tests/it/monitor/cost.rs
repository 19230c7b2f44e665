//! What watching costs, where the server has much to tell.

use std::process::Stdio;
use std::time::Duration;

use candlefish::postgres::{Address, Observer};
use candlefish::stats::{Around, Look, OVERVIEW, Options, SHELF};
use candlefish::store::FleetPlace;
use rustix::time::{ClockId, clock_gettime};

use super::Running;
use crate::server::{Server, machine};
use crate::stats::session_at;
use crate::support::{Case, addresses, long};

/// Some 3,600 statements, their texts long as those that programs write; 400 tables with an index more than they need.
const MUCH: &str = "CREATE EXTENSION pg_stat_statements; SET pg_stat_statements.track = 'all';
    DO $$ DECLARE found int; BEGIN
        FOR a IN 1..60 LOOP FOR b IN 1..60 LOOP
            EXECUTE 'SELECT ' || repeat('1+', a) || '1 > 0 AND ' || repeat('1+', b) || '1 > 0 /* ' || repeat('a long text ', 250) || '*/';
        END LOOP; END LOOP;
        FOR t IN 1..400 LOOP
            EXECUTE format('CREATE TABLE t_%s (a int PRIMARY KEY, b text)', t);
            EXECUTE format('CREATE INDEX ON t_%s (b)', t);
            EXECUTE format('CREATE INDEX ON t_%s (b, a)', t);
        END LOOP;
    END $$";

fn crowded(more: &[&str]) -> Server {
    let settings = ["shared_preload_libraries = 'pg_stat_statements'", "max_locks_per_transaction = 1000", "pg_stat_statements.max = 5000"];
    let server = Server::start(&machine(), &[&settings, more].concat());
    server.rows(MUCH);
    let statements: usize = server.rows("SELECT count(*) FROM pg_stat_statements")[0].parse().unwrap();
    assert!(statements > 3500, "{statements}");
    server
}

/// Time of this thread alone: what other tests do meanwhile is not in it.
fn thread_ms() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 * 1000.0 + time.tv_nsec as f64 / 1e6
}

#[test]
fn a_statistic_costs_its_client_little() {
    let server = crowded(&[]);
    let address = Address::parse(&server.url(), "a test").unwrap();
    let fleet = FleetPlace { url: addresses().redis_url(), origin: "a test".to_string(), namespace: "candlefish".to_string() };
    let pooler = Address::parse(&addresses().pooler_url(), "a test").unwrap();
    let options = Options { min_ms: 0.0, ..Options::default() };
    // The connection and all that it reads are this thread's work.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let observer = Observer::connect(&address, "a test").await.unwrap();
        for stat in SHELF.into_iter().chain([OVERVIEW]) {
            let mut least = f64::INFINITY;
            for _ in 0..3 {
                let before = thread_ms();
                let around = match stat.name {
                    "pools" | "cache" => Around::look(Some(&pooler), Some(&fleet)).await,
                    _ => Around::default(),
                };
                let sheet = stat.sheet(&Look { observer: &observer, options: &options, around: &around, looking: None }).await.unwrap();
                assert!(sheet.is_available(), "{sheet:#?}");
                least = least.min(thread_ms() - before);
            }
            assert!(least < 50.0, "{} costs {least:.1} ms of client time", stat.name);
        }
    });
}

/// Peak memory of a process, and what of it is its own: not of the program's file, which in a debug build is most of it.
fn kilobytes(pid: u32) -> Option<(u64, u64)> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let of = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)?.trim().strip_suffix(" kB")?.parse().ok());
    Some((of("VmHWM:")?, of("RssAnon:")?))
}

/// The same of one that ends by itself, as it was at last.
fn kilobytes_until_its_end(case: &Case, words: &[&str]) -> (u64, u64) {
    let mut child = case.command().args(words).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let mut seen = (0, 0);
    while child.try_wait().unwrap().is_none() {
        if let Some((peak, own)) = kilobytes(child.id()) {
            seen = (peak.max(seen.0), own.max(seen.1));
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    seen
}

#[track_caller]
fn assert_small((peak, own): (u64, u64)) {
    assert!(peak > own && peak < 50_000, "{peak} kB, {own} kB its own");
    assert!(own < 12_000, "{own} kB its own");
}

/// What a watch takes that a Prometheus scrapes and a browser looks at, after so many samples: milliseconds of a core for one, and memory.
fn watched(case: &Case, url: &str, connections: f64, first: u32) -> (f64, (u64, u64)) {
    let mut running = Running::start(case, &["monitor", "--serve", "127.0.0.1:0", "--interval", "100ms", "--json", "-d", url]);
    let page = running.page();
    let pid = running.process();
    // User and system time of all its threads, in ticks of 10 ms.
    let cpu_ms = || {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
        (fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()) * 10
    };
    let mut samples = |count: u32| {
        for _ in 0..count {
            let sample = running.next();
            assert!(sample["connections"]["used"].as_f64().is_some_and(|used| used >= connections), "{sample:#}");
            // In 15 s a browser asks three times.
            for path in ["metrics", "api/v1/status", "api/v1/history", "api/v1/status", "api/v1/history", "api/v1/status", "api/v1/history"]
            {
                assert_eq!(super::get(&format!("{page}/{path}"), &[]).0, 200);
            }
        }
    };
    samples(first);
    let before = cpu_ms();
    samples(20);
    let each = (cpu_ms() - before) as f64 / 20.0;
    let seen = kilobytes(pid).unwrap();
    running.stop();
    (each, seen)
}

#[track_caller]
fn assert_small_and_idle(case: &Case, url: &str, connections: f64, first: u32) {
    let once = kilobytes_until_its_end(case, &["monitor", "--once", "--json", "-d", url]);
    let (each, loops) = watched(case, url, connections, first);
    assert_small(once);
    assert_small(loops);
    // One every 15 s.
    assert!(each / 15_000.0 < 0.01, "a sample takes {each:.1} ms of a core");
}

#[test]
fn the_loop_is_small_and_idle() {
    let server = crowded(&[]);
    let case = Case::new("cost").env("REDIS_URL", &addresses().redis_url());
    assert_small_and_idle(&case, &server.url(), 0.0, 5);
}

/// The same with a program's 5,000 tables and 500 connections, once the charts are full.
#[tokio::test(flavor = "multi_thread")]
async fn a_watch_over_many_tables_and_connections_is_small_and_idle() {
    if !long() {
        return;
    }
    let server = crowded(&["max_connections = 600"]);
    for part in 0..10 {
        server.rows(&format!(
            "DO $$ BEGIN FOR t IN 1..500 LOOP EXECUTE format('CREATE TABLE many_{part}_%s (a int PRIMARY KEY, b text)', t); END LOOP; END $$"
        ));
    }
    let tables: usize = server.rows("SELECT count(*) FROM pg_stat_user_tables")[0].parse().unwrap();
    assert!(tables >= 5000, "{tables}");
    let mut sessions = Vec::new();
    for number in 0..500 {
        let session = session_at(&server.url()).await;
        if number % 50 == 0 {
            session.batch_execute("BEGIN; SELECT count(*) FROM t_1").await.unwrap();
        }
        sessions.push(session);
    }
    let case = Case::new("much cost").env("REDIS_URL", &addresses().redis_url());
    assert_small_and_idle(&case, &server.url(), 500.0, 240);
    drop(sessions);
}
