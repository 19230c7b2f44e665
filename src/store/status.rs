//! What the store says of itself: counts for people and for Prometheus, what each instance leaves in Redis for the fleet's view, and where one
//! query would be answered.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Weak;
use std::time::Duration;

use serde::Serialize;
use tokio_postgres::types::ToSql;

use crate::model::LATENCY_BOUNDS;
use crate::store::entry::{Packed, wall_ms};
use crate::store::fetch::{Memory, key_of};
use crate::store::metrics::{Latency, LayerStatus};
use crate::store::redis_link::Token;
use crate::store::validity::now_ms;
use crate::store::{Call, CallStatus, Declared, Inner, PoolStatus, QueryStatus, Store, StoreError};

/// One instance, since its store was opened.
#[derive(Clone, Debug, Default, Serialize)]
pub struct StoreStatus {
    pub instance: String,
    pub process: u32,
    pub uptime_seconds: u64,
    /// Redis answers, and its invalidations are heard.
    pub redis: bool,
    pub breaker_opened: u64,
    pub l1_entries: usize,
    /// As the weigher counts them: with keys, places and allocation.
    pub l1_bytes: u64,
    pub l1_bytes_max: u64,
    /// Resident memory of the process; None where the system does not say.
    pub rss_bytes: Option<u64>,
    pub pool: PoolStatus,
    pub calls: CallStatus,
    /// Writes and transactions whose news Redis could not be told at once: the outbox has them.
    pub pending_writes: u64,
    pub queries: Vec<QueryStatus>,
}

/// How one call would be answered now.
#[derive(Clone, Debug, Serialize)]
pub struct Explanation {
    pub query: &'static str,
    /// 128 bits in hex.
    pub key: String,
    pub tags: Vec<TagState>,
    pub ttl_ms: u64,
    pub grace_ms: u64,
    pub in_l1: bool,
    pub in_l2: bool,
    /// Why Redis would not answer it; empty when it would.
    pub in_l2_why: String,
    /// `l1`, `l2`, `database`
    pub served_by: &'static str,
    pub why: String,
}

#[derive(Clone, Debug, Serialize)]
pub struct TagState {
    pub tag: String,
    /// `current`, `pending` (somebody is writing), `absent`, or `unknown` without Redis.
    pub state: &'static str,
}

impl StoreStatus {
    /// Lookups in memory, of all queries together; without times.
    pub fn l1(&self) -> LayerStatus {
        self.queries.iter().fold(LayerStatus::default(), |sum, query| sum.plus(&query.l1))
    }

    /// Lookups in Redis, of all queries together; without times.
    pub fn l2(&self) -> LayerStatus {
        self.queries.iter().fold(LayerStatus::default(), |sum, query| sum.plus(&query.l2))
    }
}

impl Store {
    /// What was counted since the store was opened. Of a span of time: two of these, and [`LayerStatus::since`].
    pub fn status(&self) -> StoreStatus {
        self.0.status()
    }

    /// What every live instance of this namespace left in Redis: a [`StoreStatus`] each, as JSON.
    pub async fn fleet(&self) -> Result<Vec<String>, StoreError> {
        match &self.0.link {
            Some(link) => link.statuses().await.map_err(|_| StoreError::ConnectionLost("Redis does not answer".to_string())),
            None => Ok(Vec::new()),
        }
    }

