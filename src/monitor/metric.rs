//! What rules speak of: each metric with its unit, its usual window, and how it is made from what each source counts. The same table gives a value
//! here and an expression to Prometheus.

use crate::model::Unit;
use crate::monitor::series::{Key, Selector, Series};

/// Who counts. In the order in which a metric asks them: the first that is there answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// The live instances of the data layer, by what they leave in Redis.
    Instances,
    Pgbouncer,
    Statements,
    Database,
}

impl Source {
    pub const ALL: [Source; 4] = [Source::Instances, Source::Pgbouncer, Source::Statements, Source::Database];

    pub fn name(self) -> &'static str {
        match self {
            Source::Instances => "instances",
            Source::Pgbouncer => "pgbouncer",
            Source::Statements => "pg_stat_statements",
            Source::Database => "pg_stat_database",
        }
    }
}

/// A number that a rule can be about.
#[derive(Debug)]
pub struct Metric {
    pub name: &'static str,
    pub about: &'static str,
    /// Milliseconds here are seconds in Prometheus.
    pub unit: Unit,
    /// Where a rule names none; 0 for what has no window.
    pub window_ms: i64,
    pub formulas: &'static [(Source, Formula)],
}

/// How a source gives it.
#[derive(Debug)]
pub enum Formula {
    /// Sum of rates over sum of rates.
    Ratio { of: &'static [Term], over: &'static [Term] },
    /// A quantile of a histogram.
    Quantile(f64, &'static str),
    /// The greatest of one gauge over another.
    MostUsed { of: &'static str, over: &'static str },
    /// The greatest.
    Greatest(&'static str),
}

/// A family, or its part with one label.
#[derive(Clone, Copy, Debug)]
pub struct Term {
    pub family: &'static str,
    pub only: Option<(&'static str, &'static str)>,
}

const fn all(family: &'static str) -> Term {
    Term { family, only: None }
}

const fn of_layer(family: &'static str, layer: &'static str) -> Term {
    Term { family, only: Some(("layer", layer)) }
}

const LATENCY: &str = "candlefish_query_duration_seconds_bucket";

const fn quantile(name: &'static str, q: &'static [(Source, Formula)], about: &'static str) -> Metric {
    Metric { name, about, unit: Unit::Milliseconds, window_ms: 300_000, formulas: q }
}

const fn layer(name: &'static str, about: &'static str, formulas: &'static [(Source, Formula)]) -> Metric {
    Metric { name, about, unit: Unit::Ratio, window_ms: 300_000, formulas }
}

pub const METRICS: [Metric; 10] = [
    Metric {
        name: "avg_query_time",
        about: "mean time of a call, from whatever layer; of PgBouncer and pg_stat_statements: of a statement",
        unit: Unit::Milliseconds,
        window_ms: 120_000,
        formulas: &[
            (
                Source::Instances,
                Formula::Ratio {
                    of: &[all("candlefish_query_duration_seconds_sum")],
                    over: &[all("candlefish_query_duration_seconds_count")],
                },
            ),
            (
                Source::Pgbouncer,
                Formula::Ratio {
                    of: &[all("candlefish_pgbouncer_query_seconds_total")],
                    over: &[all("candlefish_pgbouncer_queries_total")],
                },
            ),
            (
                Source::Statements,
                Formula::Ratio { of: &[all("candlefish_statement_seconds_total")], over: &[all("candlefish_statements_total")] },
            ),
        ],
    },
    quantile("p50", &[(Source::Instances, Formula::Quantile(0.5, LATENCY))], "half of the calls are faster"),
    quantile("p95", &[(Source::Instances, Formula::Quantile(0.95, LATENCY))], "19 of 20 calls are faster"),
    quantile("p99", &[(Source::Instances, Formula::Quantile(0.99, LATENCY))], "99 of 100 calls are faster"),
    Metric {
        name: "cache_hit_ratio",
        about: "lookups that memory or Redis answered; of the database: blocks found in shared buffers, catalogs apart",
        unit: Unit::Ratio,
        window_ms: 300_000,
        formulas: &[
            (
                Source::Instances,
                Formula::Ratio { of: &[all("candlefish_cache_answered_total")], over: &[all("candlefish_cache_requests_total")] },
            ),
            (
                Source::Database,
                Formula::Ratio {
                    of: &[all("candlefish_pg_blocks_hit_total")],
                    over: &[all("candlefish_pg_blocks_hit_total"), all("candlefish_pg_blocks_read_total")],
                },
            ),
        ],
    },
    layer(
        "l1_hit_ratio",
        "lookups that memory answered",
        &[(
            Source::Instances,
            Formula::Ratio {
                of: &[of_layer("candlefish_cache_hits_total", "l1")],
                over: &[of_layer("candlefish_cache_lookups_total", "l1")],
            },
        )],
    ),
    layer(
        "l2_hit_ratio",
        "lookups that reached Redis and were answered there",
        &[(
            Source::Instances,
            Formula::Ratio {
                of: &[of_layer("candlefish_cache_hits_total", "l2")],
                over: &[of_layer("candlefish_cache_lookups_total", "l2")],
            },
        )],
    ),
    Metric {
        name: "pool_usage",
        about: "connections in use of those that may be, in the fullest pool; of the database: sessions of those that it allows",
        unit: Unit::Ratio,
        window_ms: 0,
        formulas: &[
            (Source::Instances, Formula::MostUsed { of: "candlefish_pool_in_use", over: "candlefish_pool_max" }),
            (Source::Pgbouncer, Formula::MostUsed { of: "candlefish_pgbouncer_servers_in_use", over: "candlefish_pgbouncer_servers_max" }),
            (Source::Database, Formula::MostUsed { of: "candlefish_pg_connections", over: "candlefish_pg_connections_max" }),
        ],
    },
    Metric {
        name: "error_rate",
        about: "calls that failed for good; of the database: transactions that were rolled back, a deliberate ROLLBACK among them",
        unit: Unit::Ratio,
        window_ms: 60_000,
        formulas: &[
            (
                Source::Instances,
                Formula::Ratio { of: &[all("candlefish_query_failures_total")], over: &[all("candlefish_query_duration_seconds_count")] },
            ),
            (
                Source::Database,
                Formula::Ratio {
                    of: &[all("candlefish_pg_rollbacks_total")],
                    over: &[all("candlefish_pg_commits_total"), all("candlefish_pg_rollbacks_total")],
                },
            ),
        ],
    },
    Metric {
        name: "memory",
        about: "resident memory of the largest instance",
        unit: Unit::Bytes,
        window_ms: 0,
        formulas: &[(Source::Instances, Formula::Greatest("candlefish_resident_memory_bytes"))],
    },
];

/// That a source cannot be read. Not one number but, as in Prometheus, a series of each source, and so an alert of each.
pub static SOURCE_FAILED: Metric = Metric {
    name: "source_failed",
    about: "1 while a source that is named, or was read before, cannot be read; an alert for each source",
    unit: Unit::Count,
    window_ms: 0,
    formulas: &[(Source::Instances, FAILED), (Source::Pgbouncer, FAILED), (Source::Statements, FAILED), (Source::Database, FAILED)],
};

const FAILED: Formula = Formula::Greatest("candlefish_source_failed");

impl Metric {
    /// It has a series of each source.
    pub fn is_of_sources(&self) -> bool {
        self.name == SOURCE_FAILED.name
    }

    /// The greatest that it can be, in Prometheus's units. A database may have more sessions than it allows: superusers'.
    pub fn most(&self) -> Option<f64> {
        (self.is_of_sources() || (self.unit == Unit::Ratio && self.name != "pool_usage")).then_some(1.0)
    }

    /// What it can be, in words.
    pub fn reach_text(&self) -> &'static str {
        match self.most() {
            Some(_) if self.unit == Unit::Ratio => "between 0 and 100 %",
            Some(_) => "0 or 1",
            None => "0 or more",
        }
    }
}

/// The metric of this name; a KPI's name for the pool is one of it.
pub fn find(name: &str) -> Option<&'static Metric> {
    let name = if name == "pool_utilization" { "pool_usage" } else { name };
    METRICS.iter().chain([&SOURCE_FAILED]).find(|metric| metric.name == name)
}

