//! What the data layer costs beside what it stands on, interleaved: `cargo xtask compare store` runs it and judges.
//!
//! `store POSTGRES POOLER REDIS [WHAT…]`, with WHAT of `l1`, `l2`, `pooled`, `memory-small`, `memory-large`, `memory-mixed`. Each line that it prints is a JSON document:
//! `{"what", "unit", "rounds": […]}`; the rounds of things that are compared follow one another.

#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a program of measurements")]

use std::hash::{BuildHasher, Hasher};
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use candlefish::model::{ParamType, Query};
use candlefish::postgres::{self, Address};
use candlefish::store::{Call, Declared, Layers, Source, Store, StoreConfig};

const ENTRIES: i64 = 100_000;

const ITEM: Query = Query::cached("item", "SELECT $1 AS id, 'the name of ' || $1 AS name, now() AS seen", &[ParamType::Int8])
    .tags(&["item:{1}"])
    .ttl(Duration::from_secs(3600));

/// Of a kilobyte, more or less.
const PAGE: Query = Query::cached("page", "SELECT $1 AS id, repeat('x', (100 + $1 * 7919 % 1800)::int) AS body", &[ParamType::Int8])
    .tags(&["page:{1}"])
    .ttl(Duration::from_secs(3600));

/// A few rows, of a hundred bytes up to a quarter of a megabyte: most are short.
const LIST: Query = Query::cached(
    "list",
    "SELECT n AS id, repeat('x', (20 + $1 * 7919 % 60)::int) AS name FROM generate_series(1, power(4000, ($1 * 6151 % 1000) / 1000.0)::bigint) n",
    &[ParamType::Int8],
)
.tags(&["list:{1}"])
.ttl(Duration::from_secs(3600));

fn main() {
    // `cargo bench` adds `--bench`.
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    let [database, pooler, redis, what @ ..] = words.as_slice() else {
        // `cargo bench` of everything: there are no servers to measure with.
        println!("run it by: cargo xtask compare store");
        return;
    };
    let bed = Bed { database: database.clone(), pooler: pooler.clone(), redis: redis.clone() };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    for what in what {
        match what.as_str() {
            "l1" => l1(&bed, &runtime),
            // On one thread: where a scheduler puts tasks on two would be most of what is measured.
            "l2" => alone().block_on(l2(bed.clone())),
            "pooled" => alone().block_on(pooled(bed.clone())),
            "memory-small" => memory(&bed, &runtime, "small answers", &[ITEM]),
            "memory-large" => memory(&bed, &runtime, "answers of a kilobyte", &[PAGE]),
            "memory-mixed" => memory(&bed, &runtime, "answers of every size", &[ITEM, PAGE, LIST]),
            other => panic!("{other:?} is nothing that is measured"),
        }
    }
}

fn alone() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

#[derive(Clone)]
struct Bed {
    database: String,
    pooler: String,
    redis: String,
}

impl Bed {
    fn config(&self, url: &str) -> StoreConfig {
        let mut config = StoreConfig::new(Address::parse(url, "the arguments").unwrap());
        config.namespace = format!("compare:{}", std::process::id());
        config
    }

