//! Several statements as one: whole retries, nothing half done, and caches that hear of it.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use candlefish::model::{ParamType, Query};
use candlefish::postgres::Argument;
use candlefish::store::{Invalidation, Isolation, Layers, Source, Store, StoreError, TransactionOptions};

use super::cache::{cached, settled};
use super::{config, run};
use crate::support::Database;

const READ: Query = Query::read("balance", "SELECT balance FROM accounts WHERE id = $1", &[ParamType::Int8]);
const BALANCE: Query =
    Query::cached("kept balance", "SELECT balance FROM accounts WHERE id = $1", &[ParamType::Int8]).tags(&["account:{1}"]);
const SET: Query = Query::write("set balance", "UPDATE accounts SET balance = $2 WHERE id = $1", &[ParamType::Int8, ParamType::Int8])
    .tags(&["account:{1}"]);

fn accounts() -> Database {
    let database = Database::fresh();
    database.execute(
        "CREATE TABLE accounts (id bigint PRIMARY KEY, balance bigint CHECK (balance >= 0)); INSERT INTO accounts VALUES (1, 100), (2, 0)",
    );
    database
}

/// Four tasks each add one, five times, reading what they add to: what serializes gives twenty, whatever is run again.
#[test]
fn a_transaction_that_cannot_be_serialized_runs_again_as_a_whole() {
    let database = accounts();
    run(async {
        for url in [database.url(), database.pooler_url()] {
            let store = Store::open(config(&url)).await.unwrap();
            let (read, set) = (store.declare(READ).unwrap(), store.declare(SET).unwrap());
            database.execute("UPDATE accounts SET balance = 0");
            let tasks = (0..4).map(|_| {
                let (store, read, set) = (store.clone(), read.clone(), set.clone());
                tokio::spawn(async move {
                    let (mut added, read, set) = (0, &read, &set);
                    let until = Instant::now() + Duration::from_secs(20);
                    while added < 5 && Instant::now() < until {
                        let options = TransactionOptions { isolation: Isolation::Serializable, retries: Some(20), ..Default::default() };
                        let done = store
                            .transaction(options, |t| async move {
                                let balance: i64 = t.run(read, &[&1_i64]).await?.row(0).get(0)?;
                                t.run(set, &[&1_i64, &(balance + 1)]).await?;
                                Ok::<_, StoreError>(())
                            })
                            .await;
                        match done {
                            Ok(_) => added += 1,
                            // The budget is for the whole store; who is refused here asks again.
                            Err(StoreError::Database { sqlstate, .. }) if sqlstate == "40001" => {}
                            Err(error) => panic!("{error:?}"),
                        }
                    }
                    added
                })
            });
            let added: i64 = futures_util::future::join_all(tasks).await.into_iter().map(Result::unwrap).sum();
            assert_eq!(added, 20);
            assert_eq!(database.value("SELECT balance FROM accounts WHERE id = 1"), "20");
        }
    });
}

#[test]
fn a_transaction_is_whole_or_nothing_and_the_caches_hear_of_it_once_it_is_committed() {
    let database = accounts();
    run(async {
        let config = cached(&database);
        let (here, there) = (Store::open(config.clone()).await.unwrap(), Store::open(config).await.unwrap());
        settled(&here).await;
        settled(&there).await;
        let (kept, kept_there, set) = (here.declare(BALANCE).unwrap(), there.declare(BALANCE).unwrap(), here.declare(SET).unwrap());
        let (options, kept, set, tries) = (TransactionOptions::default(), &kept, &set, &AtomicU32::new(0));
        there.fetch(&kept_there, &[&1_i64]).await.unwrap();
        let done = here
            .transaction(options, |t| async move {
                t.run(set, &[&1_i64, &60_i64]).await?;
                // It sees its own writes, past every cache.
                assert_eq!(t.run(kept, &[&1_i64]).await?.row(0).get::<i64>(0)?, 60);
                Ok::<_, StoreError>(t.execute(set, &[&2_i64, &40_i64]).await?.1)
            })
            .await
            .unwrap();
        assert_eq!((done.value, done.invalidation, done.retries), (1, Invalidation::Applied, 0));
        assert_eq!(here.fetch(kept, &[&1_i64]).await.unwrap().rows().row(0).get::<i64>(0).unwrap(), 60);
        let began = Instant::now();
        while there.fetch(&kept_there, &[&1_i64]).await.unwrap().rows().row(0).get::<i64>(0).unwrap() != 60 {
            assert!(began.elapsed() < Duration::from_secs(1));
        }

        // The caller's own error takes everything back, and the tags are not left pending.
        let failed: Result<_, StoreError> = here
            .transaction(options, |t| async move {
                tries.fetch_add(1, Ordering::Relaxed);
                t.run(set, &[&1_i64, &0_i64]).await?;
                Err::<(), _>(StoreError::Misuse("changed my mind".to_string()))
            })
            .await;
        assert!(matches!(failed, Err(StoreError::Misuse(_))) && tries.load(Ordering::Relaxed) == 1);
        // A refused statement, even where its error is swallowed: COMMIT would quietly be a ROLLBACK.
        let swallowed = here
            .transaction(options, |t| async move {
                t.run(set, &[&2_i64, &99_i64]).await?;
                let _ = t.run(set, &[&1_i64, &-1_i64]).await;
                Ok::<_, StoreError>(())
            })
            .await;
        assert!(matches!(&swallowed, Err(StoreError::Database { sqlstate, .. }) if sqlstate == "23514"), "{swallowed:?}");
        assert_eq!(database.rows("SELECT balance FROM accounts ORDER BY id"), ["60", "40"]);
        // What is kept is as good as before: no tag was left pending.
        assert_ne!(here.fetch(kept, &[&1_i64]).await.unwrap().source, Source::Database);
        // One deadline over everything.
        let late = TransactionOptions { deadline: Some(Instant::now() + Duration::from_millis(200)), ..options };
        let sleep = here.declare(Query::read("sleep", "SELECT 1 FROM pg_sleep(30)", &[])).unwrap();
        let began = Instant::now();
        let error = here
            .transaction(late, |t| {
                let sleep = &sleep;
                async move { t.run(sleep, &[]).await }
            })
            .await
            .unwrap_err();
        assert!(error.is_outage() && began.elapsed() < Duration::from_secs(2), "{error:?} after {:?}", began.elapsed());
    });
}

