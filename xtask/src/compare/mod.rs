//! `cargo xtask compare`: candlefish beside its peers and beside itself, interleaved, each run in a fresh database of one private server.
//!
//! Medians of the rounds, ratios and peak memory as a table and as JSON, with the machine, and what the project promises with what came out.

mod bed;
mod driver;
mod measure;
mod peers;
mod refresh;
mod report;
mod store;
mod tiny;

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use bed::Bed;
use measure::{Sample, measure};
use report::{Claim, Report, Row};

#[derive(clap::Subcommand)]
pub enum Task {
    /// Beside psql's COPY of ready-made rows, DuckDB and pgloader
    Migrate(Migrate),
    /// A refresh beside the whole copy
    Refresh(Refresh),
    /// Small files beside large ones: rows per second, and memory
    Scale(Scale),
    /// candlefish bench's driver beside pgbench: transactions per second, and the client's CPU
    Bench(Bench),
    /// The data layer beside what it stands on: hits of L1 and L2, pooled queries, memory
    Store(store::Store),
}

#[derive(clap::Args)]
pub struct Migrate {
    /// Times 5,000 rows
    #[arg(long, default_value_t = 100)]
    scale: u32,
    #[command(flatten)]
    common: Common,
    /// Only these: copy, duckdb, pgloader, section-data, migrate, tiny-psql, tiny-migrate
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
}

#[derive(clap::Args)]
pub struct Refresh {
    /// Times 5,000 rows
    #[arg(long, default_value_t = 100)]
    scale: u32,
    #[command(flatten)]
    common: Common,
}

#[derive(clap::Args)]
pub struct Scale {
    /// Of the registry, each times 5,000 rows
    #[arg(long, value_delimiter = ',', default_value = "100,1000")]
    scales: Vec<u32>,
    #[command(flatten)]
    common: Common,
}

#[derive(clap::Args)]
pub struct Bench {
    /// Clients at the same time
    #[arg(short, long, value_delimiter = ',', default_value = "1,10,50")]
    clients: Vec<u32>,
    /// Of each run
    #[arg(long, default_value_t = 5)]
    seconds: u32,
    #[command(flatten)]
    common: Common,
}

#[derive(clap::Args)]
struct Common {
    /// Runs of each
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Write the document here too
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// One of those that are compared.
struct Contestant<'a> {
    name: String,
    about: String,
    /// Rows that it moves.
    rows: u64,
    /// What is made in the fresh database before the clock runs.
    prepare: OnDatabase<'a, Result<()>>,
    /// What is measured.
    command: OnDatabase<'a, Command>,
    /// What must hold afterwards.
    check: Option<OnDatabase<'a, Result<()>>>,
}

/// What is done with a database, given its address.
type OnDatabase<'a, T> = Box<dyn Fn(&str) -> T + 'a>;

pub fn run(task: Task) -> Result<()> {
    match task {
        Task::Migrate(options) => migrate(&options),
        Task::Refresh(options) => refresh_beside_copy(&options),
        Task::Scale(options) => scale(&options),
        Task::Bench(options) => driver::run(&options),
        Task::Store(options) => store::run(&options),
    }
}

fn migrate(options: &Migrate) -> Result<()> {
    let bed = Bed::up()?;
    let contestants = peers::all(&bed, options.scale, &options.only)?;
    let mut report = Report::new(format!("compare migrate --scale {}", options.scale), options.common.rounds, bed.facts()?);
    report.add_fact("duckdb", peers::duckdb_version(&bed).ok());
    report.add_fact("pgloader", peers::pgloader_version(&bed).ok());
    report.rows = race(&bed, &contestants, options.common.rounds)?;
    report.notes = peers::notes(&bed)?;
    let ratio = |of: &str, to: &str| Some(report.row(of)?.seconds / report.row(to)?.seconds);
    report.claims = vec![
        Claim::at_most("migrate --section data / COPY of ready-made rows", 1.10, ratio("section-data", "copy")),
        Claim::at_most("whole migrate / DuckDB's bare copy", 1.3, ratio("migrate", "duckdb")),
        Claim::at_most("whole migrate / pgloader", 0.30, ratio("migrate", "pgloader")),
        Claim::at_most("2,000 tiny tables: whole migrate / the same by psql", 1.3, ratio("tiny-migrate", "tiny-psql")),
        Claim::at_most("migrate's peak memory in MiB", 64.0, report.row("migrate").map(Row::peak_mib)),
        Claim::at_most("2,000 tiny tables: migrate's peak memory in MiB", 64.0, report.row("tiny-migrate").map(Row::peak_mib)),
    ];
    report.finish(options.common.json.as_deref())
}

