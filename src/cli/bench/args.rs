//! The arguments of `candlefish bench`, and how each is read.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Subcommand, ValueEnum};

use crate::bench::{self, Choice, Layer};
use crate::cli::settings::TargetArgs;
use crate::postgres::Protocol;

#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true, after_help = EXAMPLES)]
pub struct Args {
    #[command(subcommand)]
    pub(super) task: Option<Task>,
    #[command(flatten)]
    pub(super) run: RunArgs,
}

const EXAMPLES: &str = "\
Examples:
  candlefish bench                                     the registry's load on the local stack, 30 s
  candlefish bench -S -c 50 -M prepared                pgbench's select-only by 50 clients
  candlefish bench -R 2000 -c 200 -T 2m                an open model: 2,000 transactions a second, latency from when each was due
  candlefish bench -f read.sql@9 -f write.sql          two scripts in pgbench's language, nine to one";

#[derive(Debug, Subcommand)]
pub(super) enum Task {
    /// Fill the built-in workloads' tables, in the schema candlefish_bench
    Init(InitArgs),
    /// Drop the schema candlefish_bench, the data layer's outbox where a run has made it and nobody else uses it, and what runs that were killed have left in Redis
    Clean(CleanArgs),
    /// Two saved results, or two ways of running side by side: better, worse (exit 1), or not to be told from noise
    #[command(after_help = COMPARED)]
    Compare(CompareArgs),
    /// The highest rate at which assertions hold
    FindMax(Box<FindMaxArgs>),
}

const COMPARED: &str =
    "B is worse when it is slower, by 99 % intervals over the runs, or when more of what was due failed or was never sent: speeds are
of what succeeded. Exit: 1 worse, 0 otherwise. Fewer than 5 runs a side say nothing for certain.";

#[derive(Debug, clap::Args)]
pub(super) struct CompareArgs {
    /// Results that --save has written
    #[arg(value_name = "FILE.json", num_args = 2, required_unless_present = "interleave", conflicts_with = "interleave")]
    pub(super) files: Vec<PathBuf>,
    /// Two sets of arguments of `bench`, run in turn
    #[arg(long, num_args = 2, value_names = ["ARGS", "ARGS"], allow_hyphen_values = true)]
    pub(super) interleave: Vec<String>,
    /// Runs of each side
    #[arg(long, value_name = "N", default_value_t = 7, value_parser = up_to(MOST_RUNS), requires = "interleave")]
    pub(super) repeat: u32,
    /// So much slower is no worse, such as 5%
    #[arg(long, value_name = "P%", default_value = "0%", value_parser = percent)]
    pub(super) max_regress: f64,
}

#[derive(Debug, clap::Args)]
pub(super) struct FindMaxArgs {
    /// What must hold, such as 'p95<50ms,error_rate<0.1%', or kpi
    #[arg(value_name = "EXPR", value_parser = claims)]
    pub(super) claims: Claims,
    /// The rate to begin with [default: half of what the closed model reaches]
    #[arg(long, value_name = "TPS", value_parser = rate)]
    pub(super) start: Option<f64>,
    #[command(flatten)]
    pub(super) run: RunArgs,
}

/// The arguments of a run, where they come as one text.
#[derive(Debug, clap::Parser)]
#[command(name = "bench", no_binary_name = true)]
pub(super) struct Interleaved {
    #[command(flatten)]
    pub(super) run: RunArgs,
}

#[derive(Clone, Debug)]
pub(super) struct Claims(pub(super) Vec<bench::Claim>);

fn claims(text: &str) -> Result<Claims, String> {
    bench::parse_claims(text).map(Claims).map_err(|failure| failure.to_string())
}

fn percent(text: &str) -> Result<f64, String> {
    match text.trim_end_matches('%').parse::<f64>() {
        Ok(percent) if (0.0..100.0).contains(&percent) => Ok(percent / 100.0),
        _ => Err("a share is such as 5%".to_string()),
    }
}

#[derive(Debug, clap::Args)]
pub(super) struct InitArgs {
    #[command(flatten)]
    pub(super) target: TargetArgs,
    /// 35 services, 1,000 users, 70,000 probes and 100,000 accounts for each 1
    #[arg(short, long, default_value_t = 1, value_parser = up_to(MOST_SCALE))]
    pub(super) scale: u32,
}

