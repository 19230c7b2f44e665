//! One look at every source that there may be. A source that cannot be read is no error of the loop: it is said, and the others go on.

mod clients;
mod database;
mod instances;
mod pgbouncer;
mod statements;

use std::time::Duration;

use serde::Serialize;

pub use database::Carried;

use crate::monitor::metric::Source;
use crate::monitor::series::{Key, Point};
use crate::postgres::Address;
use crate::store::FleetPlace;

/// PostgreSQL may hold up a sample for so long: each of its statements may take 5 s.
const LIMIT: Duration = Duration::from_secs(10);

/// What stands around it answers at once, or hangs.
const SHORT_LIMIT: Duration = Duration::from_secs(3);

/// Looks at the same servers again and again, past every cache and outside every pool.
pub struct Sampler {
    instances: instances::Instances,
    pgbouncer: pgbouncer::Pgbouncer,
    database: database::Database,
    /// Not asked again, and why: who did not answer somebody that waits for an answer.
    given_up: Vec<(Source, Presence)>,
}

/// What one look brought.
#[derive(Clone, Debug, Default)]
pub struct Sample {
    /// Milliseconds since 1970.
    pub at: i64,
    pub points: Vec<Point>,
    /// Series that began after the sample before, whose counters were at 0 then.
    pub began: Vec<Key>,
    /// Series that have not ended, though they are not in this sample: only scripts have them.
    pub not_asked: Vec<Key>,
    pub presence: Vec<(Source, Presence)>,
    pub facts: Facts,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Presence {
    There,
    /// Not there, and why.
    Absent(String),
    /// It should be there, and could not be read.
    Failed(String),
}

/// What is shown beside the metrics.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Facts {
    pub server_version: Option<String>,
    pub connections: Option<Connections>,
    pub pools: Vec<PoolFact>,
    pub instances: Vec<InstanceFact>,
    /// The statements that took the most time since the sample before.
    pub slow_queries: Vec<SlowQuery>,
    /// How many more there were.
    pub slow_queries_left_out: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Connections {
    pub used: Option<f64>,
    pub most: Option<f64>,
    /// None where this user may not see others' sessions.
    pub active: Option<f64>,
    pub idle_in_transaction: Option<f64>,
    pub waiting_for_locks: Option<f64>,
    pub longest_transaction_seconds: Option<f64>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PoolFact {
    pub name: String,
    pub in_use: f64,
    pub most: Option<f64>,
    pub waiting: f64,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct InstanceFact {
    pub instance: String,
    pub process: u32,
    pub uptime_seconds: u64,
    pub rss_bytes: Option<u64>,
    pub hears_redis: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SlowQuery {
    pub query_id: Option<String>,
    pub user: Option<String>,
    pub calls_per_s: Option<f64>,
    pub mean_ms: Option<f64>,
    /// Milliseconds of work in a second.
    pub total_ms_per_s: Option<f64>,
    /// Without its literals.
    pub query: Option<String>,
}

/// What one source adds.
#[derive(Default)]
struct Part {
    points: Vec<Point>,
    began: Vec<Key>,
    presence: Vec<(Source, Presence)>,
    facts: Facts,
}

impl Part {
    fn add(&mut self, family: &str, labels: &[(&str, &str)], value: impl Into<Option<f64>>) {
        if let Some(value) = value.into() {
            self.points.push(Point { key: Key::new(family, labels), value });
        }
    }

    fn of(source: Source, presence: Presence) -> Self {
        Part { presence: vec![(source, presence)], ..Part::default() }
    }
}

impl Sampler {
    pub fn new(target: Address, pooler: Option<Address>, fleet: Option<FleetPlace>) -> Self {
        Sampler {
            instances: instances::Instances::new(fleet),
            pgbouncer: pgbouncer::Pgbouncer::new(pooler, &target),
            database: database::Database::new(target),
            given_up: Vec::new(),
        }
    }

    /// Who could not be read in this sample is not asked again: a run that somebody waits for waits for it once.
    pub fn give_up_on_who_failed(&mut self, sample: &Sample) {
        self.given_up = sample.presence.iter().filter(|(_, presence)| matches!(presence, Presence::Failed(_))).cloned().collect();
    }

    /// What is said of the first of these, and of the others, who come by the same connection, instead of asking.
    fn given_up(&self, sources: &[Source]) -> Option<Part> {
        let said = |source: &Source| self.given_up.iter().find(|(there, _)| there == source).cloned();
        said(&sources[0])?;
        Some(Part { presence: sources.iter().filter_map(said).collect(), ..Part::default() })
    }

    /// `seconds` since the sample before, when there was one.
    pub async fn sample(&mut self, at: i64, seconds: Option<f64>) -> Sample {
        let given_up =
            [&[Source::Instances][..], &[Source::Pgbouncer], &[Source::Database, Source::Statements]].map(|sources| self.given_up(sources));
        let [no_instances, no_pgbouncer, no_database] = given_up;
        let (instances, pgbouncer, database) = tokio::join!(
            unless(no_instances, self.instances.sample(seconds)),
            unless(no_pgbouncer, self.pgbouncer.sample()),
            unless(no_database, self.database.sample(seconds)),
        );
        let mut sample = Sample { at, ..Sample::default() };
        sample.facts.server_version = database.facts.server_version.clone();
        sample.facts.connections = database.facts.connections.clone();
        sample.facts.slow_queries = database.facts.slow_queries.clone();
        sample.facts.slow_queries_left_out = database.facts.slow_queries_left_out;
        sample.facts.instances = instances.facts.instances.clone();
        for part in [instances, pgbouncer, database] {
            sample.points.extend(part.points);
            sample.began.extend(part.began);
            sample.presence.extend(part.presence);
            sample.facts.pools.extend(part.facts.pools);
        }
        sample
    }

    pub fn carried(&self) -> Carried {
        self.database.carried()
    }

    pub fn carry(&mut self, carried: Carried) {
        self.database.carry(carried);
    }
}

/// `part` where there is one; else what is asked.
async fn unless(part: Option<Part>, asked: impl Future<Output = Part>) -> Part {
    match part {
        Some(part) => part,
        None => asked.await,
    }
}