fn refresh_beside_copy(options: &Refresh) -> Result<()> {
    let bed = Bed::up()?;
    let contestants = refresh::all(&bed, options.scale)?;
    let mut report = Report::new(format!("compare refresh --scale {}", options.scale), options.common.rounds, bed.facts()?);
    report.rows = race(&bed, &contestants, options.common.rounds)?;
    let ratio = |of: &str| Some(report.row(of)?.seconds / report.row("migrate")?.seconds);
    report.claims = vec![
        Claim::at_most("refresh after 0.1 % of the rows changed / whole migrate", 0.35, ratio("refresh")),
        Claim::at_most("refresh with nothing to do / whole migrate", 0.35, ratio("refresh-still")),
        Claim::at_most("refresh's peak memory in MiB", 64.0, report.row("refresh").map(Row::peak_mib)),
    ];
    report.finish(options.common.json.as_deref())
}

fn scale(options: &Scale) -> Result<()> {
    let bed = Bed::up()?;
    let mut scales = options.scales.clone();
    scales.sort_unstable();
    let contestants = scales.iter().map(|scale| peers::whole(&bed, *scale)).collect::<Result<Vec<_>>>()?;
    let mut report = Report::new("compare scale".to_string(), options.common.rounds, bed.facts()?);
    report.rows = race(&bed, &contestants, options.common.rounds)?;
    let (Some(smallest), rest) = (report.rows.first().cloned(), report.rows.get(1..).unwrap_or_default()) else {
        bail!("no scale was named");
    };
    let mut claims = Vec::new();
    for (row, scale) in rest.iter().zip(&scales[1..]) {
        let least = if *scale > 1000 { 0.85 } else { 0.9 };
        let against = format!("{} / {}", row.name, smallest.name);
        claims.push(Claim::at_least(
            &format!("rows per second: {against}"),
            least,
            Some(row.rows_per_second() / smallest.rows_per_second()),
        ));
        claims.push(Claim::at_most(&format!("peak memory: {against}"), 1.1, Some(row.peak_mib() / smallest.peak_mib())));
        claims.push(Claim::at_most(&format!("peak memory in MiB: {}", row.name), 64.0, Some(row.peak_mib())));
    }
    report.claims = claims;
    report.finish(options.common.json.as_deref())
}

/// Every contestant once a round, each round beginning with another, so that no one always follows the same neighbour's load.
fn race(bed: &Bed, contestants: &[Contestant<'_>], rounds: u32) -> Result<Vec<Row>> {
    let mut samples: Vec<Vec<Sample>> = vec![Vec::new(); contestants.len()];
    for round in 0..rounds as usize {
        for place in 0..contestants.len() {
            let place = (place + round) % contestants.len();
            let contestant = &contestants[place];
            let sample = run_one(bed, contestant).with_context(|| format!("measure {}", contestant.name))?;
            let (seconds, mib) = (sample.seconds, sample.peak_bytes >> 20);
            eprintln!("round {} of {rounds}: {:<14} {seconds:8.2} s {mib:6} MiB", round + 1, contestant.name);
            samples[place].push(sample);
        }
    }
    Ok(contestants.iter().zip(samples).map(|(contestant, samples)| Row::new(contestant, &samples)).collect())
}

fn run_one(bed: &Bed, contestant: &Contestant<'_>) -> Result<Sample> {
    const DATABASE: &str = "candlefish_compare";
    let url = bed.fresh_database(DATABASE)?;
    (contestant.prepare)(&url).context("prepare")?;
    let sample = measure(&mut (contestant.command)(&url), &bed.file(&format!("{}.log", contestant.name)))?;
    if let Some(check) = &contestant.check {
        check(&url)?;
    }
    bed.drop_database(DATABASE)?;
    Ok(sample)
}
