//! The pools in front of the server: PgBouncer's own numbers and those of instances of the data layer, and how many of its server connections PostgreSQL knows.

use std::collections::{HashMap, HashSet};

use anyhow::{Context as _, Result};
use futures_util::FutureExt as _;

use crate::model::Cell;
use crate::postgres::{Console, ConsoleRow};
use crate::stats::around::limit_of_user;
use crate::stats::cache::NO_REDIS;
use crate::stats::{Around, Growth, Look, PoolerState, Reading, Stat, Unavailable};
use crate::store::Instance;

pub const STAT: Stat = Stat {
    name: "pools",
    about: "PgBouncer's pools and those of the data layer: who waits, what is in use, and the sessions that PostgreSQL sees of them",
    columns: &[
        "pool",
        "user",
        "mode",
        "clients_active",
        "clients_waiting",
        "longest_wait_seconds",
        "servers_in_use",
        "servers_idle",
        "servers",
        "most",
        "used_ratio",
        "sessions_seen",
    ],
    growth: Growth::NONE,
    read: |look| read(look).boxed(),
};

async fn read(look: &Look<'_>) -> Result<Reading> {
    let sessions = match &look.around.pooler {
        Some(Ok(state)) => sessions_seen(look, &state.servers).await?,
        _ => Sessions::new(),
    };
    of(look.around, &sessions)
}

/// What PgBouncer and instances say; of pools that `sessions` does not have, nobody knows how many sessions the server sees.
pub(super) fn of(around: &Around, sessions: &Sessions) -> Result<Reading> {
    let mut reading = match &around.pooler {
        None => {
            let note = "no pooler is named: --pooler postgresql://user@host:6432/ or POOLER_URL".to_string();
            Reading { notes: vec![note], ..Reading::default() }
        }
        Some(state) => pools(state.as_ref().map_err(Unavailable::clone)?, sessions),
    };
    match &around.instances {
        None => reading.notes.push(NO_REDIS.to_string()),
        Some(Ok(instances)) => reading.rows.extend(instances.iter().map(own_pool)),
        // PgBouncer's numbers are as good without those of instances.
        Some(Err(unavailable)) => reading.notes.push(format!("pools of instances are not seen: {}", unavailable.reason)),
    }
    Ok(reading)
}

/// The pool of one instance of the data layer, as it described it.
fn own_pool(instance: &Instance) -> Vec<Cell> {
    let pool = &instance.pool;
    let int = |count: usize| Cell::Int(i64::try_from(count).unwrap_or(i64::MAX));
    vec![
        Cell::Text(format!("candlefish {}", instance.instance)),
        Cell::Null,
        Cell::Null,
        int(pool.in_use),
        int(pool.waiting),
        Cell::Null,
        int(pool.in_use),
        int(pool.idle),
        int(pool.open),
        int(pool.max),
        (pool.max > 0).then(|| pool.in_use as f64 / pool.max as f64).into(),
        Cell::Null,
    ]
}

fn pools(state: &PoolerState, sessions: &Sessions) -> Reading {
    let mut reading = Reading::default();
    reading.notes.extend(without_pool(&state.to_come()));
    if let Some((what, resume)) = state.paused() {
        reading.notes.push(format!("{what} is stopped on PgBouncer's console, and clients wait: {resume}"));
    }
    for pool in state.pools.iter().cloned() {
        let known = sessions.get(&(pool.database.clone(), pool.user.clone()));
        if let Some((seen, claimed)) = known
            && seen < claimed
        {
            reading.notes.push(format!(
                "pool {}/{}: PostgreSQL at the target sees {seen} of PgBouncer's {claimed} server connections: is it another server?",
                pool.database, pool.user
            ));
        }
        reading.rows.push(vec![
            Cell::Text(pool.database),
            Cell::Text(pool.user),
            pool.mode.into(),
            pool.clients_active.into(),
            pool.clients_waiting.into(),
            Cell::Real(pool.longest_wait_seconds),
            Cell::Int(pool.in_use),
            Cell::Int(pool.idle),
            Cell::Int(pool.in_use + pool.idle),
            pool.most.into(),
            pool.most.filter(|most| *most > 0).map(|most| pool.in_use as f64 / most as f64).into(),
            known.map(|(seen, _)| *seen).into(),
        ]);
    }
    reading
}

