//! `bench compare`: two saved results, or two ways of running side by side; better, worse, or not to be told from noise.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::bench::report::{BenchReport, LayerReport, SCHEMA_VERSION};
use crate::bench::statistics::{CONFIDENCE, Ratio, paired_ratio, ratio};
use crate::model::Failure;

/// Fewer runs a side give no verdict.
pub const FEWEST_RUNS: usize = 5;

#[derive(Clone, Debug, Serialize)]
pub struct Comparison {
    pub verdict: Verdict,
    /// Of the whole comparison.
    pub confidence: f64,
    /// What is still taken as no worse, as a ratio.
    pub max_regress: f64,
    pub metrics: Vec<MetricComparison>,
    pub notes: Vec<String>,
}

#[derive(Clone, Debug, Serialize)]
pub struct MetricComparison {
    pub layer: String,
    /// `tps`, `p50_ms`, …; `failed_ratio`: of all that was due, what failed or was never sent.
    pub metric: &'static str,
    pub runs_a: usize,
    pub runs_b: usize,
    /// Geometric means, of which `change` is the ratio; of `failed_ratio` means, because one run that fails is not to be overlooked.
    pub a: Option<f64>,
    pub b: Option<f64>,
    /// B to A, less one: 0.1 is a tenth more.
    pub change: Option<f64>,
    pub change_low: Option<f64>,
    pub change_high: Option<f64>,
    pub verdict: Verdict,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    Better,
    /// The interval holds both better and worse.
    Inconclusive,
    Worse,
}

impl Verdict {
    pub fn as_str(self) -> &'static str {
        match self {
            Verdict::Better => "better",
            Verdict::Inconclusive => "inconclusive",
            Verdict::Worse => "worse",
        }
    }
}

/// How a metric is read from a layer's report.
type Read = fn(&LayerReport) -> Option<f64>;
/// Each metric, and whether more of it is good.
const METRICS: [(&str, Read, bool); 4] = [
    ("tps", |layer| Some(layer.tps), true),
    ("p50_ms", |layer| layer.latency_ms.p50, false),
    ("p95_ms", |layer| layer.latency_ms.p95, false),
    ("p99_ms", |layer| layer.latency_ms.p99, false),
];

const FAILED: &str = "failed_ratio";

/// Speed is measured on what succeeded, so a side that fails more looks fast. So much more failing is worse, however fast: the KPI's bound.
const MORE_FAILING: f64 = 0.001;

/// Of all that was due, what failed or was never sent.
fn failed_ratio(layer: &LayerReport) -> Option<f64> {
    let failed = layer.errors + layer.open.as_ref().map_or(0, |open| open.not_sent);
    let due = layer.transactions + failed;
    (due > 0).then(|| failed as f64 / due as f64)
}

/// Compares B with A. `paired` says that the n-th run of each was made beside the other's.
pub fn compare(a: &BenchReport, b: &BenchReport, max_regress: f64, paired: bool) -> Result<Comparison, Failure> {
    for report in [a, b] {
        if report.schema_version > SCHEMA_VERSION {
            let failure = Failure::new(
                "newer_result",
                format!("the result is of schema version {}, written by candlefish {}", report.schema_version, report.candlefish_version),
            );
            return Err(failure.hint("Compare with that version or a later one."));
        }
        let is_negative = |layer: &LayerReport| layer.tps < 0.0 || layer.seconds < 0.0;
        if report.schema_version == 0 || report.layers.iter().any(is_negative) {
            let failure = Failure::new("not_a_result", "no `bench --save` writes schema version 0, or a speed or a time below 0");
            return Err(failure.hint("Write a result anew: candlefish bench --repeat 7 --save FILE.json"));
        }
    }
    let mut layers: Vec<&str> = Vec::new();
    for layer in &a.layers {
        if !layers.contains(&layer.layer.as_str()) && b.layers.iter().any(|other| other.layer == layer.layer) {
            layers.push(&layer.layer);
        }
    }
    if layers.is_empty() {
        return Err(Failure::new("nothing_to_compare", "the two results have no layer in common"));
    }
    // The rate of an open model is given, not measured.
    let open = a.config.rate.is_some() && b.config.rate.is_some();
    let chosen: Vec<_> = METRICS.iter().filter(|(name, ..)| !(open && *name == "tps")).collect();
    // All intervals together are as sure as the comparison claims (Bonferroni).
    let each = 1.0 - (1.0 - CONFIDENCE) / (chosen.len() * layers.len()) as f64;
    let mut metrics = Vec::new();
    for layer in layers {
        let values = |report: &BenchReport, value: Read| -> Vec<f64> {
            report.layers.iter().filter(|run| run.layer == *layer).filter_map(value).collect()
        };
        for (name, value, more_is_good) in &chosen {
            let (of_a, of_b) = (values(a, *value), values(b, *value));
            let interval = if paired && of_a.len() == of_b.len() { paired_ratio(&of_a, &of_b, each) } else { ratio(&of_a, &of_b, each) };
            let enough = of_a.len() >= FEWEST_RUNS && of_b.len() >= FEWEST_RUNS;
            metrics.push(MetricComparison {
                layer: layer.to_string(),
                metric: name,
                runs_a: of_a.len(),
                runs_b: of_b.len(),
                a: geometric_mean(&of_a),
                b: geometric_mean(&of_b),
                change: interval.map(|interval| interval.estimate - 1.0),
                change_low: interval.map(|interval| interval.low - 1.0),
                change_high: interval.map(|interval| interval.high - 1.0),
                verdict: if enough {
                    interval.map_or(Verdict::Inconclusive, |interval| judge(interval, *more_is_good, max_regress))
                } else {
                    Verdict::Inconclusive
                },
            });
        }
        metrics.push(failures(layer, &values(a, failed_ratio), &values(b, failed_ratio)));
    }
    let any = |verdict: Verdict| metrics.iter().any(|metric| metric.verdict == verdict);
    let verdict = if any(Verdict::Worse) {
        Verdict::Worse
    } else if any(Verdict::Better) && !metrics.iter().any(MetricComparison::fails_more) {
        Verdict::Better
    } else {
        Verdict::Inconclusive
    };
    Ok(Comparison { verdict, confidence: CONFIDENCE, max_regress, notes: notes(a, b, &metrics, paired), metrics })
}

