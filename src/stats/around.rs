//! What stands around the server: PgBouncer and the instances of the data layer. Asked at once, and before the server is: whoever hangs is waited for
//! once, for some seconds, and without a transaction that PostgreSQL would have to keep open meanwhile.

use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::model::sentence;
use crate::postgres::{Address, Console, ConsoleRow};
use crate::stats::pools::PoolToCome;
use crate::stats::{PoolUse, Unavailable, console_remedy, redis_remedy};
use crate::store::{Fleet, FleetPlace, Instance};

/// Longer than a connection may take, so that it is said what hangs.
const LIMIT: Duration = Duration::from_secs(6);

/// What one look found; none where nothing is named.
#[derive(Debug, Default)]
pub struct Around {
    pub pooler: Option<Result<PoolerState, Unavailable>>,
    pub instances: Option<Result<Vec<Instance>, Unavailable>>,
    /// The start of the instances' keys in Redis.
    pub namespace: String,
}

impl Around {
    pub async fn look(pooler: Option<&Address>, fleet: Option<&FleetPlace>) -> Self {
        let (pooler, instances) = tokio::join!(of_pooler(pooler), of_instances(fleet));
        Around { pooler, instances, namespace: fleet.map(|place| place.namespace.clone()).unwrap_or_default() }
    }
}

async fn of_pooler(pooler: Option<&Address>) -> Option<Result<PoolerState, Unavailable>> {
    let pooler = pooler?;
    let refused = |error: anyhow::Error| Unavailable::new(sentence(&error), console_remedy(pooler, &error));
    Some(PoolerState::read(pooler).await.map_err(refused))
}

async fn of_instances(fleet: Option<&FleetPlace>) -> Option<Result<Vec<Instance>, Unavailable>> {
    let place = fleet?;
    let read = async { Fleet::connect(place).await?.instances().await };
    let read = match tokio::time::timeout(LIMIT, read).await {
        Ok(read) => read,
        Err(_) => Err(anyhow::anyhow!("Redis: no answer within {} s", LIMIT.as_secs())),
    };
    Some(read.map_err(|error| Unavailable::new(sentence(&error), redis_remedy(&place.origin))))
}

/// PgBouncer, by its console.
#[derive(Clone, Debug, Default)]
pub struct PoolerState {
    pub version: Option<(u32, u32)>,
    pub pools: Vec<PoolUse>,
    pub databases: Vec<ConsoleRow>,
    pub config: Vec<ConsoleRow>,
    pub servers: Vec<ConsoleRow>,
}

impl PoolerState {
    pub async fn read(pooler: &Address) -> Result<Self> {
        let read = async {
            let console = Console::connect(pooler).await?;
            let version = console.version().await?;
            let (pools, databases, config) =
                (console.show("POOLS").await?, console.show("DATABASES").await?, console.show("CONFIG").await?);
            let servers = console.show("SERVERS").await?;
            Ok(PoolerState { version, pools: PoolUse::of(&pools, &databases, &config), databases, config, servers })
        };
        tokio::time::timeout(LIMIT, read).await.with_context(|| format!("PgBouncer: no answer within {} s", LIMIT.as_secs()))?
    }

    /// What its databases without a pool have in store for their first client. Where it names no database, all are of its entry `*`, of which its console
    /// says nothing but the defaults.
    pub fn to_come(&self) -> Vec<PoolToCome> {
        let text = |row: &ConsoleRow, name: &str| row.get(name).filter(|text| !text.is_empty()).cloned();
        let mode = |own: Option<String>| own.or_else(|| self.setting("pool_mode").map(str::to_string));
        let size = |own: Option<String>| own.as_deref().or(self.setting("default_pool_size")).and_then(|size| size.parse().ok());
        let named = |row: &&ConsoleRow| row.get("name").is_some_and(|name| name != "pgbouncer");
        if !self.databases.iter().any(|row| named(&row)) {
            return vec![PoolToCome { database: None, mode: mode(None), most: size(None) }];
        }
        let has_none = |row: &&ConsoleRow| !self.pools.iter().any(|pool| Some(&pool.database) == row.get("name"));
        let to_come = |row: &ConsoleRow| {
            // What limits a database limits its first pool.
            let limit = text(row, "max_connections").and_then(|limit| limit.parse::<i64>().ok()).filter(|limit| *limit > 0);
            let most = size(text(row, "pool_size")).map(|size: i64| limit.map_or(size, |limit| size.min(limit)));
            PoolToCome { database: text(row, "name"), mode: mode(text(row, "pool_mode")), most }
        };
        self.databases.iter().filter(named).filter(has_none).map(to_come).collect()
    }

    /// A setting of its configuration.
    pub fn setting(&self, key: &str) -> Option<&str> {
        let row = self.config.iter().find(|row| row.get("key").is_some_and(|there| there == key))?;
        row.get("value").map(String::as_str)
    }
}