/// What a formula says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Measured {
    /// In Prometheus's units: seconds, ratios, bytes. NaN: nothing happened in the window.
    pub value: f64,
    /// How many events the value is of; none for gauges.
    pub events: Option<f64>,
}

impl Formula {
    /// What it needs all of.
    pub fn terms(&self) -> Vec<Term> {
        match self {
            Formula::Ratio { of, over } => of.iter().chain(*over).copied().collect(),
            Formula::MostUsed { of, over } => vec![all(of), all(over)],
            Formula::Quantile(_, family) | Formula::Greatest(family) => vec![all(family)],
        }
    }

    /// None when the source has no series for it (yet).
    pub fn evaluate(&self, series: &Series, selectors: &[Selector], at: i64, window_ms: i64) -> Option<Measured> {
        let seconds = window_ms as f64 / 1000.0;
        match self {
            Formula::Ratio { of, over } => {
                let sum = |terms: &[Term]| terms.iter().map(|term| term.sum_rate(series, selectors, at, window_ms)).sum::<Option<f64>>();
                let over = sum(over)?;
                Some(Measured { value: sum(of)? / over, events: Some(over * seconds) })
            }
            Formula::Quantile(q, family) => {
                let value = series.quantile(*q, family, selectors, at, window_ms)?;
                let count = family.replace("_bucket", "_count");
                Some(Measured { value, events: series.sum_rate(&count, selectors, at, window_ms).map(|rate| rate * seconds) })
            }
            Formula::MostUsed { of, over } => {
                let whole = series.instant(over, selectors, at);
                let used = series.instant(of, selectors, at).into_iter().filter_map(|(labels, part)| {
                    let (_, most) = whole.iter().find(|(there, most)| *there == labels && *most > 0.0)?;
                    Some(part / most)
                });
                Some(Measured { value: used.reduce(f64::max)?, events: None })
            }
            Formula::Greatest(family) => {
                let value = series.instant(family, selectors, at).into_iter().map(|(_, value)| value).reduce(f64::max)?;
                Some(Measured { value, events: None })
            }
        }
    }

