//! The pools in front of the server: PgBouncer's own numbers, and how many of its server connections PostgreSQL knows.

use std::collections::{HashMap, HashSet};

use anyhow::{Context as _, Result};
use futures_util::FutureExt as _;

use crate::model::Cell;
use crate::postgres::{Address, Console, ConsoleRow};
use crate::stats::{Growth, Look, Reading, Stat, Unavailable};

pub const STAT: Stat = Stat {
    name: "pools",
    about: "PgBouncer's pools: clients waiting, servers in use, and the sessions that PostgreSQL sees of them",
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
    let Some(pooler) = &look.options.pooler else {
        let note = "no pooler is named: --pooler postgresql://user@host:6432/ or POOLER_URL".to_string();
        return Ok(Reading { notes: vec![note], ..Reading::default() });
    };
    match pools(look, pooler).await {
        Ok(reading) => Ok(reading),
        Err(error) if look.observer.is_closed() => Err(error),
        Err(error) => Err(refused(pooler, &error).into()),
    }
}

fn refused(pooler: &Address, error: &anyhow::Error) -> Unavailable {
    Unavailable::new(
        format!("the console of PgBouncer at {} does not answer: {:#}", pooler.server(), error),
        format!("Is it PgBouncer, and is {:?} in its stats_users or admin_users?", pooler.user()),
    )
}

async fn pools(look: &Look<'_>, pooler: &Address) -> Result<Reading> {
    let console = Console::connect(pooler).await?;
    let (pools, databases, config) = (console.show("POOLS").await?, console.show("DATABASES").await?, console.show("CONFIG").await?);
    let default_size = config.iter().find(|row| text(row, "key") == Some("default_pool_size")).and_then(|row| number(row, "value"));
    let most: HashMap<&str, Option<i64>> =
        databases.iter().filter_map(|row| Some((text(row, "name")?, number(row, "pool_size").or(default_size)))).collect();
    let sessions = sessions_seen(look, &console).await?;
    let mut reading = Reading::default();
    for pool in pools.iter().filter(|pool| text(pool, "database") != Some("pgbouncer")) {
        let (Some(database), Some(user)) = (text(pool, "database"), text(pool, "user")) else { continue };
        // sv_used: idle for longer than the check delay, so still free for anyone.
        let in_use = sum(pool, &["sv_active", "sv_active_cancel", "sv_being_canceled", "sv_tested", "sv_login"]);
        let idle = sum(pool, &["sv_idle", "sv_used"]);
        let most = most.get(database).copied().flatten().or(default_size);
        let waited = number(pool, "maxwait").unwrap_or(0) as f64 + number(pool, "maxwait_us").unwrap_or(0) as f64 / 1e6;
        let known = sessions.get(&(database.to_string(), user.to_string()));
        reading.rows.push(vec![
            database.into(),
            user.into(),
            text(pool, "pool_mode").map(str::to_string).into(),
            number(pool, "cl_active").into(),
            number(pool, "cl_waiting").into(),
            Cell::Real(waited),
            Cell::Int(in_use),
            Cell::Int(idle),
            Cell::Int(in_use + idle),
            most.into(),
            most.filter(|most| *most > 0).map(|most| in_use as f64 / most as f64).into(),
            known.map(|(seen, _)| *seen).into(),
        ]);
        if let Some((seen, claimed)) = known
            && seen < claimed
        {
            reading.notes.push(format!(
                "pool {database}/{user}: PostgreSQL at the target sees {seen} of PgBouncer's {claimed} server connections: is it another server?"
            ));
        }
    }
    Ok(reading)
}

/// Per pool: how many of its server connections are sessions of this PostgreSQL, and how many there are.
async fn sessions_seen(look: &Look<'_>, console: &Console) -> Result<HashMap<(String, String), (i64, i64)>> {
    let servers = console.show("SERVERS").await?;
    let answer = look.ask(include_str!("queries/session_pids.sql"), &[]).await.context("list the server's sessions")?;
    let pids: HashSet<i64> = answer.rows.iter().filter_map(|row| row[0].number()).map(|pid| pid as i64).collect();
    let mut seen = HashMap::new();
    for server in &servers {
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