    /// Says which key and tags this call has, and which layer would answer it. Nothing is loaded, and nothing is counted.
    pub async fn explain(&self, query: &Declared, params: &[&(dyn ToSql + Sync)], call: &Call<'_>) -> Result<Explanation, StoreError> {
        let declared = self.0.own(query)?;
        let key = key_of(declared, params, call.scope)?;
        let tags = declared.tags(&declared.params(params)?);
        let in_l1 = match self.0.look_in_memory(declared, key, now_ms()) {
            Memory::Hit(_) => Ok(()),
            Memory::Miss(cause, _) => Err(cause),
        };
        let (mut states, mut in_l2) = (vec!["unknown"; tags.len()], Err("there is no Redis".to_string()));
        if let Some(link) = &self.0.link {
            in_l2 = match link.look(key, &tags, false).await {
                Err(_) => Err("Redis does not answer".to_string()),
                Ok(look) => {
                    let state = |token: &Token| match token {
                        Token::Absent => "absent",
                        Token::Pending => "pending",
                        Token::Is(_) => "current",
                    };
                    states = look.tokens.iter().map(state).collect();
                    match look.value.map(|value| Packed::unpack(key, value, self.0.config.max_answer_bytes)) {
                        None => Err("it is not there".to_string()),
                        Some(None) => Err("it is damaged".to_string()),
                        Some(Some(packed)) if packed.epoch != link.epoch() => Err("it is of another epoch".to_string()),
                        Some(Some(packed)) if look.tokens != packed.tokens.iter().map(|token| Token::Is(*token)).collect::<Vec<_>>() => {
                            Err("a tag has changed since".to_string())
                        }
                        Some(Some(packed)) if packed.fresh_until <= wall_ms() => Err("its time is over".to_string()),
                        Some(Some(_)) => Ok(()),
                    }
                }
            };
        }
        let kept = declared.query.kind == crate::model::QueryKind::Cached && !call.fresh;
        let (served_by, why) = match (&in_l1, &in_l2) {
            _ if !kept => ("database", "its answers are not kept".to_string()),
            (Ok(()), _) => ("l1", "memory has it, and no tag has changed".to_string()),
            (Err(cause), Ok(())) => ("l2", format!("memory: {cause:?}")),
            (Err(cause), Err(why)) => ("database", format!("memory: {cause:?}; Redis: {why}")),
        };
        let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        Ok(Explanation {
            query: declared.query.name,
            key: format!("{key:032x}"),
            tags: tags.iter().zip(states).map(|(tag, state)| TagState { tag: tag.text.to_string(), state }).collect(),
            ttl_ms: millis(call.ttl.unwrap_or(declared.query.ttl)),
            grace_ms: millis(declared.query.grace),
            in_l1: in_l1.is_ok(),
            in_l2: in_l2.is_ok(),
            in_l2_why: in_l2.err().unwrap_or_default(),
            served_by,
            why,
        })
    }
}

impl Inner {
    fn status(&self) -> StoreStatus {
        let mut queries: Vec<QueryStatus> = Vec::new();
        for declared in self.declared.lock().unwrap_or_else(std::sync::PoisonError::into_inner).iter() {
            let mut query = declared.metrics.status(declared.query.name);
            // A memory that is turned off misses nothing.
            if !self.l1.is_on() {
                query.l1 = LayerStatus::default();
            }
            queries.push(query);
        }
        StoreStatus {
            instance: self.link.as_ref().map_or("-".to_string(), |link| link.instance.clone()),
            process: std::process::id(),
            uptime_seconds: self.opened.elapsed().as_secs(),
            redis: self.link.as_ref().is_some_and(|link| link.is_up()) && self.validity.hears(),
            breaker_opened: self.link.as_ref().map_or(0, |link| link.opened.load(std::sync::atomic::Ordering::Relaxed)),
            l1_entries: self.l1.len(),
            l1_bytes: self.l1.bytes(),
            l1_bytes_max: self.config.l1_bytes,
            rss_bytes: resident_bytes(),
            pool: self.pool.status(),
            calls: self.calls.status(),
            pending_writes: self.pending_writes.load(std::sync::atomic::Ordering::Relaxed),
            queries,
        }
    }
}

/// This process's resident memory, in bytes; unknown where there is no `/proc`.
pub fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kilobytes| kilobytes * 1024)
}

/// Until another attempt, where Redis did not take it.
const SOON: Duration = Duration::from_millis(500);

/// Leaves the status in Redis again and again; it lives for five times as long as the next one takes: whoever watches takes its absence for the
/// instance's end, and a machine may be busy for a while, or Redis slow.
pub(super) async fn publish(inner: Weak<Inner>, every: Duration) {
    // Not at once: the store is being made.
    let mut wait = every.min(Duration::from_secs(1));
    loop {
        tokio::time::sleep(wait).await;
        let Some(inner) = inner.upgrade() else { return };
        wait = every;
        if let Some(link) = &inner.link
            && let Ok(text) = serde_json::to_string(&inner.status())
            && link.publish_status(&text, every * 5).await.is_err()
        {
            wait = every.min(SOON);
        }
    }
}

