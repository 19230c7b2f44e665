//! The strategy's table of expected improvements, with measured numbers in it.

use serde::{Deserialize, Serialize};

use crate::bench::report::{BenchReport, LayerReport};
use crate::model::{KPIS, Unit};

/// One line: what the strategy says of the file and of the target, and what both came to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Improvement {
    pub metric: String,
    /// `ms`, `ratio`, `bytes`, or none for a count.
    pub unit: Option<String>,
    /// In the strategy's words.
    pub expected_current: String,
    pub expected_target: String,
    /// Of layer sqlite.
    pub current: Option<f64>,
    /// Of the last layer of the data layer that ran.
    pub target: Option<f64>,
}

impl Improvement {
    /// How many times as much it is now; none where one of both is not known or nothing.
    pub fn factor(&self) -> Option<f64> {
        let (current, target) = self.current.zip(self.target)?;
        (current > 0.0 && target > 0.0).then(|| target / current)
    }
}

type Read = fn(&LayerReport) -> Option<f64>;

/// Metric, unit, the strategy's numbers, and how each is read of a layer's report. Connections are those in use at once, of one instance.
const TABLE: [(&str, Option<Unit>, &str, &str, Read); 7] = [
    ("query response time (p95)", Some(Unit::Milliseconds), "200-500 ms", "< 50 ms", |layer| layer.latency_ms.p95),
    ("concurrent users", None, "10-20", "200+", served),
    ("queries a second", None, "-", "> 1,000", |layer| Some(layer.tps)),
    ("cache hit ratio", Some(Unit::Ratio), "0 %", "> 95 %", |layer| match &layer.answered {
        Some(answered) => Some(1.0 - answered.database? - answered.coalesced?),
        None => Some(0.0),
    }),
    ("database connections", None, "1", "20 pooled", |layer| match &layer.pool {
        Some(pool) => Some(pool.peak_in_use as f64),
        None => Some(1.0),
    }),
    ("memory", Some(Unit::Bytes), "50 MB", "150 MB", |layer| layer.rss_bytes.map(|bytes| bytes as f64)),
    ("error rate", Some(Unit::Ratio), "5 %", "< 0.1 %", |layer| layer.error_rate),
];

/// The clients, where they were served as the strategy wants its users served; how many would have been is not known where they were not.
fn served(layer: &LayerReport) -> Option<f64> {
    let holds =
        |name: &str, value: Option<f64>| KPIS.iter().find(|kpi| kpi.name == name).zip(value).is_some_and(|(kpi, value)| kpi.is_met(value));
    (holds("p95", layer.latency_ms.p95) && holds("error_rate", layer.error_rate)).then_some(layer.clients as f64)
}

/// Empty unless the file and the data layer were both measured.
pub fn table(report: &BenchReport) -> Vec<Improvement> {
    let last = |of: fn(&LayerReport) -> bool| report.layers.iter().rev().find(|layer| of(layer));
    let (Some(current), Some(target)) = (last(|layer| layer.layer == "sqlite"), last(|layer| layer.answered.is_some())) else {
        return Vec::new();
    };
    let line = |(metric, unit, expected_current, expected_target, read): &(&str, Option<Unit>, &str, &str, Read)| Improvement {
        metric: metric.to_string(),
        unit: unit.map(|unit| unit.short().to_string()),
        expected_current: expected_current.to_string(),
        expected_target: expected_target.to_string(),
        current: read(current),
        target: read(target),
    };
    TABLE.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::report::AnsweredReport;
    use crate::bench::store_watch::PoolReport;

    #[test]
    fn what_was_asked_for_is_not_what_was_measured() {
        let mut report: BenchReport = serde_json::from_str(include_str!("compare/result.json")).unwrap();
        let mut file = LayerReport { layer: "sqlite".to_string(), clients: 200, error_rate: Some(0.0), ..report.layers[0].clone() };
        file.latency_ms.p95 = Some(400.0);
        let pool = PoolReport { max: 20, peak_in_use: 7, ..PoolReport::default() };
        let mut cached = LayerReport { answered: Some(AnsweredReport::default()), pool: Some(pool), ..file.clone() };
        (cached.layer, cached.latency_ms.p95) = ("cached".to_string(), Some(2.0));
        report.layers = vec![file, cached];
        let table = table(&report);
        let line = |metric: &str| table.iter().find(|line| line.metric == metric).map(|line| (line.current, line.target)).unwrap();
        assert_eq!(line("concurrent users"), (None, Some(200.0)), "the file did not serve them");
        assert_eq!(line("database connections"), (Some(1.0), Some(7.0)));
        report.layers[1].error_rate = Some(0.5);
        assert_eq!(super::table(&report)[1].target, None);
    }
}