    /// The same for Prometheus.
    pub fn promql(&self, selectors: &[Selector], window: &str) -> String {
        let sum = |terms: &[Term]| terms.iter().map(|term| term.promql(selectors, window)).collect::<Vec<_>>().join(" + ");
        let grouped = |terms: &[Term]| if terms.len() > 1 { format!("({})", sum(terms)) } else { sum(terms) };
        match self {
            Formula::Ratio { of, over } => format!("{} / {}", grouped(of), grouped(over)),
            Formula::Quantile(q, family) => {
                format!("histogram_quantile({q}, sum by (le) (rate({family}{}[{window}])))", matchers(None, selectors))
            }
            Formula::MostUsed { of, over } => {
                let matchers = matchers(None, selectors);
                format!("max({of}{matchers} / ({over}{matchers} > 0))")
            }
            Formula::Greatest(family) => format!("max({family}{})", matchers(None, selectors)),
        }
    }

    /// How many events, for Prometheus.
    pub fn events_promql(&self, selectors: &[Selector], window: &str) -> Option<String> {
        let increase = |family: &str, only| format!("sum(increase({family}{}[{window}]))", matchers(only, selectors));
        match self {
            Formula::Ratio { over, .. } => Some(over.iter().map(|term| increase(term.family, term.only)).collect::<Vec<_>>().join(" + ")),
            Formula::Quantile(_, family) => Some(increase(&family.replace("_bucket", "_count"), None)),
            _ => None,
        }
    }
}

impl Term {
    /// Whether a series is one of these.
    pub fn has(&self, key: &Key, selectors: &[Selector]) -> bool {
        let is_part = self.only.is_none_or(|(label, value)| key.labels.get(label).is_some_and(|there| there == value));
        key.family == self.family && is_part && selectors.iter().all(|selector| selector.matches(&key.labels))
    }

    fn sum_rate(&self, series: &Series, selectors: &[Selector], at: i64, window_ms: i64) -> Option<f64> {
        match self.only {
            None => series.sum_rate(self.family, selectors, at, window_ms),
            Some((label, value)) => {
                let mut selectors = selectors.to_vec();
                selectors.push(Selector { label: label.to_string(), value: value.to_string(), equal: true });
                series.sum_rate(self.family, &selectors, at, window_ms)
            }
        }
    }

    fn promql(&self, selectors: &[Selector], window: &str) -> String {
        format!("sum(rate({}{}[{window}]))", self.family, matchers(self.only, selectors))
    }
}

pub(super) fn matchers(only: Option<(&str, &str)>, selectors: &[Selector]) -> String {
    let fixed = only.map(|(label, value)| format!("{label}=\"{value}\""));
    let asked = selectors.iter().map(|selector| {
        let sign = if selector.equal { "=" } else { "!=" };
        format!("{}{sign}\"{}\"", selector.label, selector.value.replace('\\', "\\\\").replace('"', "\\\""))
    });
    let all: Vec<String> = fixed.into_iter().chain(asked).collect();
    if all.is_empty() { String::new() } else { format!("{{{}}}", all.join(",")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::KPIS;

    #[test]
    fn every_kpi_is_a_metric_of_the_same_unit() {
        for kpi in KPIS {
            assert_eq!(find(kpi.name).map(|metric| metric.unit), Some(kpi.unit), "{}", kpi.name);
        }
    }
}