/// What a load test runs: the same statements by the pool alone, by Redis, and by all layers, with values as texts and numbers.
#[test]
fn layers_are_switched_and_counted_one_by_one() {
    let database = accounts();
    run(async {
        let sources = async |layers: Layers, with_redis: bool| {
            let mut config = cached(&database).layers(layers);
            config.redis = config.redis.filter(|_| with_redis);
            let store = Store::open(config).await.unwrap();
            if layers != Layers::Pooled {
                settled(&store).await;
            }
            let (kept, set) = (store.declare(BALANCE).unwrap(), store.declare(SET).unwrap());
            let (before, mut sources) = (store.status(), Vec::new());
            store.pool().restart_peaks();
            for id in [Argument::Int(1), Argument::Text("1"), Argument::Int(1)] {
                sources.push(store.fetch(&kept, &[&id]).await.unwrap().source);
            }
            store.write(&set, &[&Argument::Int(1), &Argument::Text("7")]).await.unwrap();
            let after = store.status();
            (sources, after.l1().since(&before.l1()).hits, after.l2().since(&before.l2()).hits, after.pool.peak_in_use)
        };
        let there = "SELECT to_regclass('candlefish.cache_outbox') IS NOT NULL";
        assert_eq!(sources(Layers::Pooled, false).await, (vec![Source::Database; 3], 0, 0, 1));
        // A writer leaves word for those who keep answers, whether it keeps any itself or not.
        assert_eq!((database.value(there), database.value("SELECT tags FROM candlefish.cache_outbox")), ("t".into(), "{account:1}".into()));
        assert_eq!(sources(Layers::L2, true).await, (vec![Source::Database, Source::L2, Source::L2], 0, 2, 1));
        assert_eq!(sources(Layers::Cached, true).await, (vec![Source::Database, Source::L1, Source::L1], 2, 0, 1));
    });
}

/// An account that may only read gets as far as reading: nothing is made for it in the database.
#[test]
fn who_keeps_nothing_and_writes_nothing_needs_no_outbox() {
    let database = accounts();
    run(async {
        let store = Store::open(config(&database.pooler_url()).layers(Layers::Pooled)).await.unwrap();
        let read = store.declare(BALANCE).unwrap();
        assert_eq!(store.fetch(&read, &[&2_i64]).await.unwrap().source, Source::Database);
        assert_eq!(database.value("SELECT to_regnamespace('candlefish') IS NULL"), "t");
    });
}

/// As many as the pooler has servers, all of them open before one commits: nobody may want a connection more.
#[test]
fn transactions_that_hold_every_server_of_the_pooler_commit() {
    let database = accounts();
    database.execute("INSERT INTO accounts SELECT id, 0 FROM generate_series(3, 20) id");
    run(async {
        let begin = async |writes: bool| {
            let store = Store::open(config(&database.pooler_url()).layers(Layers::Pooled)).await.unwrap();
            let set = store.declare(if writes { SET } else { SET.tags(&[]) }).unwrap();
            let (open, set) = (&tokio::sync::Barrier::new(20), &set);
            let options = TransactionOptions { deadline: Some(Instant::now() + Duration::from_secs(10)), ..Default::default() };
            let all = (1..=20_i64).map(|id| {
                let (store, first) = (store.clone(), AtomicU32::new(0));
                async move {
                    let first = &first;
                    let done = store.transaction(options, |t| async move {
                        t.run(set, &[&id, &id]).await?;
                        if first.fetch_add(1, Ordering::Relaxed) == 0 {
                            open.wait().await;
                        }
                        if !writes {
                            t.invalidate(&["account:1"]).await?;
                        }
                        Ok::<_, StoreError>(())
                    });
                    done.await.map(|done| done.invalidation)
                }
            });
            futures_util::future::join_all(all).await
        };
        for writes in [true, false] {
            let ended = begin(writes).await;
            assert!(ended.iter().all(|end| *end.as_ref().unwrap() == Invalidation::Pending), "{writes}: {ended:?}");
            assert_eq!(database.value("SELECT count(*) FROM candlefish.cache_outbox"), "20");
            database.execute("DROP SCHEMA candlefish CASCADE");
        }
    });
}
