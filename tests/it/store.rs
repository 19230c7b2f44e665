//! The data layer against real servers: the pool, the one flight, and what a caller meets when servers go.

pub mod cache;
pub mod checker;
mod commands;
mod loads;
pub mod outage;
pub mod proxy;
mod registry;
mod security;
mod transaction;

use std::time::{Duration, Instant};

use candlefish::model::{ParamType, Query};
use candlefish::postgres::{Address, Route};
use candlefish::store::{Store, StoreConfig, StoreError};

use crate::support::Database;

const NUMBER: Query = Query::read("number", "SELECT $1 AS n", &[ParamType::Int8]);
const SLEEP: Query = Query::read("sleep", "SELECT 1 FROM pg_sleep($1)", &[ParamType::Float8]);
const SETTING: Query = Query::read("setting", "SELECT current_setting('statement_timeout') AS s", &[]);

pub fn config(url: &str) -> StoreConfig {
    StoreConfig::new(Address::parse(url, "the test").unwrap())
}

pub fn run<T>(test: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap().block_on(test)
}

#[test]
fn the_route_is_found_out_and_values_come_by_either() {
    let database = Database::fresh();
    run(async {
        let direct = Store::open(config(&database.url())).await.unwrap();
        let pooled = Store::open(config(&database.pooler_url())).await.unwrap();
        assert_eq!(direct.pool().route(), Route::Direct);
        assert!(matches!(pooled.pool().route(), Route::Pooled { version: Some(_), .. }), "{:?}", pooled.pool().route());
        for store in [&direct, &pooled] {
            let number = store.declare(NUMBER).unwrap();
            let fetched = store.fetch(&number, &[&42_i64]).await.unwrap();
            assert_eq!(fetched.rows().row(0).named::<i64>("n").unwrap(), 42);
            let refused = store.declare(Query { sql: "SELECT 1/0 + $1", ..NUMBER }).unwrap();
            let error = store.fetch(&refused, &[&1_i64]).await.unwrap_err();
            assert!(matches!(&error, StoreError::Database { sqlstate, .. } if sqlstate == "22012"), "{error:?}");
            // And the connection is of use after it.
            assert_eq!(store.fetch(&number, &[&1_i64]).await.unwrap().rows().len(), 1);
        }
    });
}

#[test]
fn a_memory_that_is_off_misses_nothing() {
    let database = Database::fresh();
    run(async {
        let mut config = cache::cached(&database);
        config.l1_bytes = 0;
        let store = Store::open(config).await.unwrap();
        let number = store.declare(Query::cached("number", NUMBER.sql, NUMBER.params).tags(&["number:{1}"])).unwrap();
        for _ in 0..3 {
            store.fetch(&number, &[&1_i64]).await.unwrap();
        }
        let status = store.status();
        assert_eq!((status.l1().lookups, status.l1().hit_ratio, status.l2().lookups), (0, None, 3));
    });
}

#[test]
fn the_server_keeps_the_limit_and_the_next_client_knows_nothing_of_it() {
    let database = Database::fresh();
    run(async {
        let store = Store::open(config(&database.pooler_url())).await.unwrap();
        let sleep = store.declare(SLEEP.timeout(Duration::from_millis(50))).unwrap();
        let began = Instant::now();
        let error = store.fetch(&sleep, &[&5.0_f64]).await.unwrap_err();
        assert!(matches!(&error, StoreError::Database { sqlstate, .. } if sqlstate == "57014"), "{error:?}");
        assert!(began.elapsed() < Duration::from_secs(2));
        let neighbour = candlefish::postgres::connect(&Address::parse(&database.pooler_url(), "the test").unwrap()).await.unwrap();
        let said = neighbour.simple_query("SHOW statement_timeout").await.unwrap();
        assert!(format!("{said:?}").contains("\"0\"") || !format!("{said:?}").contains("50"), "{said:?}");
        // Directly too, with a limit below the connection's own.
        let direct = Store::open(config(&database.url())).await.unwrap();
        let sleep = direct.declare(SLEEP.timeout(Duration::from_millis(50))).unwrap();
        assert!(matches!(direct.fetch(&sleep, &[&5.0_f64]).await, Err(StoreError::Database { sqlstate, .. }) if sqlstate == "57014"));
        let setting = direct.declare(SETTING).unwrap();
        assert_eq!(direct.fetch(&setting, &[]).await.unwrap().rows().row(0).get::<&str>(0).unwrap(), "30s");
    });
}

