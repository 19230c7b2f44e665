//! What a run came to: numbers for people and programs, and the file that `bench compare` reads.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::bench::improvement::Improvement;
use crate::bench::recorder::{Answered, Connections, Latencies, Second, Tally, UNFINISHED};
use crate::bench::server::ServerReport;
use crate::bench::store_watch::{CacheReport, PoolReport, RedisReport};
use crate::model::Failure;

/// The shape of the JSON document; raised when a field changes its meaning.
pub const SCHEMA_VERSION: u32 = 1;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct BenchReport {
    pub schema_version: u32,
    pub candlefish_version: String,
    /// RFC 3339, UTC.
    pub started_at: String,
    pub config: Config,
    /// In the order they ran; with `--repeat`, each layer once a run.
    pub layers: Vec<LayerReport>,
    /// What the strategy expected, with the numbers that were measured; where layer sqlite and one of the data layer ran.
    #[serde(default)]
    pub improvements: Vec<Improvement>,
    #[serde(default)]
    pub assertions: Vec<Assertion>,
    /// What a reader of the numbers must know.
    #[serde(default)]
    pub notes: Vec<String>,
    /// True when a signal ended the run: the results are of what had run by then.
    #[serde(default)]
    pub interrupted: bool,
    /// Why not every layer and round could be run that was asked for; null where all were.
    #[serde(default)]
    pub ended_early: Option<String>,
}

/// Everything that the numbers depend on and that was chosen or found.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Config {
    pub workload: Vec<String>,
    pub target: String,
    pub clients: usize,
    pub threads: usize,
    #[serde(default = "one")]
    pub instances: usize,
    /// Seconds of a run; null with a number of transactions.
    pub seconds: Option<f64>,
    pub transactions_per_client: Option<u64>,
    pub warmup_seconds: f64,
    /// Transactions a second in the open model; null in the closed one.
    pub rate: Option<f64>,
    pub protocol: String,
    pub seed: u64,
    pub scale: u32,
    pub repeat: u32,
    pub max_tries: u32,
    pub cores: usize,
    /// The server's version and the settings that matter; null where there is no server.
    pub server: Option<BTreeMap<String, String>>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct LayerReport {
    pub layer: String,
    /// From 1, with `--repeat`.
    pub run: u32,
    pub clients: usize,
    pub threads: usize,
    /// Of the data layer.
    #[serde(default = "one")]
    pub instances: usize,
    pub seconds: f64,
    /// Those that succeeded.
    pub transactions: u64,
    pub tps: f64,
    /// Those that failed for good; those that were due and never sent are among them.
    pub errors: u64,
    /// Of all that were due; null when nothing was.
    pub error_rate: Option<f64>,
    /// Run again after a serialization failure or a deadlock.
    pub retries: u64,
    pub errors_by_code: Vec<ErrorReport>,
    /// From due time to last byte (open model), from send to last byte (closed model), of those that succeeded. What had no answer at the end is in it
    /// with the time that it had waited.
    pub latency_ms: LatencyReport,
    pub reads: PartReport,
    pub writes: PartReport,
    pub operations: Vec<OperationReport>,
    /// With `-r`.
    pub statements: Vec<StatementReport>,
    pub open: Option<OpenReport>,
    /// Null where there is no server.
    #[serde(default)]
    pub connections: Option<ConnectionsReport>,
    /// The client's memory at its most, bytes.
    pub rss_bytes: Option<u64>,
    pub client_cpu_us_per_transaction: Option<f64>,
    /// Of the data layer: where its answers came from. Null elsewhere, as the next five.
    #[serde(default)]
    pub answered: Option<AnsweredReport>,
    #[serde(default)]
    pub l1: Option<CacheReport>,
    #[serde(default)]
    pub l2: Option<CacheReport>,
    #[serde(default)]
    pub pool: Option<PoolReport>,
    /// Null also where the layer has no Redis.
    #[serde(default)]
    pub redis: Option<RedisReport>,
    /// Writes whose news Redis could not be told at once: they stand in the outbox, and for up to 2 s what was before may have been read.
    #[serde(default)]
    pub pending_writes: Option<u64>,
    /// The server's side of exactly the measured time.
    #[serde(default)]
    pub server: Option<ServerReport>,
    pub series: Vec<SeriesPoint>,
}

