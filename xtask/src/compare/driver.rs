//! `cargo xtask compare bench`: candlefish's own driver beside pgbench: the same statement, protocol, socket, clients and threads, run in turn.

use std::fs;
use std::process::Command;

use anyhow::{Context as _, Result};
use serde_json::{Value as Json, json};

use super::Bench;
use super::bed::Bed;
use super::measure::{measure, median};
use super::report::{Body, Claim, Report};
use crate::shell::root;

/// One run of one of the two.
#[derive(Clone, Copy)]
struct Run {
    tps: f64,
    /// User and system time of the client's process, its start included.
    cpu_us: f64,
}

/// Both, at one number of clients.
struct Point {
    clients: u32,
    ours: Vec<Run>,
    pgbenchs: Vec<Run>,
}

const THREADS: &str = "2";

pub fn run(options: &Bench) -> Result<()> {
    let bed = Bed::up()?;
    let url = bed.fresh_database("candlefish_driver")?;
    super::bed::read(bed.candlefish(&["--quiet", "bench", "init", "--to", &url]))?;
    let socket = bed.by_socket("candlefish_driver")?;
    let mut report = Report::new("compare bench".to_string(), options.common.rounds, bed.facts()?);
    let mut points = Vec::new();
    for clients in &options.clients {
        let mut point = Point { clients: *clients, ours: Vec::new(), pgbenchs: Vec::new() };
        for round in 0..options.common.rounds {
            // A B, B A, …: what changes on the machine meanwhile meets both.
            for turn in 0..2 {
                if (round + turn) % 2 == 0 {
                    point.pgbenchs.push(pgbench(&bed, &socket, *clients, options.seconds)?);
                } else {
                    point.ours.push(candlefish(&bed, &socket, *clients, options.seconds)?);
                }
            }
            let (Some(ours), Some(theirs)) = (point.ours.last(), point.pgbenchs.last()) else { continue };
            eprintln!(
                "{clients} clients, pair {} of {}: {:.0} and {:.0} transactions/s, {:.1} and {:.1} µs of CPU each",
                round + 1,
                options.common.rounds,
                ours.tps,
                theirs.tps,
                ours.cpu_us,
                theirs.cpu_us
            );
        }
        points.push(point);
    }
    bed.drop_database("candlefish_driver")?;
    for point in &points {
        let clients = point.clients;
        report.claims.push(Claim::at_least(&format!("{clients} clients: transactions/s / pgbench's"), 0.95, point.ratio(|run| run.tps)));
        report.claims.push(Claim::at_most(&format!("{clients} clients: client CPU / pgbench's"), 1.3, point.ratio(|run| run.cpu_us)));
    }
    report.body = Some(Body { text: text(&points), json: points.iter().map(Point::json).collect() });
    report.finish(options.common.json.as_deref())
}

fn candlefish(bed: &Bed, socket: &str, clients: u32, seconds: u32) -> Result<Run> {
    let (clients, seconds) = (clients.to_string(), seconds.to_string());
    let words = ["-q", "--json", "bench", "--to", socket, "--layer", "direct", "-S", "-M", "prepared", "-j", THREADS, "--warmup", "0"];
    let mut command = bed.candlefish(&words);
    command.args(["-c", &clients, "-T", &seconds]);
    let (said, cpu_seconds) = output(bed, &mut command)?;
    let report: Json = serde_json::from_str(&said).context("read candlefish's report")?;
    let number = |name: &str| report["layers"][0][name].as_f64().with_context(|| format!("the report has no {name}"));
    Ok(Run { tps: number("tps")?, cpu_us: cpu_seconds * 1e6 / number("transactions")? })
}

fn pgbench(bed: &Bed, socket: &str, clients: u32, seconds: u32) -> Result<Run> {
    let script = root().join("src/bench/workload/select-only.sql");
    let mut command = bed.tool("pgbench");
    command.args(["-n", "-M", "prepared", "-s", "1", "-j", THREADS, "-c", &clients.to_string(), "-T", &seconds.to_string(), "-f"]);
    command.arg(script).arg(socket);
    let (said, cpu_seconds) = output(bed, &mut command)?;
    let number = |before: &str| {
        let after = said.split_once(before).with_context(|| format!("pgbench did not say {before:?}"))?.1;
        let word = after.split_whitespace().next().unwrap_or_default();
        word.parse::<f64>().with_context(|| format!("read {word:?} of pgbench"))
    };
    Ok(Run { tps: number("tps = ")?, cpu_us: cpu_seconds * 1e6 / number("actually processed: ")? })
}

/// What it printed, and its CPU seconds.
fn output(bed: &Bed, command: &mut Command) -> Result<(String, f64)> {
    let log = bed.file("driver.log");
    let sample = measure(command, &log)?;
    Ok((fs::read_to_string(&log).context("read what it printed")?, sample.cpu_seconds))
}

impl Point {
    /// The median of the pairs' ratios.
    fn ratio(&self, of: fn(&Run) -> f64) -> Option<f64> {
        median(self.ours.iter().zip(&self.pgbenchs).map(|(ours, theirs)| of(ours) / of(theirs)))
    }

    fn span(&self, of: fn(&Run) -> f64) -> (f64, f64) {
        let ratios = self.ours.iter().zip(&self.pgbenchs).map(|(ours, theirs)| of(ours) / of(theirs));
        ratios.fold((f64::MAX, 0.0), |(least, most), ratio| (least.min(ratio), most.max(ratio)))
    }

    fn json(&self) -> Json {
        let runs =
            |runs: &[Run]| -> Vec<Json> { runs.iter().map(|run| json!({"tps": run.tps, "cpu_us_per_transaction": run.cpu_us})).collect() };
        json!({
            "clients": self.clients, "tps_ratio": self.ratio(|run| run.tps), "cpu_ratio": self.ratio(|run| run.cpu_us),
            "candlefish": runs(&self.ours), "pgbench": runs(&self.pgbenchs),
        })
    }
}

fn text(points: &[Point]) -> String {
    let mut text = format!(
        "{:>7}  {:>16}  {:>11}  {:>5}  {:>13}  {:>16}  {:>12}  {:>5}\n",
        "clients", "candlefish tps", "pgbench tps", "ratio", "from … to", "candlefish µs/tx", "pgbench µs/tx", "ratio"
    );
    for point in points {
        let of = |runs: &[Run], of: fn(&Run) -> f64| median(runs.iter().map(of)).unwrap_or(f64::NAN);
        let (least, most) = point.span(|run| run.tps);
        text += &format!(
            "{:>7}  {:>16.0}  {:>11.0}  {:>5.2}  {:>13}  {:>16.1}  {:>13.1}  {:>5.2}\n",
            point.clients,
            of(&point.ours, |run| run.tps),
            of(&point.pgbenchs, |run| run.tps),
            point.ratio(|run| run.tps).unwrap_or(f64::NAN),
            format!("{least:.2} … {most:.2}"),
            of(&point.ours, |run| run.cpu_us),
            of(&point.pgbenchs, |run| run.cpu_us),
            point.ratio(|run| run.cpu_us).unwrap_or(f64::NAN),
        );
    }
    text
}