/// A connection on which a caller left a query running is drained or closed, and never given to the next caller in that state.
#[test]
fn a_connection_that_was_left_busy_is_not_handed_out() {
    let database = Database::fresh();
    run(async {
        for url in [database.url(), database.pooler_url()] {
            let mut config = config(&url);
            config.pool.max = 1;
            config.pool.min = 0;
            let store = Store::open(config).await.unwrap();
            let (sleep, number) = (store.declare(SLEEP).unwrap(), store.declare(NUMBER).unwrap());
            let left = tokio::time::timeout(Duration::from_millis(100), store.fetch(&sleep, &[&5.0_f64])).await;
            assert!(left.is_err());
            let began = Instant::now();
            assert_eq!(store.fetch(&number, &[&7_i64]).await.unwrap().rows().row(0).get::<i64>(0).unwrap(), 7);
            assert!(began.elapsed() < Duration::from_secs(2), "waited {:?} behind another's query", began.elapsed());
            let status = store.pool().status();
            assert_eq!(status.drained + status.discarded, 1, "{status:?}");
        }
    });
}

#[test]
fn a_connection_ends_at_its_age() {
    let database = Database::fresh();
    run(async {
        let mut config = config(&database.url());
        (config.pool.min, config.pool.max, config.pool.max_lifetime) = (1, 1, Duration::from_millis(300));
        let store = Store::open(config).await.unwrap();
        let pid = store.declare(Query::read("pid", "SELECT pg_backend_pid()", &[])).unwrap();
        let ask = async || store.fetch(&pid, &[]).await.unwrap().rows().row(0).get::<i32>(0).unwrap();
        let (began, first) = (Instant::now(), ask().await);
        while ask().await == first {
            assert!(began.elapsed() < Duration::from_secs(10), "it never ends");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert!(began.elapsed() >= Duration::from_millis(200), "{:?}", began.elapsed());
    });
}

/// The real crate's own way kills PgBouncer 1.18 (see `postgres::cancel`); this way, forty cancels leave it alive, and all arrive.
#[test]
fn cancelling_stops_the_query_and_leaves_the_pooler_alive() {
    let database = Database::fresh();
    run(async {
        let address = Address::parse(&database.pooler_url(), "the test").unwrap();
        for _ in 0..40 {
            let client = std::sync::Arc::new(candlefish::postgres::connect(&address).await.unwrap());
            let asking = client.clone();
            let running = tokio::spawn(async move { asking.batch_execute("SELECT pg_sleep(10)").await });
            while database.value("SELECT count(*) FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(10)' AND state = 'active'") == "0" {}
            candlefish::postgres::cancel(&client, &address).await.unwrap();
            let error = running.await.unwrap().unwrap_err();
            assert_eq!(error.code().map(|code| code.code()), Some("57014"), "{error}");
        }
        let client = candlefish::postgres::connect(&address).await.unwrap();
        client.batch_execute("SELECT 1").await.unwrap();
    });
}

#[test]
fn who_waits_too_long_or_too_many_is_told_so() {
    let database = Database::fresh();
    run(async {
        let mut config = config(&database.url());
        config.pool.max = 1;
        config.pool.max_waiting = 2;
        config.pool.acquire_timeout = Duration::from_millis(100);
        let store = Store::open(config).await.unwrap();
        let held = store.pool().acquire(Instant::now() + Duration::from_secs(5)).await.unwrap();
        let waits = (0..6).map(|_| async { store.pool().acquire(Instant::now() + Duration::from_secs(5)).await.map(drop) });
        let ended = futures_util::future::join_all(waits).await;
        let refused = ended.iter().filter(|end| matches!(end, Err(StoreError::PoolExhausted { .. }))).count();
        let late = ended.iter().filter(|end| matches!(end, Err(StoreError::DeadlineExceeded { .. }))).count();
        assert_eq!((refused, late), (4, 2), "{ended:?}");
        drop(held);
        store.pool().acquire(Instant::now() + Duration::from_secs(5)).await.unwrap();
        let status = store.pool().status();
        assert_eq!((status.refused, status.peak_in_use, status.waiting), (4, 1, 0));
        assert!(!format!("{:?}", store.pool().address()).contains("password"));
    });
}

#[test]
fn the_floor_is_kept_warm_and_idle_connections_above_it_end() {
    let database = Database::fresh();
    run(async {
        let mut config = config(&database.url());
        config.pool.min = 2;
        config.pool.idle_timeout = Duration::from_millis(50);
        let store = Store::open(config).await.unwrap();
        let deadline = Instant::now() + Duration::from_secs(10);
        let many = futures_util::future::join_all((0..6).map(|_| store.pool().acquire(deadline))).await;
        assert!(store.pool().status().open >= 6);
        drop(many);
        while store.pool().status().open != 2 {
            assert!(Instant::now() < deadline, "{:?}", store.pool().status());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        // Ended from outside, they come back.
        database.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'candlefish' AND datname = current_database()",
        );
        let number = store.declare(NUMBER).unwrap();
        assert_eq!(store.fetch(&number, &[&1_i64]).await.unwrap().rows().len(), 1);
        while store.pool().status().open < 2 {
            assert!(Instant::now() < deadline, "{:?}", store.pool().status());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
}
