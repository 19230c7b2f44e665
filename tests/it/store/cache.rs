//! The caches over real servers: where answers come from, what makes them old, and what never mixes.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use candlefish::model::{Name, ParamType, QualifiedName, Query};
use candlefish::store::{Call, Invalidation, Layers, Sabotage, Source, Store, StoreConfig, StoreError};

use super::{config, run};
use crate::support::{Database, addresses};

const ITEM: Query = Query::cached(
    "item",
    "SELECT id, tenant, name, price, seen FROM items WHERE tenant = $1 AND id = $2",
    &[ParamType::Int8, ParamType::Int8],
)
.tags(&["item:{1}:{2}", "items"]);
const RENAME: Query = Query::write(
    "rename",
    "UPDATE items SET name = $3 WHERE tenant = $1 AND id = $2",
    &[ParamType::Int8, ParamType::Int8, ParamType::Text],
)
.tags(&["item:{1}:{2}"]);

fn items() -> Database {
    let database = Database::fresh();
    database.execute(
        "CREATE TABLE items (tenant bigint, id bigint, name text, price numeric, seen timestamptz, PRIMARY KEY (tenant, id)); \
         INSERT INTO items SELECT t, i, 'item ' || t || '/' || i, 1.50, '2026-01-01' FROM generate_series(1, 3) t, generate_series(1, 50) i",
    );
    database
}

/// With the shared Redis, under a namespace of this test alone.
pub fn cached(database: &Database) -> StoreConfig {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let mut config = config(&database.url()).redis(addresses().redis_url());
    config.namespace = format!("it:{}:{}", database.name, COUNT.fetch_add(1, Ordering::Relaxed));
    config.pool.min = 1;
    // Beside a hundred other tests fifteen milliseconds are nothing.
    config.l2_deadline = Duration::from_millis(200);
    config
}

