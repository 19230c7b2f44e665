//! What must not get out, and what must not get in.

use std::time::Duration;

use candlefish::model::{ParamType, Query};
use candlefish::postgres::Address;
use candlefish::store::{Call, Layers, Source, Store, StoreConfig, StoreError, TransactionOptions};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::cache::{cached, settled};
use super::{config, run};
use crate::allocations;
use crate::support::{Case, Database};

const ITEM: Query = Query::cached("item", "SELECT $1 AS id, 'of ' || $1 AS name", &[ParamType::Int8]).tags(&["item:{1}"]);

#[test]
fn what_is_damaged_of_another_epoch_or_of_another_key_is_not_used() {
    let database = Database::fresh();
    run(async {
        let config = cached(&database).layers(Layers::L2);
        let (url, namespace) = (config.redis.clone().unwrap(), config.namespace.clone());
        let store = Store::open(config).await.unwrap();
        settled(&store).await;
        let mut redis = redis::Client::open(url.as_str()).unwrap().get_multiplexed_async_connection().await.unwrap();
        let item = store.declare(ITEM).unwrap();
        let key_of = async |id: i64| store.explain(&item, &[&id], &Call::default()).await.unwrap().key;
        let (one, other) = (key_of(1).await, key_of(2).await);
        let place = |key: &str| format!("{namespace}:v:{key}");
        for id in [1_i64, 2] {
            store.fetch(&item, &[&id]).await.unwrap();
            assert_eq!(store.fetch(&item, &[&id]).await.unwrap().source, Source::L2);
        }
        let kept: Vec<u8> = redis::cmd("GET").arg(place(&one)).query_async(&mut redis).await.unwrap();
        let of_other: Vec<u8> = redis::cmd("GET").arg(place(&other)).query_async(&mut redis).await.unwrap();
        let misses = || {
            let status = store.status();
            let l2 = &status.queries.iter().find(|query| query.query == "item").unwrap().l2;
            (l2.misses_by_cause.damaged, l2.misses_by_cause.invalidated)
        };
        let mut flipped = kept.clone();
        *flipped.last_mut().unwrap() ^= 1;
        // Whole, as far as its checksum can tell, but of an epoch that is over.
        let number = u128::from_str_radix(&one, 16).unwrap();
        let seed = u64::try_from(number & u128::from(u64::MAX)).unwrap() ^ u64::try_from(number >> 64).unwrap();
        let mut older = kept.clone();
        older[12..20].copy_from_slice(&7_u64.to_le_bytes());
        let checksum = xxh3_64_with_seed(&older[12..], seed);
        older[4..12].copy_from_slice(&checksum.to_le_bytes());
        for (what, value, expected) in [
            ("a flipped bit", flipped, (1, 0)),
            ("half of it", kept[..kept.len() / 2].to_vec(), (2, 0)),
            ("another key's rows", of_other, (3, 0)),
            ("another epoch", older, (3, 1)),
            ("not ours at all", b"{\"rows\": []}".to_vec(), (4, 1)),
        ] {
            let _: () = redis::cmd("SET").arg(place(&one)).arg(value).query_async(&mut redis).await.unwrap();
            let fetched = store.fetch(&item, &[&1_i64]).await.unwrap();
            assert_eq!((fetched.source, fetched.rows().row(0).named::<&str>("name").unwrap()), (Source::Database, "of 1"), "{what}");
            assert_eq!(misses(), expected, "{what}");
            assert_eq!(store.fetch(&item, &[&1_i64]).await.unwrap().source, Source::L2, "after {what} it is kept anew");
        }
    });
}