#[derive(Debug, clap::Args)]
pub(super) struct CleanArgs {
    #[command(flatten)]
    pub(super) target: TargetArgs,
    /// Redis, where runs that were killed have left what they kept
    #[arg(long, value_name = "URL")]
    pub(super) redis: Option<String>,
    /// Do not ask
    #[arg(long)]
    pub(super) yes: bool,
}

#[derive(Clone, Debug, clap::Args)]
pub struct RunArgs {
    #[command(flatten)]
    pub(super) target: TargetArgs,
    /// PgBouncer or another pooler in front of it, for the layers that have a pool
    #[arg(long, value_name = "URL")]
    pub(super) pooler: Option<String>,
    /// Redis, for the layers l2 and cached
    #[arg(long, value_name = "URL")]
    pub(super) redis: Option<String>,
    /// The way to the data: sqlite is a file's one connection for all, direct one connection a client, pooled the pool, l2 Redis before it, cached memory before both, all each in turn that can run the workload [default: cached; direct for scripts where the database may only be read, or with -M simple: there the data layer cannot run them]
    #[arg(long, value_name = "LAYER", value_parser = layers)]
    pub(super) layer: Option<Layers>,
    /// Instances of the data layer, each with its own pool and memory; the clients are divided among them
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = up_to(MOST_INSTANCES))]
    pub(super) instances: u32,
    /// Layer sqlite works on a copy of this file [default: a file with the same data]
    #[arg(long, value_name = "FILE.db")]
    pub(super) source: Option<PathBuf>,
    /// registry, registry-read, select-only, tpcb, simple-update, or a script in pgbench's language; with @WEIGHT (repeatable) [default: registry]
    #[arg(short = 'f', long, value_name = "NAME|FILE.sql[@WEIGHT]", visible_short_alias = 'b', value_parser = Choice::parse)]
    pub(super) workload: Vec<Choice>,
    /// Short for --workload select-only
    #[arg(short = 'S')]
    pub(super) select_only: bool,
    /// Short for --workload simple-update
    #[arg(short = 'N')]
    pub(super) simple_update: bool,
    /// Clients at the same time
    #[arg(short, long, default_value_t = 10, value_name = "N", value_parser = up_to(MOST_CLIENTS))]
    pub(super) clients: u32,
    /// Threads that drive them [default: the machine's cores, at most 4]
    #[arg(short = 'j', long, value_name = "N", value_parser = up_to(MOST_THREADS))]
    pub(super) threads: Option<u32>,
    /// How long is measured, such as 30, 30s, 2m [default: 30s]
    #[arg(short = 'T', long, value_name = "DURATION", value_parser = length, conflicts_with = "transactions")]
    pub(super) time: Option<Duration>,
    /// So many transactions of each client, instead of a time
    #[arg(short = 't', long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(super) transactions: Option<u64>,
    /// What runs before and is not measured
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "5s")]
    pub(super) warmup: Duration,
    /// Transactions a second, at random moments (open model); latency is from when each was due
    #[arg(short = 'R', long, value_name = "TPS", value_parser = rate)]
    pub(super) rate: Option<f64>,
    /// How layer direct sends statements; the other layers have ways of their own, and none for simple
    #[arg(short = 'M', long, value_name = "PROTOCOL", value_enum, default_value = "prepared")]
    pub(super) protocol: Protocol,
    /// A line of progress each so many seconds [default: 10, or live on a terminal]
    #[arg(short = 'P', long, value_name = "SECS", value_parser = clap::value_parser!(u64).range(1..))]
    pub(super) progress: Option<u64>,
    /// Latency of each statement too
    #[arg(short = 'r', long)]
    pub(super) report_per_statement: bool,
    /// Of all random numbers: the same seed draws the same transactions
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(super) seed: u64,
    /// What :scale is in a script [default: what bench init has filled, else 1]
    #[arg(short, long, value_name = "N", value_parser = up_to(MOST_SCALE))]
    pub(super) scale: Option<u32>,
    /// A variable for scripts (repeatable)
    #[arg(short = 'D', long = "define", value_name = "NAME=VALUE", value_parser = define)]
    pub(super) defines: Vec<(String, String)>,
    /// Tries of a transaction after serialization failures and deadlocks
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) max_tries: u32,
    /// Runs of each layer, in turn
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = up_to(MOST_RUNS))]
    pub(super) repeat: u32,
    /// What must hold, else exit 1: p95<50ms, error_rate<0.1%, sqlite:p99<1s, any number of the JSON by its names, or kpi (repeatable)
    #[arg(long = "assert", value_name = "EXPR", value_parser = claims)]
    pub(super) asserts: Vec<Claims>,
    /// Write the result here, for `bench compare`
    #[arg(long, value_name = "FILE.json")]
    pub(super) save: Option<PathBuf>,
    /// Write a page with charts here, for a browser; everything is in the one file
    #[arg(long, value_name = "FILE.html")]
    pub(super) html: Option<PathBuf>,
    /// Lets scripts write in the database of this name. Without it, and not on the local stack or where bench init was run, each statement stands in a transaction that PostgreSQL holds to reading and that is rolled back; what a function of yours does beyond its transaction (dblink, signals to other sessions) is not seen
    #[arg(long, value_name = "DBNAME")]
    pub(super) allow_writes: Option<String>,
}