    async fn open(&self, config: StoreConfig) -> Store {
        let store = Store::open(config).await.unwrap();
        let probe = store.declare(Query::cached("probe", "SELECT 1", &[]).tags(&["probe"])).unwrap();
        while !store.explain(&probe, &[], &Call::default()).await.unwrap().in_l2 {
            store.fetch(&probe, &[]).await.unwrap();
            store.clear_memory();
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        store
    }
}

fn say(what: &str, unit: &str, rounds: &[f64]) {
    println!("{}", serde_json::json!({ "what": what, "unit": unit, "rounds": rounds }));
}

/// A walk over all numbers below `count`, in an order that looks like chance; the same each time.
fn shuffled(count: i64, salt: u64) -> Vec<i64> {
    let mut order: Vec<i64> = (0..count).collect();
    let mut state = 0x9e37_79b9_7f4a_7c15 ^ salt;
    for at in (1..order.len()).rev() {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        order.swap(at, usize::try_from(state % (at as u64 + 1)).unwrap());
    }
    order
}

/// Asks for each of these keys once, of one query after the other.
async fn fill(store: &Store, queries: &[Declared], keys: std::ops::Range<i64>) {
    let next = Arc::new(std::sync::atomic::AtomicI64::new(keys.start));
    let tasks = (0..16).map(|_| {
        let (store, queries, next, end) = (store.clone(), queries.to_vec(), next.clone(), keys.end);
        tokio::spawn(async move {
            loop {
                let key = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                if key >= end {
                    return;
                }
                let query = &queries[usize::try_from(key).unwrap() % queries.len()];
                store.fetch(query, &[&key]).await.unwrap();
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
}

/// As large as what the store keeps.
struct Same {
    rows: candlefish::store::Rows,
    _rest: [u64; 18],
}

/// The keys are hashes already, here and in the store.
#[derive(Clone, Default)]
struct KeyIsHash;
#[derive(Default)]
struct Folded(u64);

impl BuildHasher for KeyIsHash {
    type Hasher = Folded;
    fn build_hasher(&self) -> Folded {
        Folded(0)
    }
}

impl Hasher for Folded {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, _: &[u8]) {
        unreachable!("keys are u128")
    }
    #[allow(clippy::cast_possible_truncation, reason = "any half of a hash")]
    fn write_u128(&mut self, key: u128) {
        self.0 = key as u64;
    }
}

/// A hit through the whole fetch beside a bare get, and what two cores do.
///
/// Each is asked for when the last is answered, as by a program that does something with an answer. Where none waits for the last, a processor looks
/// for the keys of the next gets while memory is slow with the first, four or five at once as long as each is short: that is measured as well.
fn l1(bed: &Bed, runtime: &tokio::runtime::Runtime) {
    let mut config = bed.config(&bed.database).redis(&bed.redis);
    // Both cores are busy with hits: Redis is not given up because its answer is heard late.
    config.l2_deadline = Duration::from_secs(1);
    let store = runtime.block_on(bed.open(config));
    let item = store.declare(ITEM).unwrap();
    runtime.block_on(fill(&store, std::slice::from_ref(&item), 0..ENTRIES));
    let bare: quick_cache::sync::Cache<u128, Arc<Same>, quick_cache::UnitWeighter, KeyIsHash> = quick_cache::sync::Cache::with(
        2 * ENTRIES as usize,
        2 * ENTRIES as u64,
        quick_cache::UnitWeighter,
        KeyIsHash,
        quick_cache::sync::DefaultLifecycle::default(),
    );
    let mut keys = Vec::new();
    for id in shuffled(ENTRIES, 7) {
        // The second time at the latest it comes from memory, unless the machine is too busy to hear Redis.
        let fetched = (0..100).map(|_| runtime.block_on(store.fetch(&item, &[&id])).unwrap()).find(|fetched| fetched.source == Source::L1);
        let fetched = fetched.expect("the memory holds all of them");
        let key = xxhash_rust::xxh3::xxh3_128(&id.to_le_bytes());
        bare.insert(key, Arc::new(Same { rows: fetched.rows().clone(), _rest: [0; 18] }));
        keys.push(key);
    }
    let [mut gets, mut fetches, mut free_gets, mut free_fetches, mut few, mut both]: [Vec<f64>; 6] = Default::default();
    for round in 0..9 {
        let order = shuffled(ENTRIES, round);
        let keys: Vec<u128> = order.iter().map(|at| keys[usize::try_from(*at).unwrap()]).collect();
        let passes = 5;
        let took = |began: Instant| began.elapsed().as_nanos() as f64 / (passes * ENTRIES) as f64;
        // One row each: whoever waits finds his next key where he would have looked anyway, and knows it only once he has the answer.
        let one_get = |waits: bool| {
            let began = Instant::now();
            for _ in 0..passes {
                let mut after = 0;
                for at in 0..keys.len() {
                    let rows = black_box(bare.get(&keys[at + after]).unwrap().rows.len());
                    after = if waits { rows - 1 } else { 0 };
                }
            }
            took(began)
        };
        let one_fetch = |waits: bool| {
            runtime.block_on(async {
                let began = Instant::now();
                for _ in 0..passes {
                    let mut after = 0;
                    for at in 0..order.len() {
                        let rows = black_box(store.fetch(&item, &[&order[at + after]]).await.unwrap().rows().len());
                        after = if waits { rows - 1 } else { 0 };
                    }
                }
                took(began)
            })
        };
        for place in 0..2 {
            if (place + round) % 2 == 0 {
                gets.push(one_get(true));
                free_gets.push(one_get(false));
            } else {
                fetches.push(one_fetch(true));
                free_fetches.push(one_fetch(false));
            }
        }
        let hundred: Vec<i64> = order[..100].to_vec();
        few.push(runtime.block_on(async {
            let began = Instant::now();
            for _ in 0..2000 {
                for id in &hundred {
                    black_box(store.fetch(&item, &[id]).await.unwrap().rows().len());
                }
            }
            began.elapsed().as_nanos() as f64 / 200_000.0
        }));
        let began = Instant::now();
        std::thread::scope(|scope| {
            for salt in 0..2 {
                let (store, item, order) = (&store, &item, shuffled(ENTRIES, round * 2 + salt));
                scope.spawn(move || {
                    runtime.block_on(async {
                        for _ in 0..passes {
                            for id in &order {
                                black_box(store.fetch(item, &[id]).await.unwrap().rows().len());
                            }
                        }
                    });
                });
            }
        });
        both.push((2 * passes * ENTRIES) as f64 / began.elapsed().as_secs_f64() / 1e6);
    }
    say("a bare get of quick_cache", "ns", &gets);
    say("a hit of L1 through fetch", "ns", &fetches);
    say("a bare get, none waits for the last", "ns", &free_gets);
    say("a hit of L1, none waits for the last", "ns", &free_fetches);
    say("a hit of L1, of a hundred entries", "ns", &few);
    say("hits of L1 on two threads", "million/s", &both);
    let status = store.status();
    let l1 = &status.queries.iter().find(|query| query.query == "item").unwrap().l1;
    assert!(l1.lookups - l1.hits <= 2 * u64::try_from(ENTRIES).unwrap() / 100 + u64::try_from(ENTRIES).unwrap(), "{l1:?}");
}

/// The median time of one of these, in microseconds. (A macro: a future that borrows from a closure is not known to be Send.)
macro_rules! median_of {
    ($count:expr, |$at:ident| $one:expr) => {{
        let mut times = Vec::with_capacity($count);
        for $at in 0..$count {
            let began = Instant::now();
            $one;
            times.push(began.elapsed().as_nanos());
        }
        times.sort_unstable();
        times[$count / 2] as f64 / 1e3
    }};
}

/// A hit of Redis beside a bare GET of the same value by the same client.
async fn l2(bed: Bed) {
    let store = bed.open(bed.config(&bed.database).redis(&bed.redis).layers(Layers::L2)).await;
    let item = store.declare(ITEM).unwrap();
    fill(&store, std::slice::from_ref(&item), 0..1000).await;
    let keys: Vec<String> = {
        let mut keys = Vec::new();
        for id in 0..1000_i64 {
            let explained = store.explain(&item, &[&id], &Call::default()).await.unwrap();
            assert!(explained.in_l2, "{explained:?}");
            keys.push(format!("compare:{}:v:{}", std::process::id(), explained.key));
        }
        keys
    };
    let client = redis::Client::open(bed.redis.as_str()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let (mut gets, mut fetches) = (Vec::new(), Vec::new());
    for round in 0..9 {
        for place in 0..2 {
            if (place + round) % 2 == 0 {
                gets.push(median_of!(3000, |at| {
                    let value: Option<Vec<u8>> = redis::cmd("GET").arg(&keys[at % 1000]).query_async(&mut connection).await.unwrap();
                    assert!(black_box(value).is_some());
                }));
            } else {
                fetches.push(median_of!(3000, |at| {
                    let id: i64 = at % 1000;
                    let fetched = store.fetch(&item, &[&id]).await.unwrap();
                    assert_eq!(black_box(fetched).source, Source::L2);
                }));
            }
        }
    }
    say("a bare GET of Redis", "µs", &gets);
    say("a hit of L2 through fetch", "µs", &fetches);
}

/// A query through the pool beside the same query by the bare client: directly, prepared; and through PgBouncer, with the same limit.
async fn pooled(bed: Bed) {
    let direct = Store::open(bed.config(&bed.database).layers(Layers::Pooled)).await.unwrap();
    let pooled = Store::open(bed.config(&bed.pooler).layers(Layers::Pooled)).await.unwrap();
    let (item, item_pooled) = (direct.declare(ITEM).unwrap(), pooled.declare(ITEM).unwrap());
    let client = postgres::connect(&Address::parse(&bed.database, "the arguments").unwrap()).await.unwrap();
    let prepared = client.prepare_typed(ITEM.sql, &[postgres::Type::INT8]).await.unwrap();
    let through = postgres::connect(&Address::parse(&bed.pooler, "the arguments").unwrap()).await.unwrap();
    let mut rounds: [Vec<f64>; 5] = Default::default();
    for round in 0..9 {
        for place in 0..5 {
            let place = (place + round) % 5;
            let took = median_of!(1500, |at| {
                let id: i64 = at;
                match place {
                    0 => drop(black_box(client.query(&prepared, &[&id]).await.unwrap())),
                    1 => drop(black_box(direct.fetch(&item, &[&id]).await.unwrap())),
                    2 => {
                        let value: [(&(dyn candlefish::store::ToSql + Sync), postgres::Type); 1] = [(&id, postgres::Type::INT8)];
                        let (began, rows, ended) = tokio::join!(
                            biased;
                            through.batch_execute("BEGIN READ ONLY; SET LOCAL statement_timeout = 30000"),
                            through.query_typed(ITEM.sql, &value),
                            through.batch_execute("COMMIT")
                        );
                        began.unwrap();
                        ended.unwrap();
                        drop(black_box(rows.unwrap()));
                    }
                    3 => drop(black_box(pooled.fetch(&item_pooled, &[&id]).await.unwrap())),
                    _ => drop(black_box(through.query_typed(ITEM.sql, &[(&id, postgres::Type::INT8)]).await.unwrap())),
                }
            });
            rounds[place].push(took);
        }
    }
    let names = [
        "the bare client, prepared",
        "a pooled query, directly",
        "the bare client through PgBouncer, with the limit",
        "a pooled query through PgBouncer",
        "the bare client through PgBouncer, without a limit",
    ];
    names.iter().zip(&rounds).for_each(|(name, rounds)| say(name, "µs", rounds));
}

fn resident_bytes() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<f64>().unwrap() * 1024.0
}

/// How far the process grows when ten times as much is asked for as memory may hold.
fn memory(bed: &Bed, runtime: &tokio::runtime::Runtime, what: &str, queries: &[Query]) {
    let config = bed.config(&bed.database);
    let configured = config.l1_bytes as f64;
    let store = runtime.block_on(Store::open(config)).unwrap();
    let declared: Vec<_> = queries.iter().map(|query| store.declare(*query).unwrap()).collect();
    // The empty store, its connections at work already.
    runtime.block_on(fill(&store, &declared, 0..2000));
    store.clear_memory();
    let empty = resident_bytes();
    let (mut key, mut asked) = (10_000_i64, 0.0);
    while asked < 10.0 * configured {
        runtime.block_on(fill(&store, &declared, key..key + 10_000));
        key += 10_000;
        // As much as what is kept, by the count that bounds it.
        let status = store.status();
        asked += 10_000.0 * status.l1_bytes as f64 / status.l1_entries as f64;
    }
    let status = store.status();
    say(&format!("growth of the process / configured bytes of L1, {what}"), "", &[(resident_bytes() - empty) / configured]);
    say(&format!("bytes that L1 counts / configured, {what}"), "", &[status.l1_bytes as f64 / configured]);
}