#[test]
fn no_secret_is_in_debug_or_in_an_error() {
    let database = Database::fresh();
    run(async {
        let secret = "hunter2-and-more";
        let mut shown = Vec::new();
        let url = format!("postgresql://candlefish:{secret}@127.0.0.1:1/shop");
        let mut unreachable = config(&url).redis(format!("redis://:{secret}@127.0.0.1:1"));
        unreachable.route = Some(candlefish::postgres::Route::Direct);
        unreachable.pool.reconnect_timeout = Duration::from_millis(50);
        shown.push(format!("{unreachable:?}"));
        shown.push(format!("{:#}", Store::open(unreachable.clone()).await.err().unwrap()));
        let store = Store::open(unreachable.layers(Layers::Pooled)).await.unwrap();
        shown.push(format!("{:?} {:?}", store.pool().address(), store.status()));
        let item = store.declare(ITEM).unwrap();
        let error = store.fetch(&item, &[&1_i64]).await.unwrap_err();
        assert!(matches!(error, StoreError::Unreachable(_)), "{error:?}");
        shown.push(format!("{error:?} {error} {:?}", candlefish::model::Failure::from(error.clone())));
        let bad = config(&database.url()).redis(format!("no-url:{secret}"));
        shown.push(format!("{:?}", Store::open(bad).await.err().unwrap()));
        // The wrong password of a role that is there.
        let wrong = database.url().replacen('@', &format!("{secret}@"), 1);
        shown.push(format!("{:?}", Store::open(config(&wrong)).await.err().unwrap()));
        // Values of parameters and of rows.
        let store = Store::open(config(&database.url())).await.unwrap();
        let find = store.declare(Query::cached("find", "SELECT $1 AS a, 1 / (length($1) - 16) AS b", &[ParamType::Text])).unwrap();
        shown.push(format!("{:?}", store.fetch(&find, &[&secret]).await.unwrap_err()));
        let longer = format!("{secret}!");
        shown.push(format!("{:?}", store.fetch(&find, &[&longer]).await.unwrap()));
        shown.push(format!("{:?}", store.fetch(&find, &[&candlefish::postgres::Argument::Text(secret), &1_i32]).await.unwrap_err()));
        for text in shown {
            assert!(!text.contains("hunter2"), "{text}");
        }
    });
}

/// A value of a parameter is a value, whatever is written in it.
#[test]
fn parameters_are_bound_and_never_text_of_the_statement() {
    let database = Database::fresh();
    database.execute("CREATE TABLE notes (id bigint PRIMARY KEY, body text)");
    run(async {
        let store = Store::open(config(&database.pooler_url())).await.unwrap();
        let add = store
            .declare(Query::write("add", "INSERT INTO notes VALUES ($1, $2)", &[ParamType::Int8, ParamType::Text]).tags(&["note:{2}"]))
            .unwrap();
        let hostile = "'); DROP TABLE notes; --{1} $1 \n *";
        store.write(&add, &[&1_i64, &hostile]).await.unwrap();
        assert_eq!(database.value("SELECT count(*) FROM notes"), "1");
        assert_eq!(database.value("SELECT tags[1] FROM candlefish.cache_outbox"), format!("note:{hostile}"));
    });
}

/// Two stores of one login and one Redis, whose sessions work as different roles: directly, and through a pooler that knows no sessions.
#[test]
fn the_role_of_a_session_is_part_of_the_key_and_holds_through_a_pooler() {
    const LETTERS: Query = Query::cached("letters", "SELECT text FROM letters", &[]).tags(&["letters"]);
    let database = Database::fresh();
    let roles = ["a", "b"].map(|name| format!("{}_{name}", database.name));
    let [a, b] = &roles;
    database.execute(&format!(
        "CREATE TABLE letters (owner text, text text); INSERT INTO letters VALUES ('{a}', 'for {a}'), ('{b}', 'for {b}'); \
         ALTER TABLE letters ENABLE ROW LEVEL SECURITY; CREATE POLICY own ON letters USING (owner = current_user); \
         CREATE ROLE {a}; CREATE ROLE {b}; GRANT SELECT ON letters TO {a}, {b}"
    ));
    run(async {
        for url in [database.url(), database.pooler_url()] {
            let shared = cached(&database);
            let mut stores = Vec::new();
            for role in &roles {
                let address = Address::parse(&url, "the test").unwrap().with_role(Some(role));
                let store = Store::open(StoreConfig { address, ..shared.clone() }).await.unwrap();
                settled(&store).await;
                stores.push((role, store.declare(LETTERS).unwrap(), store));
            }
            for (role, letters, store) in &stores {
                // Once from the database, once from what is kept.
                for _ in 0..2 {
                    let fetched = store.fetch(letters, &[]).await.unwrap();
                    assert_eq!(fetched.rows().len(), 1);
                    assert_eq!(fetched.rows().row(0).get::<&str>(0).unwrap(), format!("for {role}"));
                }
                let read = store.transaction(TransactionOptions::default(), |t| async move { t.run(letters, &[]).await });
                assert_eq!(read.await.unwrap().value.row(0).get::<&str>(0).unwrap(), format!("for {role}"));
            }
            // And what one store declared is not taken by the other.
            let [(_, of_a, a), (_, _, b)] = &stores[..] else { unreachable!() };
            assert!(a.fetch(of_a, &[]).await.is_ok());
            assert!(matches!(b.fetch(of_a, &[]).await, Err(StoreError::Misuse(_))));
        }
    });
    database.execute(&format!("DROP TABLE letters; DROP ROLE {a}; DROP ROLE {b}"));
}