fn one() -> usize {
    1
}

/// Reads by where their answers came from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct AnsweredReport {
    pub reads: u64,
    /// Shares of them; null when there was none.
    pub l1: Option<f64>,
    pub l2: Option<f64>,
    pub database: Option<f64>,
    /// By a load that another read had begun.
    pub coalesced: Option<f64>,
    /// Past its time, and marked so.
    pub stale: Option<f64>,
}

impl AnsweredReport {
    pub fn of(counts: &[u64; 5]) -> Self {
        let reads: u64 = counts.iter().sum();
        let share = |from: Answered| (reads > 0).then(|| counts[from as usize] as f64 / reads as f64);
        AnsweredReport {
            reads,
            l1: share(Answered::L1),
            l2: share(Answered::L2),
            database: share(Answered::Database),
            coalesced: share(Answered::Coalesced),
            stale: share(Answered::Stale),
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LatencyReport {
    pub min: Option<f64>,
    pub mean: Option<f64>,
    pub p50: Option<f64>,
    pub p90: Option<f64>,
    pub p95: Option<f64>,
    pub p99: Option<f64>,
    pub p999: Option<f64>,
    pub max: Option<f64>,
}

/// Reads or writes by themselves.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct PartReport {
    pub transactions: u64,
    pub errors: u64,
    pub latency_ms: LatencyReport,
}

/// One operation of the workload, or one script.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct OperationReport {
    pub operation: String,
    pub transactions: u64,
    pub errors: u64,
    pub latency_ms: LatencyReport,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StatementReport {
    pub operation: String,
    pub statement: String,
    pub executions: u64,
    pub errors: u64,
    pub latency_ms: LatencyReport,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ErrorReport {
    /// SQLSTATE.
    pub code: String,
    pub count: u64,
    /// The words of the first.
    pub message: String,
}

/// How well the open model's schedule was kept.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct OpenReport {
    pub target_tps: f64,
    /// Due, and never begun: the clients were too few or the system too slow.
    pub not_sent: u64,
    /// Due within the warm-up, and not begun when it ended: in no other number.
    #[serde(default)]
    pub dropped_with_warmup: u64,
    /// From due time to when a client was free for it.
    pub lag_ms: LatencyReport,
}

/// What became of the clients' connections.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ConnectionsReport {
    /// How often one of a client's own broke.
    pub lost: u64,
    /// Attempts at a new one that failed; in the data layer, what failed for want of one.
    pub failed_attempts: u64,
    /// Of the clients' measured time, the share in which they had none, or waited in vain for one.
    pub away_ratio: f64,
    /// Clients that had none at the end.
    pub away_at_end: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SeriesPoint {
    pub second: u64,
    pub tps: u64,
    pub p50_ms: Option<f64>,
    pub p95_ms: Option<f64>,
    pub p99_ms: Option<f64>,
    pub errors: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Assertion {
    pub expr: String,
    pub actual: Option<f64>,
    /// Null when there was too little to judge.
    pub passed: Option<bool>,
    /// The unit of `actual`, and why it is not known when it is not.
    #[serde(default)]
    pub about: Option<String>,
}

/// In the closed model a client without a connection sends nothing that could fail: past this share of the clients' time, what was measured is not
/// what was asked for.
const MOST_AWAY: f64 = 0.01;

impl LayerReport {
    /// An empty one that has every part that one can have.
    pub fn with_everything() -> Self {
        LayerReport {
            open: Some(OpenReport::default()),
            connections: Some(ConnectionsReport::default()),
            answered: Some(AnsweredReport::default()),
            l1: Some(CacheReport::empty()),
            l2: Some(CacheReport::empty()),
            pool: Some(PoolReport::default()),
            redis: Some(RedisReport::default()),
            pending_writes: Some(0),
            server: Some(ServerReport::default()),
            ..LayerReport::default()
        }
    }

    /// Why this is not the load that was asked for: whatever its numbers are, no assertion passes on them.
    pub fn incomplete(&self) -> Option<String> {
        if let Some(unfinished) = self.errors_by_code.iter().find(|error| error.code == UNFINISHED) {
            return Some(format!("{} of {} clients had {}", unfinished.count, self.clients, unfinished.message));
        }
        let connections = self.connections.as_ref()?;
        if connections.away_at_end > 0 {
            return Some(format!("{} of {} clients had lost their connection and found no other", connections.away_at_end, self.clients));
        }
        (self.open.is_none() && connections.away_ratio > MOST_AWAY)
            .then(|| format!("clients were without a connection for {:.1} % of the time", connections.away_ratio * 100.0))
    }

    /// Not one transaction ended within the measured time, well or badly.
    pub fn is_empty(&self) -> bool {
        self.transactions + self.errors == 0
    }

    /// Why not one transaction succeeded, where all that were tried failed, or none was.
    pub fn nothing_succeeded(&self) -> Option<Failure> {
        if self.is_empty() {
            let failure = Failure::new("nothing_measured", "not one transaction began and ended within the measured time");
            return Some(failure.hint("Measure for longer with -T, or see with `candlefish psql` what its statements wait for."));
        }
        let error = self.errors_by_code.iter().max_by_key(|error| error.count).filter(|_| self.transactions == 0)?;
        let failure = Failure::new("nothing_succeeded", format!("not one of {} transactions succeeded: {}", self.errors, error.message));
        let failure = if error.code.len() == 5 { failure.sqlstate(error.code.as_str()) } else { failure };
        Some(failure.hint(match error.code.as_str() {
            // Prepared in one of its sessions, asked for in another.
            "26000" | "42P05" => "A pooler in between does not know prepared statements: -M extended.",
            _ => "Try the script's statements with `candlefish psql`.",
        }))
    }
}

impl LatencyReport {
    pub fn of(latencies: &Latencies) -> Self {
        LatencyReport {
            min: latencies.min_ms(),
            mean: latencies.mean_ms(),
            p50: latencies.quantile_ms(0.5),
            p90: latencies.quantile_ms(0.9),
            p95: latencies.quantile_ms(0.95),
            p99: latencies.quantile_ms(0.99),
            p999: latencies.quantile_ms(0.999),
            max: latencies.max_ms(),
        }
    }
}

impl PartReport {
    pub fn of(tally: &Tally) -> Self {
        PartReport { transactions: tally.latencies.count(), errors: tally.failures, latency_ms: LatencyReport::of(&tally.all_latencies()) }
    }
}

impl ConnectionsReport {
    /// `seconds`: of the measured time.
    pub fn of(connections: &Connections, clients: usize, seconds: f64) -> Self {
        let all = clients as f64 * seconds;
        ConnectionsReport {
            lost: connections.lost,
            failed_attempts: connections.failed_attempts,
            away_ratio: if all > 0.0 { (connections.away.as_secs_f64() / all).min(1.0) } else { 0.0 },
            away_at_end: connections.away_at_end,
        }
    }
}

impl OperationReport {
    pub fn of(operation: &str, tally: &Tally) -> Self {
        OperationReport {
            operation: operation.to_string(),
            transactions: tally.latencies.count(),
            errors: tally.failures,
            latency_ms: LatencyReport::of(&tally.all_latencies()),
        }
    }
}

impl From<Second> for SeriesPoint {
    fn from(second: Second) -> Self {
        SeriesPoint {
            second: second.second,
            tps: second.transactions,
            p50_ms: second.p50_ms,
            p95_ms: second.p95_ms,
            p99_ms: second.p99_ms,
            errors: second.errors,
        }
    }
}
