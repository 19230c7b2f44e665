//! The checker: readers and writers in several processes, invalidations, and a Redis that is paused, killed and restarted empty in between. Every read is
//! held against what was committed: none may be older than the promise, and none may be another key's.
//!
//! The processes are this test binary again, each running [`process`] alone; they say what they read and wrote in lines.

#![allow(clippy::print_stdout, reason = "the processes speak to their parent in lines")]

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use candlefish::model::{ParamType, Query};
use candlefish::store::{Invalidation, Sabotage, Source, Store, StoreError};
use rustix::process::{Pid, Signal, kill_process};

use super::proxy::Proxy;
use super::{config, run};
use crate::support::{Database, long};

const KEYS: i64 = 64;

const GET: Query = Query::cached("get", "SELECT id, version FROM cells WHERE id = $1", &[ParamType::Int8]).tags(&["cell:{1}"]);
/// Slow on purpose: between what it sees and what it gives, others write.
const GET_SLOWLY: Query =
    Query::cached("get slowly", "SELECT c.id, c.version FROM cells c, pg_sleep(0.02) WHERE c.id = $1", &[ParamType::Int8])
        .tags(&["cell:{1}"]);
const PUT: Query =
    Query::write("put", "UPDATE cells SET version = version + 1 WHERE id = $1 RETURNING version", &[ParamType::Int8]).tags(&["cell:{1}"]);

/// Microseconds since 1970, the same in every process of a machine.
fn micros() -> i64 {
    i64::try_from(std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_micros()).unwrap()
}

/// A Redis of this test alone, which it may hurt.
pub struct Redis {
    child: Child,
    pub port: u16,
}

