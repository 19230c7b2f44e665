//! Servers that die, stop, are emptied or cut off, and come back: what a caller of the store meets meanwhile.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use candlefish::model::{ParamType, Query};
use candlefish::store::{Layers, Source, Store, StoreError, TransactionOptions};
use rustix::process::Signal;

use super::cache::settled;
use super::checker::Redis;
use super::proxy::Proxy;
use super::{config, run};
use crate::server::Server;
use crate::support::{Database, addresses, long};

const READ: Query = Query::read("read", "SELECT n FROM numbers WHERE n = $1", &[ParamType::Int8]);
const KEPT: Query = Query::cached("kept", "SELECT n FROM numbers WHERE n = $1", &[ParamType::Int8]).tags(&["number:{1}"]);
const NUMBERS: &str = "CREATE TABLE numbers (n bigint PRIMARY KEY); INSERT INTO numbers SELECT generate_series(0, 199)";

/// A read: when it began, what it took, and where its answer came from.
type Done = (Instant, Duration, Result<Source, StoreError>);

/// Reads all the time, a little apart; notes what each took and what failed.
struct Load {
    stop: Arc<AtomicBool>,
    tasks: Vec<tokio::task::JoinHandle<Vec<Done>>>,
}

impl Load {
    fn of(store: &Store, query: Query) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let query = store.declare(query).unwrap();
        let tasks = (0..4_i64).map(|task| {
            let (store, query, stop) = (store.clone(), query.clone(), stop.clone());
            tokio::spawn(async move {
                let (mut done, mut key) = (Vec::new(), task * 50);
                while !stop.load(Ordering::Relaxed) {
                    key = (key + 1) % 200;
                    let began = Instant::now();
                    let source = store.fetch(&query, &[&key]).await.map(|fetched| {
                        assert_eq!(fetched.rows().row(0).get::<i64>(0).unwrap(), key);
                        fetched.source
                    });
                    done.push((began, began.elapsed(), source));
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
                done
            })
        });
        let tasks = tasks.collect();
        Load { stop, tasks }
    }

    async fn end(self) -> Vec<Done> {
        self.stop.store(true, Ordering::Relaxed);
        let ended = futures_util::future::join_all(self.tasks).await;
        ended.into_iter().flat_map(Result::unwrap).collect()
    }
}

fn p99(times: impl Iterator<Item = Duration>) -> Duration {
    let mut times: Vec<Duration> = times.collect();
    times.sort_unstable();
    times[times.len() * 99 / 100]
}

