//! PgBouncer, by its console.

use anyhow::Result;

use crate::model::sentence;
use crate::monitor::metric::Source;
use crate::monitor::sample::{Part, PoolFact, Presence, SHORT_LIMIT};
use crate::postgres::{Address, Console, ConsoleRow};
use crate::stats::{PoolUse, with_stack};

pub(super) struct Pgbouncer {
    address: Option<Address>,
    /// PgBouncer's name of the database that is watched: others' traffic is not its own.
    database: String,
    console: Option<Console>,
}

impl Pgbouncer {
    pub fn new(address: Option<Address>, target: &Address) -> Self {
        let named = address.as_ref().and_then(|address| address.config.get_dbname()).filter(|name| *name != "pgbouncer");
        let database = named.or(target.config.get_dbname()).unwrap_or_default().to_string();
        Pgbouncer { address, database, console: None }
    }

    pub async fn sample(&mut self) -> Part {
        let Some(address) = &self.address else {
            return Part::of(Source::Pgbouncer, Presence::Absent("no pooler is named".to_string()));
        };
        if self.console.as_ref().is_some_and(Console::is_closed) {
            self.console = None;
        }
        let read = async {
            if self.console.is_none() {
                self.console = Some(Console::connect(address).await?);
            }
            match &self.console {
                Some(console) => part(console, &self.database).await,
                None => Ok(Part::default()),
            }
        };
        let read = match tokio::time::timeout(SHORT_LIMIT, read).await {
            Ok(read) => read,
            Err(_) => Err(anyhow::anyhow!("PgBouncer did not answer within {} s", SHORT_LIMIT.as_secs())),
        };
        read.unwrap_or_else(|error| {
            self.console = None;
            Part::of(Source::Pgbouncer, Presence::Failed(with_stack(&address.origin, sentence(&error))))
        })
    }
}

async fn part(console: &Console, watched: &str) -> Result<Part> {
    let mut part = Part::of(Source::Pgbouncer, Presence::There);
    for pool in PoolUse::read(console).await? {
        let labels = [("database", pool.database.as_str()), ("user", pool.user.as_str())];
        let waiting = pool.clients_waiting.unwrap_or(0) as f64;
        if pool.database == watched {
            part.add("candlefish_pgbouncer_servers_in_use", &labels, pool.in_use as f64);
            part.add("candlefish_pgbouncer_servers_max", &labels, pool.most.filter(|most| *most > 0).map(|most| most as f64));
            part.add("candlefish_pgbouncer_clients_waiting", &labels, waiting);
        }
        part.facts.pools.push(PoolFact {
            name: format!("pgbouncer {}/{}", pool.database, pool.user),
            in_use: pool.in_use as f64,
            most: pool.most.map(|most| most as f64),
            waiting,
        });
    }
    for row in console.show("STATS").await? {
        let number = |row: &ConsoleRow, name: &str| row.get(name).and_then(|value| value.parse::<f64>().ok());
        let Some(database) = row.get("database").filter(|database| *database == watched) else { continue };
        let labels = [("database", database.as_str())];
        part.add("candlefish_pgbouncer_queries_total", &labels, number(&row, "total_query_count"));
        part.add("candlefish_pgbouncer_query_seconds_total", &labels, number(&row, "total_query_time").map(|micros| micros / 1e6));
        part.add("candlefish_pgbouncer_wait_seconds_total", &labels, number(&row, "total_wait_time").map(|micros| micros / 1e6));
    }
    Ok(part)
}