/// No client has come to them yet, so none of them has a row; how they are set up is known all the same.
fn without_pool(to_come: &[PoolToCome]) -> Option<String> {
    const NAMED: usize = 3;
    let each = to_come.iter().take(NAMED).map(|pool| {
        let name = pool.database.as_deref().unwrap_or("any database");
        let most = pool.most.map(|most| format!("up to {most} servers"));
        let words: Vec<String> = pool.mode.iter().map(|mode| format!("by {mode}")).chain(most).collect();
        if words.is_empty() { name.to_string() } else { format!("{name} ({})", words.join(", ")) }
    });
    let each: Vec<String> = each.collect();
    let more = to_come.len().saturating_sub(NAMED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    (!each.is_empty()).then(|| format!("no pool yet, for no client has come: {}{more}", each.join(", ")))
}

/// One pool of PgBouncer, by its own account.
#[derive(Clone, Debug, PartialEq)]
pub struct PoolUse {
    pub database: String,
    pub user: String,
    pub mode: Option<String>,
    pub clients_active: Option<i64>,
    pub clients_waiting: Option<i64>,
    pub longest_wait_seconds: f64,
    /// Server connections that work for somebody, or are being made or tested.
    pub in_use: i64,
    /// Those that are free for anyone.
    pub idle: i64,
    /// As many as it may have now: by its size, and by what others leave of the database's limit and the user's.
    pub most: Option<i64>,
}

impl PoolUse {
    pub fn has_clients(&self) -> bool {
        self.clients_active.unwrap_or(0) + self.clients_waiting.unwrap_or(0) > 0
    }

    /// Every pool but the console's own.
    pub async fn read(console: &Console) -> Result<Vec<Self>> {
        let (pools, databases) = (console.show("POOLS").await?, console.show("DATABASES").await?);
        Ok(PoolUse::of(&pools, &databases, &console.show("CONFIG").await?, &console.show("USERS").await?))
    }

    pub(crate) fn of(pools: &[ConsoleRow], databases: &[ConsoleRow], config: &[ConsoleRow], users: &[ConsoleRow]) -> Vec<Self> {
        let default_size = config.iter().find(|row| text(row, "key") == Some("default_pool_size")).and_then(|row| number(row, "value"));
        let database = |name: &str| databases.iter().find(|row| text(row, "name") == Some(name));
        let in_use = |pool: &ConsoleRow| sum(pool, &["sv_active", "sv_active_cancel", "sv_being_canceled", "sv_tested", "sv_login"]);
        let pools: Vec<&ConsoleRow> = pools.iter().filter(|pool| text(pool, "database") != Some("pgbouncer")).collect();
        let of = |pool: &&ConsoleRow| {
            let (name, user) = (text(pool, "database")?, text(pool, "user")?);
            let size = database(name).and_then(|row| number(row, "pool_size")).or(default_size);
            // What is free of a database's limit all of its pools share; what others work with is not to be had.
            let limit = database(name).and_then(|row| number(row, "max_connections")).filter(|limit| *limit > 0);
            let others = |column: &str, value: &str| -> i64 {
                let all: i64 = pools.iter().filter(|other| text(other, column) == Some(value)).map(|other| in_use(other)).sum();
                all - in_use(pool)
            };
            let left = limit.map(|limit| limit - others("database", name));
            // So all pools of a user share that user's limit.
            let left_of_user = limit_of_user(config, users, Some(user)).map(|limit| limit - others("user", user));
            Some(PoolUse {
                database: name.to_string(),
                user: user.to_string(),
                mode: text(pool, "pool_mode").map(str::to_string),
                clients_active: number(pool, "cl_active"),
                clients_waiting: number(pool, "cl_waiting"),
                longest_wait_seconds: number(pool, "maxwait").unwrap_or(0) as f64 + number(pool, "maxwait_us").unwrap_or(0) as f64 / 1e6,
                in_use: in_use(pool),
                // sv_used: idle for longer than the check delay, so still free for anyone.
                idle: sum(pool, &["sv_idle", "sv_used"]),
                most: [size, left, left_of_user].into_iter().flatten().min(),
            })
        };
        pools.iter().filter_map(of).collect()
    }
}

/// A pool that is not there yet: a database's first client makes it, and this is what it will be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolToCome {
    /// None for those that PgBouncer does not name, but takes from anyone.
    pub database: Option<String>,
    pub mode: Option<String>,
    pub most: Option<i64>,
}

