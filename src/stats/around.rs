//! What stands around the server: PgBouncer and the instances of the data layer. Asked at once, and before the server is: whoever hangs is waited for
//! once, for some seconds, and without a transaction that PostgreSQL would have to keep open meanwhile.

use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::model::{Name, sentence};
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
    pub users: Vec<ConsoleRow>,
    /// All of it was stopped on its console; false where an older one does not say.
    pub is_paused: bool,
}

impl PoolerState {
    pub async fn read(pooler: &Address) -> Result<Self> {
        let read = async {
            let console = Console::connect(pooler).await?;
            let version = console.version().await?;
            let (pools, databases, config) =
                (console.show("POOLS").await?, console.show("DATABASES").await?, console.show("CONFIG").await?);
            // 1.18 refuses it, and writes that into its log; who has gone does not answer the next question either.
            let has_state = version > Some((1, 18));
            let is_paused = has_state && console.show("STATE").await.is_ok_and(|state| says_paused(&state));
            let (servers, users) = (console.show("SERVERS").await?, console.show("USERS").await?);
            Ok(PoolerState {
                version,
                pools: PoolUse::of(&pools, &databases, &config, &users),
                databases,
                config,
                servers,
                users,
                is_paused,
            })
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
            // A pool of that entry stays when its last client has gone, and its database is not shown any more.
            let most = size(None).map(|size: i64| self.limit_of_user(None).map_or(size, |limit| size.min(limit)));
            let first = PoolToCome { database: None, mode: mode(None), most };
            return if self.pools.is_empty() { vec![first] } else { Vec::new() };
        }
        // A database that is disabled lets no first client in.
        let has_none = |row: &&ConsoleRow| {
            let name = row.get("name").map_or("", String::as_str);
            !self.is_disabled(name) && !self.pools.iter().any(|pool| pool.database == name)
        };
        let to_come = |row: &ConsoleRow| {
            // What limits a database, or its user, limits its first pool.
            let limit = text(row, "max_connections").and_then(|limit| limit.parse::<i64>().ok()).filter(|limit| *limit > 0);
            let limit_of_user = self.limit_of_user(text(row, "force_user").as_deref());
            let most = size(text(row, "pool_size")).map(|size: i64| [limit, limit_of_user].into_iter().flatten().fold(size, i64::min));
            PoolToCome { database: text(row, "name"), mode: mode(text(row, "pool_mode")), most }
        };
        self.databases.iter().filter(named).filter(has_none).map(to_come).collect()
    }

    /// By DISABLE on its console: who is connected works on, and nobody else gets in.
    pub fn is_disabled(&self, database: &str) -> bool {
        let is = |row: &ConsoleRow, column: &str, value: &str| row.get(column).is_some_and(|there| there == value);
        self.databases.iter().any(|row| is(row, "name", database) && is(row, "disabled", "1"))
    }

    /// What was stopped on its console (PAUSE, KILL, SUSPEND), with what lets it go on: whoever comes waits until then.
    pub fn paused(&self) -> Option<(String, String)> {
        if self.is_paused {
            return Some(("all of PgBouncer".to_string(), "RESUME".to_string()));
        }
        let is_paused = |row: &&ConsoleRow| row.get("paused").is_some_and(|paused| paused == "1");
        let names: Vec<&str> = self.databases.iter().filter(is_paused).filter_map(|row| row.get("name").map(String::as_str)).collect();
        let each: Vec<String> = names.iter().map(|name| format!("RESUME {}", Name::new(*name))).collect();
        (!names.is_empty()).then(|| (names.join(", "), each.join("; ")))
    }

    /// SHOW USERS has it of those who are known by now.
    pub fn user(&self, name: &str) -> Option<&ConsoleRow> {
        self.users.iter().find(|row| row.get("name").is_some_and(|there| there == name))
    }

    /// What a user has at most in all pools; without a name, whoever comes first. None where there is no limit.
    pub fn limit_of_user(&self, name: Option<&str>) -> Option<i64> {
        limit_of_user(&self.config, &self.users, name)
    }

    /// The console of older ones says of no user what [users] gives it.
    pub fn shows_limits_of_users(&self) -> bool {
        self.users.iter().any(|row| row.contains_key("max_user_connections"))
    }

    /// A setting of its configuration.
    pub fn setting(&self, key: &str) -> Option<&str> {
        let row = self.config.iter().find(|row| row.get("key").is_some_and(|there| there == key))?;
        row.get("value").map(String::as_str)
    }
}

/// A user's own limit, else the one that is set for all.
pub(super) fn limit_of_user(config: &[ConsoleRow], users: &[ConsoleRow], name: Option<&str>) -> Option<i64> {
    let is = |row: &ConsoleRow, column: &str, value: &str| row.get(column).is_some_and(|there| there == value);
    let number = |row: &ConsoleRow, column: &str| row.get(column)?.trim().parse::<i64>().ok();
    let own = name.and_then(|name| number(users.iter().find(|row| is(row, "name", name))?, "max_user_connections"));
    let of_all = || number(config.iter().find(|row| is(row, "key", "max_user_connections"))?, "value");
    own.or_else(of_all).filter(|limit| *limit > 0)
}

fn says_paused(state: &[ConsoleRow]) -> bool {
    let says = |row: &ConsoleRow| {
        let is = |column: &str, words: &[&str]| row.get(column).is_some_and(|text| words.contains(&text.as_str()));
        is("key", &["paused", "suspended"]) && is("value", &["yes"])
    };
    state.iter().any(says)
}