/// From the key to the rows: nothing of a hit in memory is allocated.
#[test]
fn a_hit_in_memory_allocates_nothing() {
    let database = Database::fresh();
    run(async {
        let store = Store::open(cached(&database)).await.unwrap();
        settled(&store).await;
        let item = store.declare(ITEM.ttl(Duration::from_secs(3600))).unwrap();
        let (mut hits, mut allocated) = (0, 0);
        // Under a heavy load of other tests the instance may not have heard its heartbeat for a moment: then a read is no hit. Such rounds are not counted.
        for _ in 0..50 {
            store.fetch(&item, &[&7_i64]).await.unwrap();
            let before = allocations::count();
            let mut all = true;
            for _ in 0..1000 {
                let fetched = store.fetch(&item, &[&7_i64]).await.unwrap();
                all &= fetched.source == Source::L1 && fetched.rows().row(0).get::<i64>(0).unwrap() == 7;
            }
            if all {
                hits += 1000;
                allocated += allocations::count() - before;
            }
        }
        assert!(hits > 0 && allocated == 0, "{hits} hits, {allocated} allocations");
        // The counter counts.
        let before = allocations::count();
        drop(std::hint::black_box(vec![1_u8; 100]));
        assert_eq!(allocations::count() - before, 1);
    });
}

/// What the address's options set holds in every transaction, through a pooler as directly: else a table of the same name in another schema answers.
#[test]
fn the_search_path_of_an_address_holds_through_a_pooler() {
    let database = Database::fresh();
    database.execute(
        "CREATE SCHEMA sa; CREATE SCHEMA sb; CREATE TABLE public.mine AS SELECT 'public' AS whose; CREATE TABLE sb.mine AS SELECT 'sb' AS whose",
    );
    run(async {
        for url in [database.url(), database.pooler_url()] {
            let with = |options: &str| config(&format!("{url}?options={options}"));
            let store = Store::open(with("-csearch_path%3Dsa,sb")).await.unwrap();
            let mine = store.declare(Query::read("mine", "SELECT whose FROM mine", &[])).unwrap();
            assert_eq!(store.fetch(&mine, &[]).await.unwrap().rows().row(0).get::<&str>(0).unwrap(), "sb", "{url}");
            let mine = &mine;
            let read = store.transaction(TransactionOptions::default(), |t| async move { t.run(mine, &[]).await });
            assert_eq!(read.await.unwrap().value.row(0).get::<&str>(0).unwrap(), "sb", "{url}");
        }
        let other = Store::open(config(&format!("{}?options=-e", database.pooler_url()))).await.err().unwrap();
        assert!(format!("{other:#}").contains("a pooler takes no options"), "{other:#}");
    });
    // What was said of the target is not lost with the pooler in front of it.
    let case = Case::new("options").database(&database);
    std::fs::write(case.dir().join("mine.sql"), "SELECT 1 / (whose = 'sb')::int FROM mine;\n").unwrap();
    let line = format!(
        "bench --to {}?options=-csearch_path%3Dsa,sb --pooler {{pooler}} -f {{dir}}/mine.sql --layer pooled -c 2 -t 5 --warmup 0 --json",
        database.url()
    );
    let report = case.run(&line).exit(0).json();
    assert_eq!((&report["layers"][0]["transactions"], &report["layers"][0]["errors"]), (&10.into(), &0.into()), "{report:#}");
    case.run("doctor --to {pooler}?options=-csearch_path%3Dsa")
        .exit(2)
        .stderr_has("unsupported startup parameter")
        .stderr_has("leave options=");
}