/// The status in Prometheus's text format.
pub fn prometheus(status: &StoreStatus) -> String {
    let mut text = String::new();
    let mut family = |name: &str, kind: &str, help: &str, samples: Vec<(String, f64)>| {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "# HELP candlefish_{name} {help}\n# TYPE candlefish_{name} {kind}");
        for (labels, value) in samples {
            let _ = writeln!(text, "candlefish_{name}{labels} {value}");
        }
    };
    let one = |value: f64| vec![(String::new(), value)];
    let pool = &status.pool;
    family("store_redis_up", "gauge", "1 while Redis answers and is heard.", one(f64::from(u8::from(status.redis))));
    family("store_l1_bytes", "gauge", "Bytes of the memory cache.", one(status.l1_bytes as f64));
    family("store_l1_entries", "gauge", "Entries of the memory cache.", one(status.l1_entries as f64));
    family("store_pool_max", "gauge", "The most connections.", one(pool.max as f64));
    family("store_pool_in_use", "gauge", "Connections in use.", one(pool.in_use as f64));
    family("store_pool_waiting", "gauge", "Callers that wait for a connection.", one(pool.waiting as f64));
    family("store_pool_refused_total", "counter", "Callers refused because too many waited.", one(pool.refused as f64));
    let queries: BTreeMap<&str, &QueryStatus> = status.queries.iter().map(|query| (query.query, query)).collect();
    let of_layers = |value: &dyn Fn(&LayerStatus) -> u64| {
        let samples = queries.iter().flat_map(|(name, query)| {
            [("l1", &query.l1), ("l2", &query.l2)]
                .map(|(layer, of)| (format!("{{query=\"{}\",layer=\"{layer}\"}}", label(name)), value(of) as f64))
        });
        samples.collect::<Vec<_>>()
    };
    family("store_lookups_total", "counter", "Lookups in a layer.", of_layers(&|layer| layer.lookups));
    family("store_hits_total", "counter", "Hits of a layer.", of_layers(&|layer| layer.hits));
    let misses = queries.iter().flat_map(|(name, query)| {
        [("l1", &query.l1), ("l2", &query.l2)].into_iter().flat_map(move |(layer, of)| {
            let causes = serde_json::to_value(of.misses_by_cause).ok().and_then(|causes| causes.as_object().cloned()).unwrap_or_default();
            causes.into_iter().map(move |(cause, count)| {
                (format!("{{query=\"{}\",layer=\"{layer}\",cause=\"{cause}\"}}", label(name)), count.as_u64().unwrap_or(0) as f64)
            })
        })
    });
    family("store_misses_total", "counter", "Misses of a layer, by cause.", misses.collect());
    let of_queries = |value: &dyn Fn(&QueryStatus) -> u64| {
        queries.iter().map(|(name, query)| (format!("{{query=\"{}\"}}", label(name)), value(query) as f64)).collect::<Vec<_>>()
    };
    family("store_database_total", "counter", "Statements that ran in the database.", of_queries(&|query| query.database.count));
    family("store_coalesced_total", "counter", "Answers of somebody else's load.", of_queries(&|query| query.coalesced));
    family("store_stale_total", "counter", "Stale answers.", of_queries(&|query| query.stale));
    family("store_errors_total", "counter", "Loads and writes that failed for good.", of_queries(&|query| query.errors));
    family(
        "store_call_failures_total",
        "counter",
        "Calls that failed, whoever else waited for the same.",
        one(status.calls.failures as f64),
    );
    let calls = &status.calls.latency;
    let bounds =
        LATENCY_BOUNDS.iter().map(ToString::to_string).zip(calls.at_most.iter().copied()).chain([("+Inf".to_string(), calls.count)]);
    let mut buckets: Vec<(String, f64)> = bounds.map(|(bound, count)| (format!("_bucket{{le=\"{bound}\"}}"), count as f64)).collect();
    buckets.extend([("_sum".to_string(), calls.seconds), ("_count".to_string(), calls.count as f64)]);
    family("store_call_seconds", "histogram", "From a call to its answer; hits in memory by a sample.", buckets);
    let latencies = queries.iter().flat_map(|(name, query)| {
        let quantiles = |layer: &'static str, of: &Latency| {
            [("0.5", of.p50_ms), ("0.95", of.p95_ms), ("0.99", of.p99_ms)].map(|(quantile, ms)| {
                ms.map(|ms| (format!("{{query=\"{}\",layer=\"{layer}\",quantile=\"{quantile}\"}}", label(name)), ms / 1000.0))
            })
        };
        [quantiles("l1", &query.l1.latency), quantiles("l2", &query.l2.latency), quantiles("database", &query.database)]
            .into_iter()
            .flatten()
            .flatten()
            .collect::<Vec<_>>()
    });
    family("store_latency_seconds", "gauge", "Time of answers by layer; of L1, a sample.", latencies.collect());
    text
}

/// A label's value, escaped.
fn label(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
