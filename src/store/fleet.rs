//! The fleet from outside: what every live instance of a namespace leaves of itself in Redis, read by who is no instance.

use std::time::Duration;

use anyhow::{Context as _, Result};
use redis::ErrorKind;
use redis::aio::MultiplexedConnection;
use serde::Deserialize;

use crate::model::Failure;
use crate::store::redis_link::{instances_key, status_key};
use crate::store::{CallStatus, Latency, LayerStatus, PoolStatus, escape_glob};

/// The code of the failure of a user whom Redis does not let in, or do what is asked.
pub const REDIS_REFUSED: &str = "redis_refused";

/// The longest that Redis may take for one answer.
const LIMIT: Duration = Duration::from_secs(2);

/// Where instances describe themselves. `Debug` does not show the URL: there is a password in it.
#[derive(Clone)]
pub struct FleetPlace {
    pub url: String,
    /// Which source named it: `--redis`, `REDIS_URL`, `the local stack`.
    pub origin: String,
    /// The start of their keys.
    pub namespace: String,
}

impl std::fmt::Debug for FleetPlace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FleetPlace").field("namespace", &self.namespace).finish_non_exhaustive()
    }
}

/// A connection that only looks.
pub struct Fleet {
    connection: MultiplexedConnection,
    namespace: String,
}

/// One live instance, as it described itself a few seconds ago: by default at most five, twenty-five where Redis has taken nothing since. What an
/// instance of another version does not say is at its default.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Instance {
    pub instance: String,
    pub process: u32,
    pub uptime_seconds: u64,
    /// It hears Redis.
    pub redis: bool,
    pub breaker_opened: u64,
    pub l1_entries: u64,
    pub l1_bytes: u64,
    pub l1_bytes_max: u64,
    pub rss_bytes: Option<u64>,
    pub pool: PoolStatus,
    /// None: an instance that does not count calls.
    pub calls: Option<CallStatus>,
    pub queries: Vec<InstanceQuery>,
}

/// What one query of an instance did since its store was opened.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct InstanceQuery {
    pub query: String,
    pub l1: LayerStatus,
    pub l2: LayerStatus,
    pub database: Latency,
    pub coalesced: u64,
    pub stale: u64,
    pub errors: u64,
}

impl Fleet {
    /// # Errors
    /// The address cannot be read, or nobody answers there within two seconds.
    pub async fn connect(place: &FleetPlace) -> Result<Self> {
        Ok(Fleet { connection: connect(&place.url).await?, namespace: place.namespace.clone() })
    }

    /// Every live instance. One that describes itself in a way that nobody understands is an error, not an absence.
    pub async fn instances(&mut self) -> Result<Vec<Instance>> {
        let mut list = redis::cmd("ZRANGE");
        list.arg(instances_key(&self.namespace)).arg(0).arg(-1);
        let names: Vec<String> = within(list.query_async(&mut self.connection)).await.context("list the instances in Redis")?;
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let keys: Vec<String> = names.iter().map(|name| status_key(&self.namespace, name)).collect();
        let mut get = redis::cmd("MGET");
        get.arg(&keys);
        // One that ended meanwhile has none.
        let texts: Vec<Option<String>> =
            within(get.query_async(&mut self.connection)).await.context("read what instances left in Redis")?;
        texts.iter().flatten().map(|text| serde_json::from_str(text).context("read what an instance says of itself")).collect()
    }
}

/// Removes every key of a namespace that nobody uses any more; how many there were.
pub async fn clear_namespace(place: &FleetPlace) -> Result<u64> {
    clear_namespaces(&place.url, &format!("{}:", place.namespace), |_| true).await
}

/// The same of every key that begins so and that is meant.
pub async fn clear_namespaces(url: &str, start: &str, is_meant: impl Fn(&[u8]) -> bool) -> Result<u64> {
    let mut connection = connect(url).await?;
    let (mut cursor, mut gone) = (0_u64, 0);
    loop {
        let mut scan = redis::cmd("SCAN");
        scan.arg(cursor).arg("MATCH").arg(format!("{}*", escape_glob(start))).arg("COUNT").arg(1000);
        let (next, mut keys): (u64, Vec<Vec<u8>>) = within(scan.query_async(&mut connection)).await.context("look through Redis")?;
        keys.retain(|key| is_meant(key));
        if !keys.is_empty() {
            let mut unlink = redis::cmd("UNLINK");
            unlink.arg(&keys);
            gone += within(unlink.query_async::<u64>(&mut connection)).await.context("remove keys from Redis")?;
        }
        cursor = next;
        if cursor == 0 {
            return Ok(gone);
        }
    }
}

async fn connect(url: &str) -> Result<MultiplexedConnection> {
    // The client's own error would show the URL.
    let client = redis::Client::open(url).map_err(|_| Failure::new("bad_url", "the address of Redis cannot be read"))?;
    within(client.get_multiplexed_async_connection()).await.context("connect to Redis")
}

async fn within<T>(answer: impl Future<Output = redis::RedisResult<T>>) -> Result<T> {
    tokio::time::timeout(LIMIT, answer).await.context("no answer within 2 s")?.map_err(told)
}

/// A Redis that lets nobody in is told from one that is away.
fn told(error: redis::RedisError) -> anyhow::Error {
    let why = match (error.kind(), error.code()) {
        (ErrorKind::AuthenticationFailed, _) | (_, Some("WRONGPASS")) => "Redis refuses the user or the password".to_string(),
        (_, Some("NOAUTH")) => "Redis wants a password, and its address has none".to_string(),
        (_, Some("NOPERM")) => format!("Redis does not let this user do it: {}", error.detail().unwrap_or_default()),
        _ => return error.into(),
    };
    Failure::new(REDIS_REFUSED, why)
        .hint("Check what stands before the @ in its address: redis://USER:PASSWORD@HOST, or redis://:PASSWORD@HOST.")
        .into()
}

/// What a Redis is, for who judges it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedisFacts {
    pub version: String,
    /// Bytes; 0: no limit.
    pub maxmemory: u64,
    pub policy: String,
}

impl RedisFacts {
    /// By INFO, which every user may ask.
    pub async fn read(url: &str) -> Result<Self> {
        let mut connection = connect(url).await?;
        let info: String = within(redis::cmd("INFO").query_async(&mut connection)).await.context("ask Redis what it is")?;
        let said =
            |name: &str| info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap_or_default().trim().to_string();
        Ok(RedisFacts {
            version: said("redis_version"),
            maxmemory: said("maxmemory").parse().unwrap_or(0),
            policy: said("maxmemory_policy"),
        })
    }
}
