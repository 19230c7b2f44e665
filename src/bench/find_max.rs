//! `bench find-max`: the highest rate at which everything asked for holds.

use anyhow::{Context as _, Result};
use serde::Serialize;

use crate::bench::assertion::Claim;
use crate::bench::report::{Assertion, LatencyReport, LayerReport};
use crate::bench::{Job, run_whatever_comes};

#[derive(Clone, Debug, Serialize)]
pub struct FindMax {
    /// Transactions a second; null when even the lowest rate missed.
    pub max_rate: Option<f64>,
    pub claims: Vec<String>,
    pub steps: Vec<Step>,
    pub interrupted: bool,
}

/// One rate that was tried.
#[derive(Clone, Debug, Serialize)]
pub struct Step {
    pub rate: f64,
    pub tps: f64,
    pub latency_ms: LatencyReport,
    pub not_sent: u64,
    pub assertions: Vec<Assertion>,
    /// All hold, and the rate was reached.
    pub passed: bool,
    /// Why the rate does not count as reached; null where it does.
    pub not_reached: Option<String>,
}

/// The search ends when the highest that holds and the lowest that does not are so near.
const RESOLUTION: f64 = 0.05;
/// A rate counts as reached at this share of it.
const REACHED: f64 = 0.97;
/// Below one a second a run of seconds has too few of them to tell.
const LOWEST: f64 = 1.0;

/// Finds where the rate stops holding, from `start` up or down by doubling, then by halving the gap. The answer has held twice.
pub async fn find_max(job: &Job, claims: &[Claim], start: f64, started_at: &str) -> Result<FindMax> {
    let mut search =
        FindMax { max_rate: None, claims: claims.iter().map(ToString::to_string).collect(), steps: Vec::new(), interrupted: false };
    let (mut holds, mut fails): (Option<f64>, Option<f64>) = (None, None);
    let mut rate = start;
    loop {
        let passed = search.step(job, claims, rate, started_at).await?;
        if search.interrupted {
            return Ok(search);
        }
        if passed {
            holds = Some(rate)
        } else {
            fails = Some(rate)
        }
        rate = match (holds, fails) {
            (Some(low), None) => low * 2.0,
            (None, Some(high)) if high / 2.0 < LOWEST => return Ok(search),
            (None, Some(high)) => high / 2.0,
            (Some(low), Some(high)) if high / low > 1.0 + RESOLUTION => (low * high).sqrt(),
            (Some(low), Some(_)) => {
                // Once more: a lucky run is no capacity.
                if search.step(job, claims, low, started_at).await? {
                    search.max_rate = Some(low);
                    return Ok(search);
                }
                if search.interrupted {
                    return Ok(search);
                }
                fails = Some(low);
                holds = None;
                low * (1.0 - RESOLUTION)
            }
            (None, None) => rate,
        };
    }
}

impl FindMax {
    async fn step(&mut self, job: &Job, claims: &[Claim], rate: f64, started_at: &str) -> Result<bool> {
        let mut job = job.clone();
        job.rate = Some(rate);
        job.repeat = 1;
        let at_rate = || format!("at {rate:.0} transactions/s");
        let report = run_whatever_comes(&job, started_at.to_string()).await.with_context(at_rate)?;
        self.interrupted = report.interrupted;
        let assertions: Vec<Assertion> = claims.iter().map(|claim| claim.judge(&report)).collect();
        let layer = report.layers.last().context("a run has a layer")?;
        // Too high a rate is an answer; statements that the server refuses at any rate are none.
        if let Some(failure) = layer.nothing_succeeded().filter(|failure| failure.sqlstate.is_some())
            && !report.interrupted
            && self.steps.iter().all(|step| step.tps == 0.0)
        {
            return Err(failure).with_context(at_rate);
        }
        let not_sent = layer.open.as_ref().map_or(0, |open| open.not_sent);
        let not_reached = not_reached(layer, rate, report.config.seconds);
        let passed = not_reached.is_none() && assertions.iter().all(|assertion| assertion.passed != Some(false)) && !report.interrupted;
        self.steps.push(Step { rate, tps: layer.tps, latency_ms: layer.latency_ms.clone(), not_sent, assertions, passed, not_reached });
        Ok(passed)
    }
}

/// `seconds`: the window that was asked for; none where each client had a number of transactions.
fn not_reached(layer: &LayerReport, rate: f64, seconds: Option<f64>) -> Option<String> {
    if let Some(why) = layer.incomplete() {
        return Some(why);
    }
    if let Some(not_sent) = layer.open.as_ref().map(|open| open.not_sent).filter(|not_sent| *not_sent > 0) {
        return Some(format!("{not_sent} of {} were not sent", layer.transactions + layer.errors));
    }
    // What came late does not count, and one that came very late takes nothing from the others.
    let seconds = seconds.unwrap_or(layer.seconds);
    let answered: u64 = layer.series.iter().filter(|point| (point.second as f64) < seconds).map(|point| point.tps).sum();
    let due = rate * seconds;
    // Arrivals are random: few of them may well be below their mean.
    let slack = 3.0 / due.max(1.0).sqrt();
    (answered < (due * (REACHED - slack)).max(0.0) as u64).then(|| format!("{answered} of about {due:.0} were answered within {seconds} s"))
}