/// Failures are often 0, of which there is no ratio: one side fails more when its every run fails more than any of the other's.
fn failures(layer: &str, of_a: &[f64], of_b: &[f64]) -> MetricComparison {
    let mean = |values: &[f64]| (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64);
    let (a, b) = (mean(of_a), mean(of_b));
    let more = |these: &[f64], than: &[f64]| {
        let least = these.iter().copied().fold(f64::INFINITY, f64::min);
        let rise = mean(these).zip(mean(than)).map_or(0.0, |(these, than)| these - than);
        rise > MORE_FAILING && than.iter().all(|other| *other < least)
    };
    let enough = of_a.len() >= FEWEST_RUNS && of_b.len() >= FEWEST_RUNS;
    MetricComparison {
        layer: layer.to_string(),
        metric: FAILED,
        runs_a: of_a.len(),
        runs_b: of_b.len(),
        a,
        b,
        change: None,
        change_low: None,
        change_high: None,
        verdict: match enough {
            true if more(of_b, of_a) => Verdict::Worse,
            true if more(of_a, of_b) => Verdict::Better,
            _ => Verdict::Inconclusive,
        },
    }
}

impl MetricComparison {
    /// B's failures are more, whether that is certain or not.
    fn fails_more(&self) -> bool {
        self.metric == FAILED && self.a.zip(self.b).is_some_and(|(a, b)| b - a > MORE_FAILING)
    }
}

fn judge(interval: Ratio, more_is_good: bool, max_regress: f64) -> Verdict {
    // As a cost: above 1 is worse.
    let (low, high) = if more_is_good { (1.0 / interval.high, 1.0 / interval.low) } else { (interval.low, interval.high) };
    if low > 1.0 + max_regress {
        Verdict::Worse
    } else if high < 1.0 {
        Verdict::Better
    } else {
        Verdict::Inconclusive
    }
}

/// None of nothing; 0 where one of them is.
fn geometric_mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| (values.iter().map(|value| value.ln()).sum::<f64>() / values.len() as f64).exp())
}