/// Per pool: how many of its server connections are sessions of this PostgreSQL, and how many there are.
pub(super) type Sessions = HashMap<(String, String), (i64, i64)>;

async fn sessions_seen(look: &Look<'_>, servers: &[ConsoleRow]) -> Result<Sessions> {
    look.see_sessions_anew().await?;
    let answer = look.ask(include_str!("queries/session_pids.sql"), &[]).await.context("list the server's sessions")?;
    let pids: HashSet<i64> = answer.rows.iter().filter_map(|row| row[0].number()).map(|pid| pid as i64).collect();
    let mut seen = HashMap::new();
    for server in servers {
        let (Some(database), Some(user)) = (text(server, "database"), text(server, "user")) else { continue };
        let entry = seen.entry((database.to_string(), user.to_string())).or_insert((0, 0));
        entry.1 += 1;
        entry.0 += i64::from(number(server, "remote_pid").is_some_and(|pid| pids.contains(&pid)));
    }
    Ok(seen)
}

fn text<'a>(row: &'a ConsoleRow, column: &str) -> Option<&'a str> {
    row.get(column).map(String::as_str)
}

fn number(row: &ConsoleRow, column: &str) -> Option<i64> {
    row.get(column)?.parse().ok()
}

/// The sum of those columns that this version of PgBouncer has.
fn sum(row: &ConsoleRow, columns: &[&str]) -> i64 {
    columns.iter().filter_map(|column| number(row, column)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(cells: &[(&str, &str)]) -> ConsoleRow {
        cells.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
    }

    #[test]
    fn a_databases_limit_is_one_for_all_of_its_pools() {
        let pool = |database, user, active| row(&[("database", database), ("user", user), ("sv_active", active), ("sv_idle", "1")]);
        let pools = [pool("shop", "web", "3"), pool("shop", "jobs", "2"), pool("other", "web", "4"), pool("pgbouncer", "pgbouncer", "0")];
        let database = |name, size, most| row(&[("name", name), ("pool_size", size), ("max_connections", most)]);
        let databases = [database("shop", "20", "5"), database("other", "20", "0")];
        let seen: Vec<_> =
            PoolUse::of(&pools, &databases, &[], &[]).iter().map(|pool| (pool.user.clone(), pool.in_use, pool.most)).collect();
        let of = |user: &str, in_use, most| (user.to_string(), in_use, Some(most));
        // Nobody of the first two gets another one, though each pool may have twenty.
        assert_eq!(seen, [of("web", 3, 3), of("jobs", 2, 2), of("web", 4, 20)]);
        // A limit of a user is one for all pools of that user, and its own goes before what is set for all.
        let (config, users) =
            ([row(&[("key", "max_user_connections"), ("value", "1")])], [row(&[("name", "web"), ("max_user_connections", "9")])]);
        let most: Vec<_> = PoolUse::of(&pools, &databases, &config, &users).iter().map(|pool| pool.most).collect();
        assert_eq!(most, [Some(3), Some(1), Some(6)]);
    }
}
