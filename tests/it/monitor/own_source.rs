//! An alert keeps the source by which it began: Redis that is killed and comes back empty, an application that is gone for a while, end none.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use candlefish::model::{ParamType, Query};
use candlefish::store::Store;
use serde_json::Value;

use super::{Running, alert};
use crate::store::cache::cached;
use crate::store::checker::Redis;
use crate::support::{Case, Database, execute_at};

const RULES: &str = "interval: 200ms\ndefaults: {min_samples: 5}\nalerts:\n  \
    errors: {condition: 'error_rate[1s] > 1%'}\n  \
    pends: {condition: 'error_rate[1s] > 1%', duration: 10m}\n";
const FAIL: Query = Query::read("fail", "SELECT 1 / ($1::bigint - 1)", &[ParamType::Int8]);

#[tokio::test(flavor = "multi_thread")]
async fn an_alert_outlives_redis_and_a_restart_of_the_application() {
    let database = Database::fresh();
    let mut redis = Redis::start();
    let mut config = cached(&database).redis(redis.url());
    (config.retries, config.status_interval) = (0, Duration::from_millis(200));
    let namespace = config.namespace.clone();
    let case = Case::new("own source").database(&database).env("REDIS_URL", &redis.url());
    std::fs::write(case.dir().join("rules.yaml"), RULES).unwrap();
    let url = database.url();
    let mut running = Running::start(&case, &["monitor", "--rules", "rules.yaml", "--namespace", &namespace, "--json", "-d", &url]);

    // What happens goes on by itself, however slowly samples are read: no window is empty but where nobody calls.
    let calls = |store: &Store, failing: bool| {
        let (store, fails) = (store.clone(), store.declare(FAIL).unwrap());
        // Every tenth call fails, so that a part of them is as bad as all.
        tokio::spawn(async move {
            for number in 0_u64.. {
                let _ = store.fetch(&fails, &[&i64::from(failing && number % 10 == 0)]).await;
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
    };
    // Of the transactions that others make none fails.
    let is_over = Arc::new(AtomicBool::new(false));
    let others = std::thread::spawn({
        let (is_over, url) = (is_over.clone(), url.clone());
        move || {
            while !is_over.load(Ordering::Relaxed) {
                // By a connection each: a session says what it has done when it ends, and not before a second has gone.
                execute_at(&url, "SELECT FROM pg_am");
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    });
    let mut began: Option<Value> = None;
    // While `unseen` lasts nobody ends the one or lets the other begin anew; and the sources are seen to go.
    let mut stays = |running: &mut Running, state: &str, samples: usize| {
        let (mut seen, since) = (0, Instant::now());
        while seen < samples {
            let sample = running.next();
            let (errors, pends) = (alert(&sample, "errors"), alert(&sample, "pends"));
            assert_eq!((&errors["state"], &pends["state"]), (&"firing".into(), &"pending".into()), "{sample:#}");
            let active = began.get_or_insert_with(|| pends["active_since"].clone());
            assert_eq!(*active, pends["active_since"], "{sample:#}");
            let is_so =
                sample["sources"].as_array().unwrap().iter().any(|source| source["name"] == "instances" && source["state"] == state);
            seen += usize::from(is_so);
            if state == "absent" && is_so {
                assert!(errors["held_until"].is_string() && errors["source"] == "instances", "{errors:#}");
            }
            assert!(since.elapsed() < Duration::from_secs(120), "instances never {state}: {sample:#}");
        }
    };

    let store = Store::open(config.clone()).await.unwrap();
    let calling = calls(&store, true);
    running.until(
        "failures",
        || (),
        |sample| {
            let errors = alert(sample, "errors");
            errors["state"] == "firing" && errors["source"] == "instances"
        },
    );
    redis.kill();
    stays(&mut running, "failed", 5);
    // The application says nothing yet to the new one: it is gone with it.
    calling.abort();
    let _ = calling.await;
    drop(store);
    redis.restart();
    stays(&mut running, "absent", 15);
    let store = Store::open(config).await.unwrap();
    let calling = calls(&store, true);
    stays(&mut running, "there", 8);
    calling.abort();
    let calling = calls(&store, false);
    let ended = running.until("good calls", || (), |sample| alert(sample, "errors")["state"] == "resolved");
    assert_eq!(alert(&ended, "errors")["source"], "instances", "{ended:#}");
    running.stop();
    calling.abort();
    is_over.store(true, Ordering::Relaxed);
    others.join().unwrap();
}