/// A store whose every read asks Redis, while this is done to Redis and undone: no read fails, they hardly grow slower, and Redis is back in use
/// within two seconds.
async fn without_redis(what: &str, store: &Store, undo_after: Duration, hurt: impl FnOnce(), heal: impl FnOnce()) {
    settled(store).await;
    let load = Load::of(store, KEPT);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let hurt_at = Instant::now();
    hurt();
    tokio::time::sleep(undo_after).await;
    heal();
    let healed_at = Instant::now();
    let probe = store.declare(KEPT).unwrap();
    while store.fetch(&probe, &[&7_i64]).await.unwrap().source != Source::L2 {
        assert!(healed_at.elapsed() < Duration::from_secs(10), "{what}: L2 is not back");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let back_after = healed_at.elapsed();
    let done = load.end().await;
    let failed: Vec<_> = done.iter().filter_map(|(.., source)| source.as_ref().err()).collect();
    assert!(failed.is_empty(), "{what}: {} reads failed: {:?}", failed.len(), failed[0]);
    let before = p99(done.iter().filter(|(began, ..)| *began < hurt_at).map(|(_, took, _)| *took));
    let learning = p99(done.iter().filter(|(began, ..)| *began >= hurt_at && *began < healed_at).map(|(_, took, _)| *took));
    // In a debug build, beside a hundred other tests, milliseconds are not the store's.
    let (rise, back) = if long() { (20, 2000) } else { (250, 4000) };
    assert!(learning <= before + Duration::from_millis(rise), "{what}: p99 was {before:?}, and {learning:?} without Redis");
    assert!(back_after <= Duration::from_millis(back), "{what}: L2 was back after {back_after:?}");
    if long() {
        #[allow(clippy::print_stderr, reason = "the figures of a long run")]
        {
            eprintln!("{what}: p99 {before:?} before, {learning:?} without Redis; L2 back after {back_after:?}");
        }
    }
}

#[test]
fn without_redis_reads_go_on_and_it_is_used_again_when_it_is_back() {
    let database = Database::fresh();
    database.execute(NUMBERS);
    let second = Duration::from_secs(1);
    let hurt = |what: &'static str| {
        let url = database.url();
        async move {
            let mut redis = Redis::start();
            let proxy = Proxy::to(redis.port).await;
            let mut config = config(&url).layers(Layers::L2).redis(format!("redis://127.0.0.1:{}", proxy.port));
            config.namespace = "outage".to_string();
            let store = Store::open(config).await.unwrap();
            let redis = std::cell::RefCell::new(&mut redis);
            let kill = || redis.borrow_mut().kill();
            let restart = || redis.borrow_mut().restart();
            match what {
                "killed" => without_redis(what, &store, second, kill, restart).await,
                "stopped" => {
                    let signal = |signal| redis.borrow().signal(signal);
                    without_redis(what, &store, second, || signal(Signal::STOP), || signal(Signal::CONT)).await;
                }
                "cut off" => without_redis(what, &store, second, || proxy.pull_the_cable(), || proxy.plug_it_in()).await,
                _ => {
                    let empty = || {
                        kill();
                        restart();
                    };
                    without_redis("emptied", &store, Duration::from_millis(100), empty, || ()).await;
                }
            }
        }
    };
    // Each has a Redis of its own; side by side they take no longer than one, and alone their figures are the store's.
    run(async {
        if long() {
            for what in ["killed", "stopped", "cut off", "emptied"] {
                hurt(what).await;
            }
        } else {
            tokio::join!(hurt("killed"), hurt("stopped"), hurt("cut off"), hurt("emptied"));
        }
    });
}

/// Redis stops for a moment, as it does on a busy machine, while many ask it: what memory holds is good after it, whether the breaker opened or not.
#[test]
fn a_redis_that_stalls_costs_memory_nothing() {
    let database = Database::fresh();
    database.execute(NUMBERS);
    run(async {
        for (stall, times) in [(Duration::from_millis(40), 10), (Duration::from_millis(400), 1)] {
            let redis = Redis::start();
            let mut config = config(&database.url()).redis(redis.url());
            config.namespace = "stall".to_string();
            let store = Store::open(config).await.unwrap();
            settled(&store).await;
            let kept = store.declare(KEPT).unwrap();
            let in_memory = async || {
                let mut there = Vec::new();
                for n in 0..200_i64 {
                    if store.fetch(&kept, &[&n]).await.unwrap().source == Source::L1 {
                        there.push(n);
                    }
                }
                there
            };
            in_memory().await;
            // What a slow answer of Redis left unproven is no longer used by then.
            tokio::time::sleep(Duration::from_secs(1)).await;
            let before = in_memory().await;
            assert!(before.len() > 150, "{stall:?}: {} of 200 are in memory", before.len());
            // These are never answered by memory.
            let asking = Query { name: "asks Redis", ..KEPT }.required();
            let loads = [Load::of(&store, asking), Load::of(&store, asking), Load::of(&store, asking)];
            for _ in 0..times {
                redis.signal(Signal::STOP);
                tokio::time::sleep(stall).await;
                redis.signal(Signal::CONT);
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
            for load in loads {
                assert!(load.end().await.iter().all(|(.., source)| source.is_ok()));
            }
            let until = Instant::now() + Duration::from_secs(2);
            while !store.has_redis() {
                assert!(Instant::now() < until, "{stall:?}: Redis is not back");
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            assert!(stall < Duration::from_millis(400) || store.status().breaker_opened > 0, "{stall:?}: the breaker never opened");
            let after = in_memory().await;
            let lost = before.iter().filter(|n| !after.contains(n)).count();
            assert_eq!(lost, 0, "{stall:?}: {lost} of {} were lost from memory", before.len());
        }
    });
}

fn newest_bin() -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten().map(|version| version.path().join("bin"));
    versions.filter(|folder| folder.join("initdb").exists()).max().expect("PostgreSQL is installed")
}

/// PgBouncer in front of one server, of this test alone; `program` is which.
pub struct Bouncer {
    folder: tempfile::TempDir,
    program: PathBuf,
    pub port: u16,
    child: Option<std::process::Child>,
}

impl Bouncer {
    pub fn start(program: &str, server: &str, more: &str) -> Self {
        let port = server.trim_start_matches("postgresql://candlefish@127.0.0.1:").trim_end_matches("/postgres");
        Bouncer::before(program, &format!("host=127.0.0.1 port={port}"), more)
    }

    /// In front of the server of all tests.
    pub fn of_the_stack() -> Self {
        let there = addresses();
        let server = format!("host={} port={} password={}", there.host, there.postgres_port, there.postgres_password);
        Bouncer::before("pgbouncer", &server, "")
    }

    fn before(program: &str, server: &str, more: &str) -> Self {
        let folder = tempfile::Builder::new().prefix("candlefish-bouncer-").tempdir_in("/tmp").unwrap();
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        // `any` logs in as whom the database says.
        let text = format!(
            "[databases]\n* = {server} user=candlefish\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n\
             auth_type = any\npool_mode = transaction\nadmin_users = candlefish\nserver_login_retry = 1\n{more}\n"
        );
        std::fs::write(folder.path().join("pgbouncer.ini"), text).unwrap();
        open_to_all(folder.path());
        let mut bouncer = Bouncer { folder, program: PathBuf::from(program), port, child: None };
        bouncer.launch();
        bouncer
    }

    fn launch(&mut self) {
        let mut command = Command::new(&self.program);
        command.arg("-q").arg(self.folder.path().join("pgbouncer.ini")).stdout(Stdio::null()).stderr(Stdio::null());
        if std::fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0) {
            std::os::unix::process::CommandExt::uid(&mut command, 65_534);
        }
        self.child = Some(command.spawn().unwrap_or_else(|error| panic!("{}: {error}", self.program.display())));
        let until = Instant::now() + Duration::from_secs(10);
        while std::net::TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            assert!(Instant::now() < until, "PgBouncer did not start");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub fn url(&self) -> String {
        self.url_of("postgres")
    }

    pub fn url_of(&self, database: &str) -> String {
        format!("postgresql://candlefish@127.0.0.1:{}/{database}", self.port)
    }

    pub fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// False when it has died.
    pub fn is_alive(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| child.try_wait().is_ok_and(|ended| ended.is_none()))
    }
}