impl Redis {
    pub fn start() -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        Redis { child: Redis::launch(port), port }
    }

    fn launch(port: u16) -> Child {
        let child = Command::new("redis-server")
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", "/tmp"])
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let until = Instant::now() + Duration::from_secs(10);
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < until, "Redis did not start");
            std::thread::yield_now();
        }
        child
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Empty, on the same port.
    pub fn restart(&mut self) {
        self.child = Redis::launch(self.port);
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One process of the checker, when this binary is called as one. What it finds wrong it prints, and ends with 1.
#[test]
fn process() {
    let Ok(url) = std::env::var("CHECKER_URL") else { return };
    let variable = |name: &str| std::env::var(name).unwrap();
    let mut config = config(&url).redis(variable("CHECKER_REDIS"));
    config.namespace = "checker".to_string();
    config.pool.max = 6;
    config.pool.min = 1;
    config.sabotage = match variable("CHECKER_SABOTAGE").as_str() {
        "fence" => Sabotage::NoFence,
        "invalidation" => Sabotage::NoInvalidation,
        _ => Sabotage::None,
    };
    let until = micros() + variable("CHECKER_MICROS").parse::<i64>().unwrap();
    run(async {
        let store = Store::open(config).await.unwrap();
        // What is known to be committed, per key: (version, by when every read must see it).
        let log = variable("CHECKER_LOG");
        let due = (0..KEYS).map(|_| AtomicI64::new(0)).collect();
        let known = Arc::new(Known { due, ..Known::default() });
        let mut tasks = Vec::new();
        tasks.push(tokio::spawn(known.clone().follow(log.clone(), until)));
        for _ in 0..2 {
            tasks.push(tokio::spawn(write(store.clone(), log.clone(), until)));
        }
        for query in [GET, GET, GET_SLOWLY] {
            tasks.push(tokio::spawn(read(store.clone(), query, known.clone(), until)));
        }
        for task in tasks {
            task.await.unwrap();
        }
        let counts = [&known.reads, &known.wrong, &known.failed, &known.cached, &known.pending].map(|count| count.load(Ordering::Relaxed));
        println!("counts {} {} {} {} {}", counts[0], counts[1], counts[2], counts[3], counts[4]);
    });
}

/// For each key the newest version whose time has come: no read may be older.
#[derive(Default)]
struct Known {
    due: Vec<AtomicI64>,
    reads: AtomicU64,
    wrong: AtomicU64,
    failed: AtomicU64,
    cached: AtomicU64,
    pending: AtomicU64,
}

impl Known {
    /// Reads the log that all processes append to: `KEY VERSION DUE PENDING` a line. A version counts once its time has come.
    async fn follow(self: Arc<Self>, log: String, until: i64) {
        let mut file = BufReader::new(std::fs::File::open(log).unwrap());
        let mut waiting: Vec<(i64, usize, i64)> = Vec::new();
        let mut line = String::new();
        while micros() < until {
            while file.read_line(&mut line).unwrap() > 0 && line.ends_with('\n') {
                let numbers: Vec<i64> = line.split_whitespace().map(|number| number.parse().unwrap()).collect();
                waiting.push((numbers[2], usize::try_from(numbers[0]).unwrap(), numbers[1]));
                self.pending.fetch_add(numbers[3].unsigned_abs(), Ordering::Relaxed);
                line.clear();
            }
            let now = micros();
            waiting.retain(|(due, key, version)| {
                if *due <= now {
                    self.due[*key].fetch_max(*version, Ordering::SeqCst);
                }
                *due > now
            });
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

async fn write(store: Store, log: String, until: i64) {
    let put = store.declare(PUT).unwrap();
    let mut file = std::fs::OpenOptions::new().append(true).open(log).unwrap();
    let mut key = micros() % KEYS;
    let mut gap = 5;
    while micros() < until {
        key = (key * 5 + 3) % KEYS;
        gap = gap % 20 + 3;
        // Twice, with a load's time in between, and then not for long: what a load brings that began between the two would stay.
        for _ in 0..2 {
            match store.write(&put, &[&key]).await {
                Ok(written) => {
                    let version = written.rows.row(0).get::<i64>(0).unwrap();
                    let pending = written.invalidation == Invalidation::Pending;
                    let due = micros() + if pending { 2_000_000 } else { 1_000_000 };
                    // One call, so that lines of several processes do not mix.
                    file.write_all(format!("{key} {version} {due} {}\n", u8::from(pending)).as_bytes()).unwrap();
                }
                // Committed or not, nobody was promised anything.
                Err(StoreError::OutcomeUnknown(_)) => {}
                Err(error) => println!("a write failed: {error:?}"),
            }
            tokio::time::sleep(Duration::from_millis(gap)).await;
        }
        tokio::time::sleep(Duration::from_millis(120)).await;
    }
}

async fn read(store: Store, query: Query, known: Arc<Known>, until: i64) {
    let get = store.declare(query).unwrap();
    let mut key = 0;
    while micros() < until {
        key = (key + 1) % KEYS;
        // Before the read begins: what is due now must be in it.
        let due = known.due[usize::try_from(key).unwrap()].load(Ordering::SeqCst);
        match store.fetch(&get, &[&key]).await {
            Ok(fetched) => {
                let row = fetched.rows().row(0);
                let (id, version) = (row.get::<i64>(0).unwrap(), row.get::<i64>(1).unwrap());
                if id != key || version < due {
                    println!("wrong: key {key} gave {id} version {version}, due {due}, {:?}, {:?} old", fetched.source, fetched.age());
                    known.wrong.fetch_add(1, Ordering::Relaxed);
                }
                known.cached.fetch_add(u64::from(matches!(fetched.source, Source::L1 | Source::L2)), Ordering::Relaxed);
            }
            Err(error) => {
                println!("a read failed: {error:?}");
                known.failed.fetch_add(1, Ordering::Relaxed);
            }
        }
        known.reads.fetch_add(1, Ordering::Relaxed);
        // What is stale stays so for longer than a rest between two rounds; without it the other tests would have no machine left.
        if key == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

/// What all processes of a run counted.
#[derive(Debug, Default)]
struct Counts {
    reads: u64,
    wrong: u64,
    failed: u64,
    cached: u64,
    pending: u64,
    said: String,
}

/// Runs two processes for so long, with the faults or without.
fn check(sabotage: &str, seconds: u64, faults: bool) -> Counts {
    let database = Database::fresh();
    database.execute(&format!(
        "CREATE TABLE cells (id bigint PRIMARY KEY, version bigint); INSERT INTO cells SELECT n, 0 FROM generate_series(0, {}) n",
        KEYS - 1
    ));
    let mut redis = Redis::start();
    let log = tempfile::NamedTempFile::new().unwrap();
    // The second process has a cable of its own to Redis.
    let network = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let proxy = network.block_on(Proxy::to(redis.port));
    let cable = format!("redis://127.0.0.1:{}", proxy.port);
    let start = |redis: &str| {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args(["--exact", "store::checker::process", "--nocapture", "--test-threads=1"])
            .env("CHECKER_URL", database.url())
            .env("CHECKER_REDIS", redis)
            .env("CHECKER_SABOTAGE", sabotage)
            .env("CHECKER_MICROS", (seconds * 1_000_000).to_string())
            .env("CHECKER_LOG", log.path());
        command.stdout(Stdio::piped()).spawn().unwrap()
    };
    let processes = [start(&redis.url()), start(&cable)];
    let began = Instant::now();
    if faults {
        // Each for longer than what was written meanwhile may stay unseen: paused, cut off from one process, killed and empty again.
        let at = |share: u32| std::thread::sleep((Duration::from_secs(seconds) * share / 40).saturating_sub(began.elapsed()));
        at(4);
        redis.signal(Signal::STOP);
        at(16);
        redis.signal(Signal::CONT);
        at(19);
        proxy.pull_the_cable();
        at(27);
        proxy.plug_it_in();
        at(30);
        redis.kill();
        at(32);
        redis.restart();
        at(36);
        redis.kill();
        redis.restart();
    }
    let mut counts = Counts::default();
    for process in processes {
        let output = process.wait_with_output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let line = text.lines().find_map(|line| line.split_once("counts ").map(|(_, numbers)| numbers.to_string()));
        let line = line.unwrap_or_else(|| panic!("a process of the checker did not end well:\n{text}"));
        let numbers: Vec<u64> = line.split_whitespace().map(|number| number.parse().unwrap()).collect();
        counts.reads += numbers[0];
        counts.wrong += numbers[1];
        counts.failed += numbers[2];
        counts.cached += numbers[3];
        counts.pending += numbers[4];
        counts.said.extend(
            text.lines().filter(|line| line.contains("wrong:") || line.contains("failed:")).take(10).map(|line| format!("{line}\n")),
        );
    }
    counts
}

#[test]
fn no_read_is_older_than_promised_with_redis_paused_killed_and_emptied() {
    let counts = check("none", if long() { 60 } else { 12 }, true);
    assert!(counts.wrong == 0 && counts.failed == 0, "{counts:#?}");
    assert!(counts.reads > 10_000 && counts.cached > counts.reads / 4, "the caches were hardly used: {counts:#?}");
    assert!(counts.pending > 0, "no write met a Redis that was down: {counts:#?}");
}

/// The checker sees what it is there for: with the invalidations left out, and with the fence between a slow load and a write.
#[test]
fn the_checker_can_fail() {
    std::thread::scope(|scope| {
        let unheard = scope.spawn(|| check("invalidation", 4, false));
        // A load and a write must meet, and the key be left alone for a second after that.
        let found = (0..10).map(|_| check("fence", 6, false)).find(|counts| counts.wrong > 0);
        assert!(found.is_some(), "loads that a write had overtaken were kept, and nobody saw it");
        let counts = unheard.join().unwrap();
        assert!(counts.wrong > 0, "{counts:#?}");
    });
}