fn notes(a: &BenchReport, b: &BenchReport, metrics: &[MetricComparison], paired: bool) -> Vec<String> {
    let mut notes = Vec::new();
    if let Some(few) = metrics.iter().map(|metric| metric.runs_a.min(metric.runs_b)).min().filter(|few| *few < FEWEST_RUNS) {
        notes.push(format!("{few} run(s) on a side are too few for a verdict: run with --repeat {} or more", FEWEST_RUNS + 2));
    }
    for metric in metrics.iter().filter(|metric| metric.fails_more()) {
        let percent = |ratio: Option<f64>| format!("{:.2} %", ratio.unwrap_or_default() * 100.0);
        notes.push(format!(
            "layer {}: of what was due, {} of B and {} of A failed or was never sent; speeds are of what succeeded",
            metric.layer,
            percent(metric.b),
            percent(metric.a)
        ));
    }
    for (side, here, there) in [("A", a, b), ("B", b, a)] {
        let alone: BTreeSet<&str> = here.layers.iter().map(|layer| layer.layer.as_str()).collect();
        for layer in alone.into_iter().filter(|name| !there.layers.iter().any(|layer| layer.layer == *name)) {
            notes.push(format!("layer {layer} is only in {side}: it was not compared"));
        }
    }
    let differs: [(&str, String, String); 11] = [
        ("workload", a.config.workload.join(" + "), b.config.workload.join(" + ")),
        ("clients", a.config.clients.to_string(), b.config.clients.to_string()),
        ("threads", a.config.threads.to_string(), b.config.threads.to_string()),
        ("instances", a.config.instances.to_string(), b.config.instances.to_string()),
        ("length", length(a), length(b)),
        ("warm-up", format!("{} s", a.config.warmup_seconds), format!("{} s", b.config.warmup_seconds)),
        ("rate", rate(a), rate(b)),
        ("tries", a.config.max_tries.to_string(), b.config.max_tries.to_string()),
        ("protocol", a.config.protocol.clone(), b.config.protocol.clone()),
        ("scale", a.config.scale.to_string(), b.config.scale.to_string()),
        ("cores", a.config.cores.to_string(), b.config.cores.to_string()),
    ];
    for (name, of_a, of_b) in differs {
        if of_a != of_b {
            notes.push(format!("the two differ in {name}: {of_a} and {of_b}"));
        }
    }
    if a.config.server != b.config.server {
        notes.push("the two differ in the server's version or settings".to_string());
    }
    if !paired {
        notes.push(
            "the two were run one after the other: what has changed on the machine since counts too; --interleave runs them side by side"
                .to_string(),
        );
    }
    notes
}

fn length(report: &BenchReport) -> String {
    let asked = match (report.config.seconds, report.config.transactions_per_client) {
        (_, Some(count)) => format!("{count} transactions a client"),
        (Some(seconds), None) => format!("{seconds} s"),
        (None, None) => "not given".to_string(),
    };
    match report.layers.last() {
        Some(last) if report.interrupted => format!("{:.1} s ({asked}, interrupted)", last.seconds),
        _ => asked,
    }
}