#[derive(Clone, Debug)]
pub(super) enum Layers {
    One(Layer),
    /// As many as can run the workload.
    All,
}

fn layers(text: &str) -> Result<Layers, String> {
    if text == "all" {
        return Ok(Layers::All);
    }
    let names: Vec<&str> = Layer::ALL.iter().map(|layer| layer.as_str()).collect();
    let layer = Layer::ALL.into_iter().find(|layer| layer.as_str() == text);
    layer.map(Layers::One).ok_or_else(|| format!("the layers are {} and all", names.join(", ")))
}

impl ValueEnum for Protocol {
    fn value_variants<'a>() -> &'a [Self] {
        &[Protocol::Simple, Protocol::Extended, Protocol::Prepared]
    }

    fn to_possible_value(&self) -> Option<clap::builder::PossibleValue> {
        Some(clap::builder::PossibleValue::new(self.as_str()))
    }
}

/// What one machine can drive, generously; beyond that its memory ends before the server's.
const MOST_CLIENTS: u32 = 10_000;
const MOST_THREADS: u32 = 256;
const MOST_INSTANCES: u32 = 64;
const MOST_RUNS: u32 = 1000;
const MOST_SCALE: u32 = 20_000;
const MOST_RATE: f64 = 1e6;
/// A week of seconds is kept as a series.
const LONGEST: Duration = Duration::from_secs(7 * 24 * 3600);

fn up_to(most: u32) -> clap::builder::RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(1..=i64::from(most))
}

fn rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if rate > 0.0 && rate <= MOST_RATE => Ok(rate),
        _ => Err(format!("a rate is a number above 0 and up to {MOST_RATE}, transactions a second")),
    }
}

fn length(text: &str) -> Result<Duration, String> {
    duration(text).and_then(|time| if time.is_zero() { Err("nothing is measured in no time".to_string()) } else { Ok(time) })
}

fn define(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_string(), value.to_string())),
        _ => Err("a variable is given as name=value".to_string()),
    }
}

/// `60`, `60s`, `500ms`, `2m`, `1h`.
fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let seconds = match unit.trim() {
        "" | "s" => 1.0,
        "ms" => 0.001,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        _ => return Err(format!("{unit:?} is no unit of time: ms, s, m, h")),
    };
    let number: f64 = number.parse().map_err(|_| "a duration is such as 30, 30s, 2m".to_string())?;
    let time = Duration::try_from_secs_f64(number * seconds).map_err(|_| "a duration is such as 30, 30s, 2m".to_string())?;
    if time > LONGEST { Err("a run is no longer than a week".to_string()) } else { Ok(time) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units() {
        for (text, seconds) in [("60", 60.0), ("60s", 60.0), ("2m", 120.0), ("500ms", 0.5), ("1.5h", 5400.0)] {
            assert_eq!(duration(text), Ok(Duration::from_secs_f64(seconds)));
        }
        assert!(duration("2 weeks").is_err() && duration("m").is_err() && duration("99999999999").is_err());
        assert!(duration("0").is_ok() && length("0").is_err());
    }
}
