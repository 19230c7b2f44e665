//! One load for all who ask: misses of one key, hot keys, and leases that nobody needs any more.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use candlefish::model::Query;
use candlefish::store::{Call, Source, Store};

use super::cache::{cached, settled};
use super::checker::Redis;
use super::proxy::Proxy;
use super::{config, run};
use crate::support::{Database, addresses, long};

const SLOW: Query =
    Query::cached("slow", "SELECT 42::bigint AS n, 'one of ten thousand' AS marker FROM pg_sleep(0.5)", &[]).tags(&["slow"]);

/// One process of ten thousand askers, when this binary is called as one.
#[test]
fn askers() {
    let Ok(url) = std::env::var("ASKERS_URL") else { return };
    run(async {
        let mut config = config(&url).redis(addresses().redis_url());
        config.namespace = std::env::var("ASKERS_NAMESPACE").unwrap();
        config.pool.min = 1;
        config.l2_deadline = Duration::from_secs(2);
        let store = Store::open(config).await.unwrap();
        settled(&store).await;
        let slow = store.declare(SLOW).unwrap();
        say("ready");
        let mut line = String::new();
        std::io::stdin().read_line(&mut line).unwrap();
        let asks = (0..2500).map(|_| {
            let (store, slow) = (store.clone(), slow.clone());
            tokio::spawn(async move { store.fetch(&slow, &[]).await.unwrap().rows().row(0).get::<i64>(0).unwrap() })
        });
        let answers = futures_util::future::join_all(asks.collect::<Vec<_>>()).await;
        assert!(answers.into_iter().all(|answer| answer.unwrap() == 42));
        say("answered 2500");
    });
}

#[allow(clippy::print_stdout, reason = "the processes speak to their parent in lines")]
fn say(line: &str) {
    println!("{line}");
    std::io::stdout().flush().unwrap();
}

#[test]
fn ten_thousand_misses_of_one_key_in_four_processes_are_one_statement() {
    // A process that the machine keeps from hearing Redis or the outbox for a second must not trust them, and asks for itself: with a hundred other
    // tests beside it that happens. Alone, as a long run is, it does not.
    let tries = if long() { 1 } else { 3 };
    let more: Vec<u64> = (0..tries).map(|_| statements_of_ten_thousand_misses()).take_while(|calls| *calls != 1).collect();
    assert!(more.len() < tries, "{more:?} statements");
}

fn statements_of_ten_thousand_misses() -> u64 {
    let database = Database::fresh();
    database.execute("CREATE EXTENSION pg_stat_statements");
    let namespace = format!("askers:{}", database.name);
    let mut processes: Vec<_> = (0..4)
        .map(|_| {
            let mut command = Command::new(std::env::current_exe().unwrap());
            command.args(["--exact", "store::loads::askers", "--nocapture", "--test-threads=1"]);
            command.env("ASKERS_URL", database.url()).env("ASKERS_NAMESPACE", &namespace).stdin(Stdio::piped()).stdout(Stdio::piped());
            command.spawn().unwrap()
        })
        .collect();
    let mut outputs: Vec<_> = processes.iter_mut().map(|process| BufReader::new(process.stdout.take().unwrap()).lines()).collect();
    let wait_for = |outputs: &mut Vec<std::io::Lines<BufReader<std::process::ChildStdout>>>, word: &str| {
        for output in outputs {
            assert!(output.any(|line| line.unwrap().contains(word)), "a process never said {word:?}");
        }
    };
    wait_for(&mut outputs, "ready");
    for process in &mut processes {
        process.stdin.as_mut().unwrap().write_all(b"go\n").unwrap();
    }
    wait_for(&mut outputs, "answered 2500");
    for process in &mut processes {
        process.wait().unwrap();
    }
    // The extension counts for every database of the server: of this one alone, not of the tries before.
    let calls = "SELECT sum(calls) FROM pg_stat_statements s JOIN pg_database d ON d.oid = s.dbid WHERE d.datname = current_database() \
         AND (query LIKE '%one of ten thousand%' OR query LIKE '%AS marker FROM pg_sleep%')";
    database.value(calls).parse().unwrap()
}

#[test]
fn a_hot_key_is_mostly_loaded_anew_before_it_ends_and_once_for_all_instances() {
    let database = Database::fresh();
    run(async {
        let mut config = cached(&database);
        config.jitter = 0.0;
        let hot = Query::cached("hot", "SELECT 1 FROM pg_sleep(0.08)", &[]).tags(&["hot"]).ttl(Duration::from_millis(800));
        let of_hot = |store: &Store| store.status().queries.into_iter().find(|query| query.query == "hot").unwrap();
        let stores = [Store::open(config.clone()).await.unwrap(), Store::open(config).await.unwrap()];
        let asked = stores.each_ref().map(|store| async move {
            settled(store).await;
            let hot = store.declare(hot).unwrap();
            let began = Instant::now();
            while of_hot(store).refreshed_ahead < 8 {
                assert!(began.elapsed() < Duration::from_secs(20), "it is never loaded ahead");
                store.fetch(&hot, &[]).await.unwrap();
                tokio::time::sleep(Duration::from_millis(3)).await;
            }
            of_hot(store)
        });
        let told = futures_util::future::join_all(asked).await;
        let sum = |count: fn(&candlefish::store::QueryStatus) -> u64| told.iter().map(count).sum::<u64>();
        let (ahead, late) = (sum(|query| query.refreshed_ahead), sum(|query| query.l1.misses_by_cause.expired));
        // A machine that keeps a process from its work for a tenth of a second makes it late.
        assert!(late * 3 <= ahead, "{late} times its time was over before the new answer came, of {ahead}");
        let loads = sum(|query| query.database.count);
        assert!(loads * 4 <= ahead * 3, "{loads} loads for {ahead} refreshments of two instances");
    });
}