fn rate(report: &BenchReport) -> String {
    report.config.rate.map_or("none (the closed model)".to_string(), |rate| format!("{rate}/s"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::report::{LatencyReport, OpenReport};
    use crate::bench::script::Random;

    /// 120 runs of one second, `bench -S -c 10 --repeat 60` twice, in the order they came: tps, p50, p95, p99.
    const RECORDED: &str = include_str!("compare/recorded.csv");

    fn recorded() -> Vec<[f64; 4]> {
        let number = |text: &str| text.parse::<f64>().unwrap();
        let line = |line: &str| <[f64; 4]>::try_from(line.split(',').map(number).collect::<Vec<_>>()).unwrap();
        RECORDED.lines().skip(1).map(line).collect()
    }

    fn report(runs: &[[f64; 4]], slowdown: f64) -> BenchReport {
        let text = include_str!("compare/result.json");
        let mut report: BenchReport = serde_json::from_str(text).unwrap();
        let layer = report.layers[0].clone();
        report.layers = runs
            .iter()
            .map(|[tps, p50, p95, p99]| {
                let mut layer = layer.clone();
                layer.tps = tps / slowdown;
                (layer.latency_ms.p50, layer.latency_ms.p95, layer.latency_ms.p99) =
                    (Some(p50 * slowdown), Some(p95 * slowdown), Some(p99 * slowdown));
                layer
            })
            .collect();
        report
    }

    /// Two sides of `count` runs each, drawn from the recorded ones without one twice.
    fn sides(seed: u64, count: usize) -> (Vec<[f64; 4]>, Vec<[f64; 4]>) {
        let mut runs = recorded();
        let mut random = Random::new(seed);
        for at in (1..runs.len()).rev() {
            runs.swap(at, random.range(0, at as u64) as usize);
        }
        (runs[..count].to_vec(), runs[count..2 * count].to_vec())
    }

    /// As `--interleave` makes them: neighbours in time are a pair, and chance says which of them is A.
    fn pairs(seed: u64, count: usize) -> (Vec<[f64; 4]>, Vec<[f64; 4]>) {
        let mut pairs: Vec<([f64; 4], [f64; 4])> = recorded().chunks(2).map(|pair| (pair[0], pair[1])).collect();
        let mut random = Random::new(seed);
        for at in (0..pairs.len()).rev() {
            pairs.swap(at, random.range(0, at as u64) as usize);
            if random.range(0, 1) == 1 {
                pairs[at] = (pairs[at].1, pairs[at].0);
            }
        }
        pairs.truncate(count);
        pairs.into_iter().unzip()
    }

    fn count(wanted: Verdict, verdict: impl Fn(u64) -> Verdict) -> usize {
        (0..100).filter(|seed| verdict(*seed) == wanted).count()
    }

    fn verdict((a, b): (Vec<[f64; 4]>, Vec<[f64; 4]>), slowdown: f64, paired: bool) -> Verdict {
        compare(&report(&a, 1.0), &report(&b, slowdown), 0.0, paired).unwrap().verdict
    }

    #[test]
    fn what_no_run_can_have_written_is_refused() {
        let good = report(&[[100.0, 1.0, 2.0, 3.0]], 1.0);
        assert!(compare(&good, &good, 0.0, false).is_ok());
        for spoil in [|report: &mut BenchReport| report.schema_version = 0, |report: &mut BenchReport| report.layers[0].tps = -1.0] {
            let mut bad = good.clone();
            spoil(&mut bad);
            assert_eq!(compare(&good, &bad, 0.0, false).err().map(|failure| failure.code), Some("not_a_result"));
        }
    }

    #[test]
    fn the_same_is_not_told_apart() {
        for runs in [5, 7, 10, 20, 40] {
            let apart = count(Verdict::Inconclusive, |seed| verdict(sides(seed, runs), 1.0, false));
            let paired = count(Verdict::Inconclusive, |seed| verdict(pairs(seed, runs), 1.0, true));
            assert!(apart >= 97 && paired >= 97, "{apart} and {paired} of 100 with {runs} runs a side");
        }
    }

    #[test]
    fn a_tenth_slower_is_worse() {
        // The recorded machine was shared with seven others: one run to the next its speed changes by a tenth, within a minute by half.
        let worse = count(Verdict::Worse, |seed| verdict(pairs(seed, 60), 1.0 / 0.9, true));
        assert!(worse >= 95, "{worse} of 100");
        let better = count(Verdict::Better, |seed| verdict(pairs(seed, 60), 0.9, true));
        assert!(better >= 95, "{better} of 100");
    }

    #[test]
    fn few_runs_give_no_verdict_and_say_so() {
        let (a, b) = sides(1, 3);
        let comparison = compare(&report(&a, 1.0), &report(&b, 2.0), 0.0, false).unwrap();
        assert_eq!(comparison.verdict, Verdict::Inconclusive);
        assert!(comparison.notes[0].contains("3 run(s) on a side are too few"), "{:?}", comparison.notes);
    }

    #[test]
    fn who_fails_faster_is_worse() {
        let (a, b) = sides(1, 7);
        let (a, mut b) = (report(&a, 1.0), report(&b, 0.5));
        assert_eq!(compare(&a, &b, 0.0, false).unwrap().verdict, Verdict::Better);
        // Where only some runs fail it is not certain, and no reason to call B better.
        let layers = b.layers.clone();
        for (failing, wanted, percent) in [(7, Verdict::Worse, "50.00"), (2, Verdict::Inconclusive, "14.29")] {
            b.layers = layers.clone();
            b.layers.iter_mut().take(failing).for_each(|layer| layer.errors = layer.transactions);
            let comparison = compare(&a, &b, 0.0, false).unwrap();
            assert_eq!(comparison.verdict, wanted);
            let note = format!("of what was due, {percent} % of B and 0.00 % of A failed or was never sent");
            assert!(comparison.notes[0].contains(&note), "{:?}", comparison.notes);
        }
        // What was never sent is no better than what failed.
        b.layers = layers;
        let open = OpenReport { target_tps: 1.0, not_sent: 1_000_000, dropped_with_warmup: 0, lag_ms: LatencyReport::default() };
        b.layers.iter_mut().for_each(|layer| layer.open = Some(open.clone()));
        assert_eq!(compare(&a, &b, 0.0, false).unwrap().verdict, Verdict::Worse);
    }

    #[test]
    fn what_is_on_one_side_only_or_was_run_otherwise_is_said() {
        let (a, b) = sides(1, 7);
        let (a, mut b) = (report(&a, 1.0), report(&b, 1.0));
        b.layers.push(LayerReport { layer: "l2".to_string(), ..b.layers[0].clone() });
        (b.config.instances, b.config.warmup_seconds, b.config.seconds) = (4, 5.0, Some(2.0));
        let notes = compare(&a, &b, 0.0, false).unwrap().notes.join("\n");
        for note in ["layer l2 is only in B", "in instances: 1 and 4", "in warm-up: 0.2 s and 5 s", "in length: 1 s and 2 s"] {
            assert!(notes.contains(note), "{note}: {notes}");
        }
    }

    #[test]
    fn a_regression_within_what_is_allowed_is_not_worse() {
        let (a, _) = sides(1, 10);
        let verdict = |max| compare(&report(&a, 1.0), &report(&a, 1.04), max, true).unwrap().verdict;
        assert_eq!((verdict(0.0), verdict(0.05)), (Verdict::Worse, Verdict::Inconclusive));
    }
}