/// Until Redis is heard, and the quiet second after a new epoch is over.
pub async fn settled(store: &Store) {
    let until = Instant::now() + Duration::from_secs(10);
    while !store.has_redis() {
        assert!(Instant::now() < until, "Redis is not heard");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let probe = store.declare(Query::cached("probe", "SELECT 1", &[]).tags(&["probe"])).unwrap();
    while !store.explain(&probe, &[], &Call::default()).await.unwrap().in_l2 {
        assert!(Instant::now() < until, "nothing is kept: {:?}", store.explain(&probe, &[], &Call::default()).await.unwrap());
        store.fetch(&probe, &[]).await.unwrap();
        store.clear_memory();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn name(fetched: &candlefish::store::Fetched) -> String {
    fetched.rows().row(0).named::<&str>("name").unwrap().to_string()
}

/// Asks until the answer is this one; how long that took.
async fn until_name(store: &Store, query: &candlefish::store::Declared, wanted: &str) -> Duration {
    let began = Instant::now();
    loop {
        if name(&store.fetch(query, &[&1_i64, &7_i64]).await.unwrap()) == wanted {
            return began.elapsed();
        }
        assert!(began.elapsed() < Duration::from_secs(10), "never became {wanted}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[test]
fn an_answer_is_the_same_from_every_layer_and_a_write_is_seen_by_all() {
    let database = items();
    run(async {
        let config = cached(&database);
        let (here, there) = (Store::open(config.clone()).await.unwrap(), Store::open(config).await.unwrap());
        settled(&here).await;
        settled(&there).await;
        let (item, item_there, rename) = (here.declare(ITEM).unwrap(), there.declare(ITEM).unwrap(), here.declare(RENAME).unwrap());
        let first = here.fetch(&item, &[&1_i64, &7_i64]).await.unwrap();
        let second = here.fetch(&item, &[&1_i64, &7_i64]).await.unwrap();
        let third = there.fetch(&item_there, &[&1_i64, &7_i64]).await.unwrap();
        assert_eq!([first.source, second.source, third.source], [Source::Database, Source::L1, Source::L2]);
        assert_eq!(there.fetch(&item_there, &[&1_i64, &7_i64]).await.unwrap().source, Source::L1);
        assert!(first.rows().as_bytes() == second.rows().as_bytes() && first.rows().as_bytes() == third.rows().as_bytes());
        assert!(third.rows().row(0).named::<std::time::SystemTime>("seen").is_ok(), "a time is a time from Redis too");
        // Another tenant's row of the same id is another answer.
        assert_eq!(name(&here.fetch(&item, &[&2_i64, &7_i64]).await.unwrap()), "item 2/7");

        let written = here.write(&rename, &[&1_i64, &7_i64, &"new"]).await.unwrap();
        assert_eq!((written.affected, written.invalidation), (1, Invalidation::Applied));
        assert_eq!(name(&here.fetch(&item, &[&1_i64, &7_i64]).await.unwrap()), "new");
        let took = until_name(&there, &item_there, "new").await;
        assert!(took < Duration::from_secs(1), "{took:?}");
        // Its neighbour was not touched.
        assert_eq!(here.fetch(&item, &[&2_i64, &7_i64]).await.unwrap().source, Source::L1);
        let explained = here.explain(&item, &[&2_i64, &7_i64], &Call::default()).await.unwrap();
        assert_eq!((explained.served_by, explained.tags[0].tag.as_str(), explained.tags[0].state), ("l1", "item:2:7", "current"));
    });
}

#[test]
fn nothing_is_kept_that_must_not_be() {
    let database = items();
    run(async {
        let store = Store::open(cached(&database)).await.unwrap();
        settled(&store).await;
        let item = store.declare(ITEM).unwrap();
        let ask = |call: Call<'static>| {
            let (store, item) = (store.clone(), item.clone());
            async move { store.fetch_with(&item, &[&1_i64, &1_i64], &call).await.unwrap().source }
        };
        assert_eq!(ask(Call::default()).await, Source::Database);
        assert_eq!(ask(Call { fresh: true, ..Call::default() }).await, Source::Database);
        assert_eq!(ask(Call { scope: "tenant 2", ..Call::default() }).await, Source::Database);
        assert_eq!(ask(Call { scope: "tenant 2", ..Call::default() }).await, Source::L1);
        // An empty answer is kept as well; shortly.
        let short = store.declare(ITEM.negative_ttl(Duration::from_millis(300))).unwrap();
        let nothing: [&(dyn candlefish::store::ToSql + Sync); 2] = [&1_i64, &999_i64];
        assert_eq!(store.fetch(&short, &nothing).await.unwrap().source, Source::Database);
        assert_eq!(store.fetch(&short, &nothing).await.unwrap().source, Source::L1);
        let began = Instant::now();
        while store.fetch(&short, &nothing).await.unwrap().source != Source::Database {
            assert!(began.elapsed() < Duration::from_secs(5), "an empty answer lives too long");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        // Larger than an entry may be: never kept.
        let large = store.declare(Query::cached("large", "SELECT repeat('x', 2000000)", &[]).tags(&["large"])).unwrap();
        for _ in 0..2 {
            assert_eq!(store.fetch(&large, &[]).await.unwrap().source, Source::Database);
        }
        let error = store.declare(Query { sql: "SELECT nextval('s')", ..ITEM }).err().unwrap();
        assert!(matches!(error, StoreError::Misuse(_)));
    });
}

#[test]
fn without_redis_a_write_is_pending_and_every_instance_replays_it() {
    let database = items();
    run(async {
        let mut config = cached(&database);
        config.redis = None;
        let (here, there) = (Store::open(config.clone()).await.unwrap(), Store::open(config.clone()).await.unwrap());
        let (item, rename) = (there.declare(ITEM).unwrap(), here.declare(RENAME).unwrap());
        assert_eq!(name(&there.fetch(&item, &[&1_i64, &7_i64]).await.unwrap()), "item 1/7");
        assert_eq!(there.fetch(&item, &[&1_i64, &7_i64]).await.unwrap().source, Source::L1);
        let written = here.write(&rename, &[&1_i64, &7_i64, &"new"]).await.unwrap();
        assert_eq!(written.invalidation, Invalidation::Pending);
        let took = until_name(&there, &item, "new").await;
        assert!(took < Duration::from_secs(2), "{took:?}");
        // A write that fails leaves no row.
        let broken =
            here.declare(Query { sql: "UPDATE items SET id = NULL WHERE tenant = $1 AND id = $2 AND name <> $3", ..RENAME }).unwrap();
        assert!(matches!(here.write(&broken, &[&1_i64, &7_i64, &""]).await, Err(StoreError::Database { .. })));
        assert_eq!(database.value("SELECT count(*) FROM candlefish.cache_outbox"), "1");
        // Required: refused before anything is changed.
        let required = here.declare(RENAME.required()).unwrap();
        assert!(matches!(here.write(&required, &[&1_i64, &7_i64, &"no"]).await, Err(StoreError::InvalidationRefused)));
        assert_eq!(database.value("SELECT name FROM items WHERE tenant = 1 AND id = 7"), "new");
    });
}

/// The end of a life is the same in every layer, and what each layer took is told to who asks.
#[test]
fn an_answer_ends_when_it_was_to_end_wherever_it_went() {
    let database = items();
    run(async {
        let mut config = cached(&database);
        config.jitter = 0.0;
        let (here, there) = (Store::open(config.clone()).await.unwrap(), Store::open(config).await.unwrap());
        settled(&here).await;
        settled(&there).await;
        let short = ITEM.ttl(Duration::from_millis(900));
        let (item, item_there) = (here.declare(short).unwrap(), there.declare(short).unwrap());
        let traced = Call { trace: true, ..Call::default() };
        let layers = |fetched: &candlefish::store::Fetched| fetched.trace.iter().map(|(layer, _)| *layer).collect::<Vec<_>>();
        let loaded = Instant::now();
        let first = here.fetch_with(&item, &[&1_i64, &7_i64], &traced).await.unwrap();
        assert_eq!(layers(&first), ["l2", "pool", "database"]);
        tokio::time::sleep(Duration::from_millis(500)).await;
        let copied = there.fetch_with(&item_there, &[&1_i64, &7_i64], &traced).await.unwrap();
        if loaded.elapsed() < Duration::from_millis(850) {
            assert_eq!((copied.source, layers(&copied)), (Source::L2, vec!["l2"]));
            assert!(copied.age() >= Duration::from_millis(400), "{:?}", copied.age());
            assert_eq!(layers(&there.fetch_with(&item_there, &[&1_i64, &7_i64], &traced).await.unwrap()), ["l1"]);
        }
        tokio::time::sleep(Duration::from_millis(950).saturating_sub(loaded.elapsed())).await;
        assert_eq!(there.fetch(&item_there, &[&1_i64, &7_i64]).await.unwrap().source, Source::Database, "five minutes anew it is not");
    });
}

#[test]
fn what_is_required_is_never_in_memory_and_dies_at_once_everywhere() {
    let database = items();
    run(async {
        let config = cached(&database);
        let (here, there) = (Store::open(config.clone()).await.unwrap(), Store::open(config).await.unwrap());
        settled(&here).await;
        settled(&there).await;
        let (item, rename) = (there.declare(ITEM.required()).unwrap(), here.declare(RENAME.required()).unwrap());
        for round in 0..20 {
            there.fetch(&item, &[&1_i64, &7_i64]).await.unwrap();
            assert_eq!(there.fetch(&item, &[&1_i64, &7_i64]).await.unwrap().source, Source::L2);
            let wanted = format!("round {round}");
            here.write(&rename, &[&1_i64, &7_i64, &wanted]).await.unwrap();
            // No second's grace here: the very next read.
            assert_eq!(name(&there.fetch(&item, &[&1_i64, &7_i64]).await.unwrap()), wanted);
        }
    });
}

#[test]
fn many_askers_in_many_instances_are_one_statement() {
    let database = items();
    database.execute("CREATE TABLE ran (at timestamptz); CREATE FUNCTION slow() RETURNS int LANGUAGE sql AS 'SELECT 1 FROM pg_sleep(0.3)'");
    run(async {
        let config = cached(&database);
        let (here, there) = (Store::open(config.clone()).await.unwrap(), Store::open(config).await.unwrap());
        settled(&here).await;
        settled(&there).await;
        const SLOW: Query = Query::cached("slow", "SELECT slow() AS n", &[]).tags(&["slow"]);
        let both = [&here, &there].map(|store| (store, store.declare(SLOW).unwrap()));
        let askers = (0..1000).map(|at| {
            let (store, slow) = &both[at % 2];
            async move { store.fetch(slow, &[]).await.unwrap().source }
        });
        let sources = futures_util::future::join_all(askers).await;
        let ran = here
            .status()
            .queries
            .iter()
            .chain(&there.status().queries)
            .filter(|query| query.query == "slow")
            .map(|query| query.database.count)
            .sum::<u64>();
        assert_eq!(ran, 1);
        assert_eq!(sources.iter().filter(|source| **source == Source::Database).count(), 1);
        assert!(sources.contains(&Source::L2) && sources.contains(&Source::Coalesced));
    });
}

/// A load that saw the rows before a write, and ends after it. Without the fence, by which the test shows that it can fail, its answer stays.
#[test]
fn a_slow_load_never_brings_back_what_a_write_made_old() {
    const SLOW: Query = Query::cached(
        "slow item",
        "SELECT i.name FROM items i, pg_sleep(0.4) WHERE tenant = $1 AND id = $2",
        &[ParamType::Int8, ParamType::Int8],
    )
    .tags(&["item:{1}:{2}"]);
    let after_a_write = |sabotage: Sabotage| {
        let database = items();
        run(async {
            let mut config = cached(&database);
            config.sabotage = sabotage;
            let address = config.address.clone();
            let store = Store::open(config).await.unwrap();
            settled(&store).await;
            let (slow, rename) = (store.declare(SLOW).unwrap(), store.declare(RENAME).unwrap());
            // One connection that is there already: to open one may take as long as the load.
            let watch = candlefish::postgres::connect(&address).await.unwrap();
            let (asking, query) = (store.clone(), slow.clone());
            let load = tokio::spawn(async move { asking.fetch(&query, &[&1_i64, &7_i64]).await });
            let active =
                "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(0.4)%' AND state = 'active' AND pid <> pg_backend_pid()";
            while watch.query_one(active, &[]).await.unwrap().get::<_, i64>(0) == 0 {
                assert!(!load.is_finished(), "it was over before anybody saw it");
            }
            store.write(&rename, &[&1_i64, &7_i64, &"new"]).await.unwrap();
            if sabotage == Sabotage::None {
                // Who asks now does not join the load that is older.
                let (asking, query) = (store.clone(), slow.clone());
                let beside = tokio::spawn(async move { asking.fetch(&query, &[&1_i64, &7_i64]).await });
                assert_eq!(name(&beside.await.unwrap().unwrap()), "new");
            }
            assert_eq!(name(&load.await.unwrap().unwrap()), "item 1/7", "it saw what was before");
            name(&store.fetch(&slow, &[&1_i64, &7_i64]).await.unwrap())
        })
    };
    assert_eq!(after_a_write(Sabotage::None), "new");
    assert_eq!(after_a_write(Sabotage::NoFence), "item 1/7");
}

#[test]
fn a_glob_means_the_same_in_both_layers_and_the_answer_says_who_heard() {
    let database = items();
    run(async {
        let config = cached(&database);
        let redis = redis::Client::open(config.redis.clone().unwrap()).unwrap().get_multiplexed_async_connection().await.unwrap();
        let count = format!("{}:n", config.namespace);
        let (here, there) = (Store::open(config.clone()).await.unwrap(), Store::open(config).await.unwrap());
        settled(&here).await;
        settled(&there).await;
        let (item, item_there) = (here.declare(ITEM).unwrap(), there.declare(ITEM).unwrap());
        let load = async |id: i64| {
            here.fetch(&item, &[&1_i64, &id]).await.unwrap();
            there.fetch(&item_there, &[&1_i64, &id]).await.unwrap();
        };
        load(1).await;
        load(12).await;
        // Changed behind the cache's back.
        database.execute("UPDATE items SET name = 'behind'");
        let told = here.forget_glob("item:1:?").await.unwrap();
        assert_eq!((told.tags, told.instances, told.acknowledged), (1, 2, 2));
        for (store, item) in [(&here, &item), (&there, &item_there)] {
            assert_eq!(name(&store.fetch(item, &[&1_i64, &1_i64]).await.unwrap()), "behind");
            assert_eq!(store.fetch(item, &[&1_i64, &12_i64]).await.unwrap().source, Source::L1, "item:1:12 does not match");
        }
        let told = there.forget_tags(&["item:1:12"]).await.unwrap();
        assert_eq!((told.instances, told.acknowledged), (2, 2));
        assert_eq!(name(&here.fetch(&item, &[&1_i64, &12_i64]).await.unwrap()), "behind");
        database.execute("UPDATE items SET name = 'flushed'");
        let messages = async || -> u64 { redis::cmd("GET").arg(&count).query_async(&mut redis.clone()).await.unwrap() };
        let before = messages().await;
        let (keys, told) = here.flush().await.unwrap();
        assert!(keys >= 2 && told.acknowledged == 2, "{keys} {told:?}");
        // Before the walk, for loads under way, and after it.
        assert_eq!(messages().await - before, 2);
        assert_eq!(name(&there.fetch(&item_there, &[&1_i64, &1_i64]).await.unwrap()), "flushed");
    });
}

#[test]
fn a_watched_table_tells_of_changes_that_others_make() {
    let database = items();
    run(async {
        let store = Store::open(cached(&database)).await.unwrap();
        settled(&store).await;
        let item = store.declare(ITEM).unwrap();
        let table = QualifiedName { schema: Name::new("public"), name: Name::new("items") };
        store.watch_table(&table, &["items"]).await.unwrap();
        store.fetch(&item, &[&1_i64, &7_i64]).await.unwrap();
        database.execute("UPDATE items SET name = 'by psql' WHERE id = 7");
        let took = until_name(&store, &item, "by psql").await;
        assert!(took < Duration::from_secs(2), "{took:?}");
        store.watch_table(&table, &[]).await.unwrap();
        assert_eq!(database.value("SELECT count(*) FROM pg_trigger WHERE tgname = 'candlefish_cache'"), "0");
    });
}

/// Nobody who reads or writes a table waits for long behind its watcher, who needs it alone; and a store that keeps nothing can watch one, too.
#[test]
fn a_table_that_others_hold_is_not_waited_for() {
    let database = items();
    run(async {
        let store = Store::open(config(&database.pooler_url()).layers(Layers::Pooled)).await.unwrap();
        let table = QualifiedName { schema: Name::new("public"), name: Name::new("items") };
        let address = candlefish::postgres::Address::parse(&database.url(), "the test").unwrap();
        let holder = candlefish::postgres::connect(&address).await.unwrap();
        holder.batch_execute("BEGIN; UPDATE items SET price = 2 WHERE id = 1").await.unwrap();
        let began = Instant::now();
        let error = store.watch_table(&table, &["items"]).await.unwrap_err();
        assert!(matches!(&error, StoreError::Database { sqlstate, .. } if sqlstate == "55P03"), "{error:?}");
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
        holder.batch_execute("COMMIT").await.unwrap();
        store.watch_table(&table, &["items"]).await.unwrap();
        database.execute("UPDATE items SET price = 3 WHERE id = 1");
        assert_eq!(database.rows("SELECT unnest(tags) FROM candlefish.cache_outbox"), ["items"]);
    });
}

/// What the outbox has of before its time was told by others: it is not told again, and nobody loses anything.
#[test]
fn a_new_instance_takes_nothing_from_the_others() {
    let database = items();
    run(async {
        let config = cached(&database);
        let namespace = config.namespace.clone();
        let mut redis = redis::Client::open(addresses().redis_url()).unwrap().get_multiplexed_async_connection().await.unwrap();
        let mut ask = async |key: String| -> Option<String> {
            redis::cmd("GET").arg(format!("{namespace}:{key}")).query_async(&mut redis).await.unwrap()
        };
        let last = || database.value("SELECT max(id) FROM candlefish.cache_outbox");
        let here = Store::open(config.clone()).await.unwrap();
        settled(&here).await;
        database.execute("INSERT INTO candlefish.cache_outbox (tags) VALUES ('{item:1:7}')");
        while ask(format!("o:{}", last())).await.is_none() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        drop(here);
        // More than anybody remembers one by one.
        database.execute("INSERT INTO candlefish.cache_outbox (tags) SELECT ARRAY['other:' || n] FROM generate_series(1, 10500) n");
        // While a transaction of before them is open, anywhere on the server, whoever begins takes them for new.
        let until = database.value("SELECT pg_snapshot_xmax(pg_current_snapshot())");
        while database.value(&format!("SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint >= {until}")) != "t" {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let before = (ask("e".into()).await, ask("t:item:1:7".into()).await);
        assert!(before.0.is_some() && before.1.is_some(), "{before:?}");
        let there = Store::open(config).await.unwrap();
        while ask(format!("o:{}", last())).await.is_none() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert_eq!((ask("e".into()).await, ask("t:item:1:7".into()).await), before);
        drop(there);
    });
}

#[test]
fn who_has_little_time_is_given_the_stale_row_before_it_is_over() {
    let database = items();
    run(async {
        let store = Store::open(cached(&database)).await.unwrap();
        settled(&store).await;
        let item = store.declare(ITEM.ttl(Duration::from_millis(100)).grace(Duration::from_secs(60))).unwrap();
        store.fetch(&item, &[&1_i64, &7_i64]).await.unwrap();
        let blocker = candlefish::postgres::connect(&config(&database.url()).address).await.unwrap();
        blocker.batch_execute("BEGIN; LOCK TABLE items").await.unwrap();
        let began = Instant::now();
        loop {
            let call = Call { deadline: Some(Instant::now() + Duration::from_millis(60)), ..Call::default() };
            match store.fetch_with(&item, &[&1_i64, &7_i64], &call).await.unwrap().source {
                Source::Stale { .. } => break,
                source => assert!(began.elapsed() < Duration::from_secs(5), "{source:?}"),
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
}

#[test]
fn with_the_database_gone_stale_rows_are_given_within_grace_and_say_so() {
    let database = items();
    run(async {
        let store = Store::open(cached(&database)).await.unwrap();
        settled(&store).await;
        let item = store.declare(ITEM.ttl(Duration::from_millis(400)).grace(Duration::from_secs(60))).unwrap();
        let strict = store.declare(ITEM.ttl(Duration::from_millis(400))).unwrap();
        let params: [&(dyn candlefish::store::ToSql + Sync); 2] = [&1_i64, &7_i64];
        store.fetch(&item, &params).await.unwrap();
        let database_sql = |sql: String| drop(Database::maintain(&sql));
        database_sql(format!("ALTER DATABASE {} ALLOW_CONNECTIONS false", database.name));
        database_sql(format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{}'", database.name));
        let began = Instant::now();
        let stale = loop {
            let fetched = store.fetch(&item, &params).await.unwrap();
            if let Source::Stale { .. } = fetched.source {
                break fetched;
            }
            assert!(began.elapsed() < Duration::from_secs(5));
            tokio::time::sleep(Duration::from_millis(10)).await;
        };
        assert_eq!(name(&stale), "item 1/7");
        assert!(stale.age() >= Duration::from_millis(300), "{:?}", stale.age());
        while store.fetch(&strict, &params).await.is_ok() {
            assert!(began.elapsed() < Duration::from_secs(5), "no grace, and still an answer");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        // Never past an invalidation.
        let _ = store.invalidate(&["item:1:7"]).await;
        assert!(store.fetch(&item, &params).await.is_err());
        database_sql(format!("ALTER DATABASE {} ALLOW_CONNECTIONS true", database.name));
        let back = Instant::now();
        while store.fetch(&item, &params).await.is_err() {
            assert!(back.elapsed() < Duration::from_secs(2), "not back");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
}