/// Redis has given the lease, and nobody has heard so: the connection was cut, or Redis is merely slow.
#[test]
fn a_lease_that_nobody_knows_of_is_given_back() {
    const GIVES: &str = "and the right to load, for one of all instances";
    const GIVES_BACK: &str = "and gives the lease back";
    let database = Database::fresh();
    run(async {
        let redis = Redis::start();
        let mut admin = redis::Client::open(redis.url()).unwrap().get_multiplexed_async_connection().await.unwrap();
        let proxy = Proxy::to(redis.port).await;
        let mut config = config(&database.url()).redis(format!("redis://127.0.0.1:{}", proxy.port));
        (config.namespace, config.l2_deadline) = ("leases".to_string(), Duration::from_millis(100));
        let store = Store::open(config).await.unwrap();
        for is_cut in [true, false] {
            settled(&store).await;
            let (given_back, opened) = (proxy.heard(GIVES_BACK), store.status().breaker_opened);
            match is_cut {
                true => proxy.cut_and_pull_after(GIVES),
                false => proxy.pull_after(GIVES),
            }
            let query = Query::cached("one", if is_cut { "SELECT 1" } else { "SELECT 2" }, &[]).tags(&["one"]);
            let asker = store.clone();
            let loading = tokio::spawn(async move { asker.fetch(&asker.declare(query).unwrap(), &[]).await.unwrap().source });
            let until = Instant::now() + Duration::from_secs(20);
            let lease = loop {
                let leases: Vec<String> = redis::cmd("KEYS").arg("leases:l:*").query_async(&mut admin).await.unwrap();
                if let Some(lease) = leases.into_iter().next() {
                    break lease;
                }
                assert!(Instant::now() < until, "nobody took a lease");
            };
            // It does not end by itself.
            redis::cmd("PERSIST").arg(&lease).query_async::<u64>(&mut admin).await.unwrap();
            if !is_cut {
                // Time in which a link that does not wait would send more than one command.
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
            proxy.plug_it_in();
            while redis::cmd("EXISTS").arg(&lease).query_async::<u64>(&mut admin).await.unwrap() == 1 {
                assert!(Instant::now() < until, "the lease is never given back");
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            assert_eq!(loading.await.unwrap(), Source::Database);
            // Once, and once more with each connection; and what it met says nothing of Redis.
            let (given_back, opened) = (proxy.heard(GIVES_BACK) - given_back, store.status().breaker_opened - opened);
            assert!(given_back <= 1 + usize::try_from(opened).unwrap(), "{given_back} commands, {opened} connections lost");
        }
    });
}

/// A right to load is given back however the load ends.
#[test]
fn a_load_whose_answer_is_not_kept_gives_its_lease_back() {
    let database = Database::fresh();
    run(async {
        let redis = Redis::start();
        let mut admin = redis::Client::open(redis.url()).unwrap().get_multiplexed_async_connection().await.unwrap();
        let mut config = config(&database.url()).redis(redis.url());
        (config.namespace, config.l2_deadline, config.max_entry_bytes) = ("leases".to_string(), Duration::from_millis(200), 1000);
        let store = Store::open(config).await.unwrap();
        settled(&store).await;
        let queries = [
            ("fails", "SELECT 1 / 0", false),
            ("is too large", "SELECT repeat('x', 2000)", true),
            ("is left", "SELECT 1 FROM pg_sleep(1)", false),
        ];
        for (name, sql, succeeds) in queries {
            let query = store.declare(Query::cached(name, sql, &[]).tags(&["one"]).required()).unwrap();
            // The last of them by who asked, midway.
            let call = Call { deadline: Some(Instant::now() + Duration::from_millis(700)), ..Call::default() };
            let asked = store.fetch_with(&query, &[], &call).await;
            assert_eq!(asked.is_ok(), succeeds, "{name}: {:?}", asked.err());
            let until = Instant::now() + Duration::from_secs(1);
            while !redis::cmd("KEYS").arg("leases:l:*").query_async::<Vec<String>>(&mut admin).await.unwrap().is_empty() {
                assert!(Instant::now() < until, "{name}: the lease is still there");
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    });
}