impl Drop for Bouncer {
    fn drop(&mut self) {
        self.stop();
    }
}

fn open_to_all(folder: &std::path::Path) {
    std::fs::set_permissions(folder, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
}

/// Reads without grace wait for a server that is away, those with grace are answered from what is kept; in flight is what fails, if anything.
async fn survives(what: &str, url: &str, restart: impl FnOnce() + Send + 'static) {
    let mut config = config(url);
    config.pool.max = 4;
    config.pool.min = 2;
    let store = Store::open(config).await.unwrap();
    let graceful = Query { name: "graceful", ..KEPT }
        .ttl(Duration::from_millis(200))
        .grace(Duration::from_secs(60))
        .patience(Duration::from_millis(30));
    let declared = store.declare(graceful).unwrap();
    for key in 0..200_i64 {
        store.fetch(&declared, &[&key]).await.unwrap();
    }
    let (strict, graceful) = (Load::of(&store, READ), Load::of(&store, graceful));
    tokio::time::sleep(Duration::from_millis(500)).await;
    let went = Instant::now();
    tokio::task::spawn_blocking(restart).await.unwrap();
    let back = Instant::now();
    let read = store.declare(READ).unwrap();
    while store.fetch(&read, &[&1_i64]).await.is_err() {
        assert!(back.elapsed() < Duration::from_secs(10), "{what}: not back");
    }
    let recovered = back.elapsed();
    assert!(recovered < Duration::from_secs(2), "{what}: recovered {recovered:?} after the server was back");
    tokio::time::sleep(Duration::from_millis(500)).await;
    let (strict, graceful) = (strict.end().await, graceful.end().await);
    // In flight when it went: at most one for each task.
    let failed: Vec<_> = strict.iter().filter(|(.., source)| source.is_err()).collect();
    assert!(failed.len() <= 4, "{what}: {} reads failed, such as {:?}", failed.len(), failed[0].2);
    assert!(
        failed.iter().all(|(began, ..)| *began < went + Duration::from_millis(100)),
        "{what}: a read failed that was not in flight: {failed:?}"
    );
    assert!(graceful.iter().all(|(.., source)| source.is_ok()), "{what}: {:?}", graceful.iter().find(|(.., source)| source.is_err()));
    let last = strict.iter().filter(|(began, ..)| *began > back).map(|(_, took, _)| *took).max();
    assert!(last.is_some_and(|took| took < Duration::from_secs(2)), "{what}: {last:?}");
}

#[test]
fn a_restart_of_postgresql_fails_at_most_what_was_in_flight() {
    run(async {
        let server = Arc::new(Server::start(&newest_bin(), &[]));
        server.rows(NUMBERS);
        let restarting = server.clone();
        survives("PostgreSQL", &server.url(), move || restarting.restart(&[])).await;
        // And seen through a pooler.
        let bouncer = Bouncer::start("pgbouncer", &server.url(), "");
        let restarting = server.clone();
        survives("PostgreSQL behind PgBouncer", &bouncer.url(), move || restarting.restart(&[])).await;
    });
}

#[test]
fn a_restart_of_pgbouncer_fails_at_most_what_was_in_flight() {
    run(async {
        let server = Server::start(&newest_bin(), &[]);
        server.rows(NUMBERS);
        let bouncer = Arc::new(std::sync::Mutex::new(Bouncer::start("pgbouncer", &server.url(), "")));
        let (url, restarting) = (bouncer.lock().unwrap().url(), bouncer.clone());
        let restart = move || {
            let mut bouncer = restarting.lock().unwrap();
            bouncer.stop();
            bouncer.launch();
        };
        survives("PgBouncer", &url, restart).await;
    });
}

/// The connection is cut when the server has the COMMIT and nobody has its answer.
#[test]
fn a_write_whose_end_nobody_heard_is_its_own_error_and_is_not_repeated() {
    let database = Database::fresh();
    database.execute("CREATE TABLE counts (id bigint PRIMARY KEY, n bigint); INSERT INTO counts VALUES (1, 0)");
    const ADD: Query = Query::write("add", "UPDATE counts SET n = n + 1 WHERE id = $1", &[ParamType::Int8]).tags(&["count:{1}"]);
    const SET: Query = Query::write("set", "UPDATE counts SET n = 50 WHERE id = $1", &[ParamType::Int8]).tags(&["count:{1}"]).idempotent();
    run(async {
        let proxy = Proxy::to(addresses().postgres_port).await;
        let url = database.url().replace(&addresses().postgres_port.to_string(), &proxy.port.to_string());
        let mut config = config(&url);
        config.pool.min = 0;
        let store = Store::open(config).await.unwrap();
        let (add, set) = (store.declare(ADD).unwrap(), store.declare(SET).unwrap());
        let one = || {
            let add = &add;
            store.transaction(TransactionOptions::default(), move |t| async move { t.execute(add, &[&1_i64]).await })
        };
        // Once each, so that what comes is the write alone.
        store.write(&add, &[&1_i64]).await.unwrap();
        one().await.unwrap();
        let n = "SELECT n FROM counts";
        assert_eq!(database.value(n), "2");
        proxy.cut_after("COMMIT\0");
        let error = store.write(&add, &[&1_i64]).await.unwrap_err();
        assert!(matches!(error, StoreError::OutcomeUnknown(_)), "{error:?}");
        // The server may be at it yet; what runs twice would make four of it.
        database.until("SELECT n = 3 FROM counts");
        proxy.cut_after("COMMIT\0");
        let error = one().await.unwrap_err();
        assert!(matches!(error, StoreError::OutcomeUnknown(_)), "{error:?}");
        database.until("SELECT n = 4 FROM counts");
        // What may run twice is sent again.
        proxy.cut_after("COMMIT\0");
        assert_eq!(store.write(&set, &[&1_i64]).await.unwrap().affected, 1);
        assert_eq!(database.value(n), "50");
    });
}

/// The client library's own cancel closes its connection at once, which PgBouncer 1.18 may die of; ours waits for the other side. Behind a pooler
/// the store cancels nothing at all.
#[test]
fn nothing_that_the_store_does_kills_the_pooler() {
    run(async {
        let server = Server::start(&newest_bin(), &[]);
        let mut bouncer = Bouncer::start("pgbouncer", &server.url(), "");
        let mut config = config(&bouncer.url()).layers(Layers::Pooled);
        config.pool.max = 2;
        let store = Store::open(config).await.unwrap();
        let sleep = store.declare(Query::read("sleep", "SELECT 1 FROM pg_sleep(10)", &[]).timeout(Duration::from_millis(100))).unwrap();
        for _ in 0..20 {
            let left = tokio::time::timeout(Duration::from_millis(20), store.fetch(&sleep, &[])).await;
            assert!(left.is_err());
        }
        let number = store.declare(Query::read("one", "SELECT 1", &[])).unwrap();
        assert_eq!(store.fetch(&number, &[]).await.unwrap().rows().len(), 1);
        assert!(bouncer.is_alive());
        if !long() {
            return;
        }
        // Why: the library's own way, on a pooler that nobody else uses.
        let address = candlefish::postgres::Address::parse(&bouncer.url(), "the test").unwrap();
        let mut cancels = 0;
        while bouncer.is_alive() && cancels < 50 {
            let Ok(client) = candlefish::postgres::connect(&address).await else { break };
            let token = client.cancel_token();
            let running = tokio::spawn(async move { client.batch_execute("SELECT pg_sleep(0.2)").await });
            tokio::time::sleep(Duration::from_millis(50)).await;
            let _ = token.cancel_query(tokio_postgres::NoTls).await;
            let _ = running.await;
            cancels += 1;
        }
        #[allow(clippy::print_stderr, reason = "the figures of a long run")]
        {
            eprintln!("the library's own cancel: PgBouncer alive {} after {cancels}", bouncer.is_alive());
        }
    });
}

/// The pooler that the machine has, and those that `CANDLEFISH_PGBOUNCERS` names: what each carries is found out, and used.
#[test]
fn prepared_statements_go_through_a_pooler_that_carries_them() {
    let more = std::env::var("CANDLEFISH_PGBOUNCERS").unwrap_or_default();
    run(async {
        let server = Server::start(&newest_bin(), &["shared_preload_libraries = ''"]);
        server.rows(NUMBERS);
        for program in ["pgbouncer"].into_iter().chain(more.split(',').filter(|program| !program.is_empty())) {
            let version = Command::new(program).arg("--version").output().unwrap().stdout;
            let version = String::from_utf8_lossy(&version).lines().next().unwrap_or_default().to_string();
            let carries = !["1.18", "1.19", "1.20"].iter().any(|old| version.contains(old));
            let bouncer = Bouncer::start(program, &server.url(), if carries { "max_prepared_statements = 100" } else { "" });
            let mut config = config(&bouncer.url());
            config.pool.max = 8;
            let store = Store::open(config).await.unwrap();
            let candlefish::postgres::Route::Pooled { prepared, version: Some(_) } = store.pool().route() else {
                panic!("{version}: {:?}", store.pool().route())
            };
            assert_eq!(prepared, carries, "{version}");
            // Its tables change under a plan that is prepared on many servers, and what it answers with them.
            let whole = Query { sql: "SELECT * FROM numbers WHERE n = $1", name: "whole", ..READ };
            let load = Load::of(&store, whole);
            tokio::time::sleep(Duration::from_millis(300)).await;
            server.rows(&format!("ALTER TABLE numbers ADD COLUMN {} int", program.replace(|c: char| !c.is_alphanumeric(), "_")));
            let declared = store.declare(whole).unwrap();
            let in_one = store.transaction(TransactionOptions::default(), |t| {
                let declared = &declared;
                async move { t.run(declared, &[&1_i64]).await }
            });
            assert!(in_one.await.is_ok(), "{version}");
            tokio::time::sleep(Duration::from_millis(300)).await;
            let done = load.end().await;
            assert!(done.iter().all(|(.., source)| source.is_ok()), "{version}: {:?}", done.iter().find(|(.., source)| source.is_err()));
            let slow = store.declare(Query::read("sleep", "SELECT 1 FROM pg_sleep(5)", &[]).timeout(Duration::from_millis(50))).unwrap();
            assert!(
                matches!(store.fetch(&slow, &[]).await, Err(StoreError::Database { sqlstate, .. }) if sqlstate == "57014"),
                "{version}"
            );
        }
    });
}
