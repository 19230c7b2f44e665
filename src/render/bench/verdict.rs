//! What `bench compare` and `bench find-max` answer.

use anyhow::Result;
use serde::Serialize;

use super::ms;
use crate::bench::{Comparison, FindMax, SCHEMA_VERSION, Step, Verdict};
use crate::render::{Format, Table, Ui, csv, units};

/// Prints `bench compare`.
pub fn bench_comparison(ui: &Ui, comparison: &Comparison) -> Result<()> {
    let change = |ratio: Option<f64>| ratio.map_or("–".to_string(), |ratio| format!("{:+.1} %", ratio * 100.0));
    match ui.format {
        Format::Json => ui.print_json(&Document::new(ui, comparison)),
        Format::Csv => {
            let number = |value: Option<f64>| value.map_or(String::new(), |value| value.to_string());
            let header = ["layer", "metric", "runs_a", "runs_b", "a", "b", "change", "change_low", "change_high", "verdict"];
            ui.print(&csv(
                &header,
                comparison.metrics.iter().map(|metric| {
                    [
                        metric.layer.clone(),
                        metric.metric.to_string(),
                        metric.runs_a.to_string(),
                        metric.runs_b.to_string(),
                        number(metric.a),
                        number(metric.b),
                        number(metric.change),
                        number(metric.change_low),
                        number(metric.change_high),
                        metric.verdict.as_str().to_string(),
                    ]
                }),
            ))
        }
        Format::Table => {
            let mut table = Table::new(&["layer", "metric", "runs", "A", "B", "change", "from", "to", "verdict"]);
            for column in 2..8 {
                table = table.right(column);
            }
            for metric in &comparison.metrics {
                let value = |value: Option<f64>| match value {
                    Some(value) if metric.metric == "tps" => units::count(value.round() as u64),
                    Some(ratio) if metric.metric == "failed_ratio" => format!("{:.2} %", ratio * 100.0),
                    value => ms(value),
                };
                table.push([
                    metric.layer.clone(),
                    metric.metric.replace("_ms", " ms").replace("failed_ratio", "failed"),
                    format!("{} + {}", metric.runs_a, metric.runs_b),
                    value(metric.a),
                    value(metric.b),
                    change(metric.change),
                    change(metric.change_low),
                    change(metric.change_high),
                    metric.verdict.as_str().to_string(),
                ]);
            }
            table.print(ui)?;
            let sentence = match comparison.verdict {
                Verdict::Better => "B is better than A",
                Verdict::Worse => "B is worse than A",
                Verdict::Inconclusive => "inconclusive: B is not to be told from A by these runs",
            };
            ui.print(&format!("\n{sentence} ({:.0} % sure of all intervals together)", comparison.confidence * 100.0))?;
            comparison.notes.iter().for_each(|note| ui.say(&format!("note: {note}")));
            Ok(())
        }
    }
}

/// Prints `bench find-max`.
pub fn bench_find_max(ui: &Ui, found: &FindMax) -> Result<()> {
    let missed = |step: &Step| {
        let misses: Vec<String> = step
            .assertions
            .iter()
            .filter(|assertion| assertion.passed == Some(false))
            .map(|assertion| {
                assertion.actual.map_or(format!("{}: unknown", assertion.expr), |actual| format!("{}: {actual:.3}", assertion.expr))
            })
            .collect();
        let reasons: Vec<String> = misses.into_iter().chain(step.not_reached.clone()).collect();
        match step.passed {
            true => "holds".to_string(),
            false if reasons.is_empty() => "interrupted".to_string(),
            false => reasons.join(", "),
        }
    };
    match ui.format {
        Format::Json => return ui.print_json(&Document::new(ui, found)),
        Format::Csv => {
            let number = |value: Option<f64>| value.map_or(String::new(), |value| value.to_string());
            let header = ["rate", "tps", "p50_ms", "p95_ms", "p99_ms", "not_sent", "passed"];
            return ui.print(&csv(
                &header,
                found.steps.iter().map(|step| {
                    let latency = &step.latency_ms;
                    [
                        step.rate.to_string(),
                        step.tps.to_string(),
                        number(latency.p50),
                        number(latency.p95),
                        number(latency.p99),
                        step.not_sent.to_string(),
                        step.passed.to_string(),
                    ]
                }),
            ));
        }
        Format::Table => {}
    }
    let mut table = Table::new(&["rate", "tps", "p50 ms", "p95 ms", "p99 ms", "verdict"]);
    for column in 0..5 {
        table = table.right(column);
    }
    for step in &found.steps {
        let latency = &step.latency_ms;
        table.push([
            units::count(step.rate.round() as u64),
            units::count(step.tps.round() as u64),
            ms(latency.p50),
            ms(latency.p95),
            ms(latency.p99),
            missed(step),
        ]);
    }
    table.print(ui)?;
    let sentence = match found.max_rate {
        Some(rate) => format!("{} transactions/s hold {} (twice)", units::count(rate.round() as u64), found.claims.join(", ")),
        None if found.interrupted => "interrupted before the end of the search".to_string(),
        None => format!("no rate holds {}", found.claims.join(", ")),
    };
    ui.print(&format!("\n{sentence}"))
}

#[derive(Serialize)]
struct Document<'a, T> {
    schema_version: u32,
    candlefish_version: &'static str,
    started_at: &'a str,
    #[serde(flatten)]
    answer: &'a T,
}

impl<'a, T> Document<'a, T> {
    fn new(ui: &'a Ui, answer: &'a T) -> Self {
        Document { schema_version: SCHEMA_VERSION, candlefish_version: env!("CARGO_PKG_VERSION"), started_at: &ui.started_at, answer }
    }
}
