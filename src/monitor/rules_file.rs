//! Rules as a YAML file: the strategy's loads as it is.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde::Deserialize;
use serde_saphyr::Spanned;

use crate::model::Failure;
use crate::monitor::bounded::{RULES_BYTES, read_text};
use crate::monitor::document::Document;
use crate::monitor::rule::{Condition, MIN_SAMPLES, OnNoData, Rule, span_ms};

/// The strategy's own alerts, word for word.
const STRATEGY: &str = include_str!("strategy.yaml");

/// Every rule, in the file's order.
#[derive(Clone, Debug)]
pub struct Rules {
    pub rules: Vec<Rule>,
    /// How often they are evaluated, where the file says so.
    pub interval_ms: Option<i64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    interval: Option<Spanned<String>>,
    /// What an alert that does not say otherwise says.
    #[serde(default)]
    defaults: Written,
    alerts: Ordered,
}

/// A map in the order of the file.
struct Ordered(Vec<(Spanned<String>, Written)>);

impl<'de> Deserialize<'de> for Ordered {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Ordered;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("alerts by their names")
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Ordered, A::Error> {
                let mut alerts = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    alerts.push(entry);
                }
                Ok(Ordered(alerts))
            }
        }
        deserializer.deserialize_map(Visitor)
    }
}

/// An alert as it is written.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    condition: Option<Spanned<String>>,
    #[serde(alias = "for")]
    duration: Option<Spanned<String>>,
    keep_firing_for: Option<Spanned<String>>,
    severity: Option<Spanned<String>>,
    min_samples: Option<Spanned<f64>>,
    on_no_data: Option<Spanned<String>>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

impl Rules {
    /// The strategy's.
    pub fn strategy() -> Self {
        Rules::parse(STRATEGY, "the strategy's rules").expect("a unit test reads them")
    }

    pub fn read(path: &Path) -> Result<Self> {
        let (written, built_in) = Rules::read_written(path)?;
        Ok(written.with(built_in))
    }

    /// The rules as they are written, and the built-in alert as their defaults have it.
    pub(super) fn read_written(path: &Path) -> Result<(Self, Rule)> {
        let text = read_text(path, RULES_BYTES).map_err(|error| {
            Failure::new("rules_not_found", format!("read {}: {error}", path.display())).hint("--rules names a YAML file of alerts.")
        })?;
        Rules::written(&text, &path.display().to_string()).context("read the rules")
    }

    /// `name` is what an error calls the text.
    pub fn parse(text: &str, name: &str) -> Result<Self> {
        let (written, built_in) = Rules::written(text, name)?;
        Ok(written.with(built_in))
    }

    /// With the built-in alert, unless one of its name takes its place.
    pub(super) fn with(mut self, built_in: Rule) -> Self {
        if self.rules.iter().all(|rule| rule.name != built_in.name) {
            self.rules.push(built_in);
        }
        self
    }

    fn written(text: &str, name: &str) -> Result<(Self, Rule)> {
        let document = Document { name, text, hint: HINT, keys: &KEYS };
        let file: File = document.read()?;
        let wrong = |spanned: &Spanned<String>, at: usize, message: String| document.wrong_at(spanned, at, &message);
        let span = |written: &Option<Spanned<String>>, default: &Option<Spanned<String>>| -> Result<i64> {
            let Some(written) = written.as_ref().or(default.as_ref()) else { return Ok(0) };
            let is_sane = |ms: &i64| *ms <= SPAN_MOST_MS;
            span_ms(&written.value)
                .filter(is_sane)
                .ok_or_else(|| wrong(written, 0, format!("{:?} is no span of time: write 30s, 2m, 1h; at most 366d", written.value)))
        };
        let interval_ms = match &file.interval {
            None => None,
            Some(written) => match span(&file.interval, &None)? {
                ms if ms >= 100 => Some(ms),
                _ => return Err(wrong(written, 0, format!("{:?} is no interval: at least 100ms", written.value))),
            },
        };
        if file.alerts.0.is_empty() {
            return Err(Failure::new("bad_rules", format!("{name}: there is no alert in it")).hint(HINT).into());
        }
        let mut rules: Vec<Rule> = Vec::new();
        if let Some(condition) = &file.defaults.condition {
            return Err(wrong(condition, 0, "defaults have no condition: each alert has its own".to_string()));
        }
        for (key, written) in &file.alerts.0 {
            if key.value.is_empty() || !key.value.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.')) {
                return Err(wrong(key, 0, format!("{:?} is no name for an alert: letters, digits, _, - and .", key.value)));
            }
            let defaults = &file.defaults;
            let Some(condition) = &written.condition else {
                return Err(wrong(key, 0, format!("the alert {:?} has no condition", key.value)));
            };
            let condition = Condition::parse(&condition.value).map_err(|error| wrong(condition, error.at, error.message))?;
            let severity = match written.severity.as_ref().or(defaults.severity.as_ref()) {
                None => "warning".to_string(),
                Some(severity) if ["info", "warning", "critical"].contains(&severity.value.as_str()) => severity.value.clone(),
                Some(severity) => {
                    return Err(wrong(severity, 0, format!("{:?} is no severity: info, warning or critical", severity.value)));
                }
            };
            let on_no_data = match written.on_no_data.as_ref().or(defaults.on_no_data.as_ref()) {
                None => OnNoData::default(),
                Some(said) => OnNoData::ALL.into_iter().find(|meant| meant.name() == said.value).ok_or_else(|| {
                    wrong(said, 0, format!("{:?} is not what no data can mean: hold, unknown, inactive or firing", said.value))
                })?,
            };
            let min_samples = match written.min_samples.as_ref().or(defaults.min_samples.as_ref()) {
                None => MIN_SAMPLES,
                Some(least) if (0.0..=MIN_SAMPLES_MOST).contains(&least.value) => least.value,
                Some(least) => {
                    return Err(document.wrong(least, &format!("{:?} is no number of events: 0 to 1000000000000", least.value)));
                }
            };
            let over = |defaults: &BTreeMap<String, String>, own: &BTreeMap<String, String>| {
                let mut all = defaults.clone();
                all.extend(own.clone());
                all
            };
            let labels = over(&defaults.labels, &written.labels);
            if let Some(label) = labels.keys().find(|label| !is_label(label)) {
                return Err(wrong(key, 0, format!("{label:?} is no name for a label: letters, digits and _; not alertname or severity")));
            }
            if condition.metric.is_of_sources() && labels.contains_key("source") {
                return Err(wrong(key, 0, "the label \"source\" says which source the alert is about".to_string()));
            }
            let annotations = over(&defaults.annotations, &written.annotations);
            if let Some(name) = annotations.keys().find(|name| !is_word(name)) {
                return Err(wrong(key, 0, format!("{name:?} is no name for an annotation: letters, digits and _")));
            }
            rules.push(Rule {
                for_ms: span(&written.duration, &defaults.duration)?,
                keep_firing_ms: span(&written.keep_firing_for, &defaults.keep_firing_for)?,
                severity,
                labels,
                annotations,
                min_samples,
                on_no_data,
                ..Rule::new(&key.value, condition)
            });
        }
        // Whoever is to hear of all alerts hears of this one.
        let mut built_in = Rule::source_unreadable();
        built_in.labels = file.defaults.labels;
        for (name, text) in file.defaults.annotations {
            built_in.annotations.entry(name).or_insert(text);
        }
        Ok((Rules { rules, interval_ms }, built_in))
    }

    /// The longest window that a rule looks back over.
    pub fn longest_window_ms(&self) -> i64 {
        self.rules.iter().map(|rule| rule.condition.window_ms).max().unwrap_or(0).max(300_000)
    }
}

const HINT: &str = "`candlefish monitor rules check FILE` reads a file of rules; `monitor --help` has the grammar.";

/// More events than any window sees.
const MIN_SAMPLES_MOST: f64 = 1e12;

/// How long a duration may be.
const SPAN_MOST_MS: i64 = 366 * 86_400_000;

fn is_label(label: &str) -> bool {
    is_word(label) && !matches!(label, "alertname" | "severity")
}

fn is_word(name: &str) -> bool {
    name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') && !name.is_empty() && !name.starts_with(|c: char| c.is_ascii_digit())
}

const KEYS: [&str; 13] = [
    "alerts",
    "interval",
    "defaults",
    "condition",
    "duration",
    "for",
    "keep_firing_for",
    "severity",
    "min_samples",
    "on_no_data",
    "labels",
    "annotations",
    "hold",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_strategys_rules_load_as_they_are() {
        let rules = Rules::strategy().rules;
        let shown: Vec<String> =
            rules.iter().map(|rule| format!("{} {} {} {}", rule.name, rule.condition.text, rule.for_ms, rule.severity)).collect();
        assert_eq!(
            shown,
            [
                "database_slow_queries avg_query_time > 100ms 120000 warning",
                "low_cache_hit_ratio cache_hit_ratio < 90% 300000 warning",
                "connection_pool_exhaustion pool_usage > 90% 60000 critical",
                "query_error_rate error_rate > 1% 30000 critical",
                "source_unreadable source_failed > 0 60000 critical",
            ]
        );
    }

    #[test]
    fn errors_have_line_and_column() {
        for (text, place, message) in [
            ("alerts:\n  a:\n    condition: avg_qery_time > 1ms\n", "x:3:16:", "did you mean avg_query_time?"),
            ("alerts:\n  a:\n    condition: \"error_rate > 5ms\"\n", "x:3:31:", "counted in ratios"),
            ("alerts:\n  a: {condition: error_rate > 1%, duration: soon}\n", "x:2:45:", "no span of time"),
            ("alerts:\n  a: {condition: error_rate > 1%, severity: bad}\n", "x:2:45:", "no severity"),
            ("alerts:\n  a:\n    condition: error_rate > 1%\n    durration: 1m\n", "x:4:5:", "did you mean duration?"),
            ("alerts:\n  a: {duration: 1m}\n", "x:2:3:", "the alert \"a\" has no condition"),
            ("defaults: {condition: p95 > 1s}\nalerts:\n  a: {condition: p95 > 1s}\n", "x:1:", "defaults have no condition"),
            ("alerts: [\n", "x:", ""),
            ("alerts:\n  a: {condition: p95 > 1s}\n  a: {condition: p95 > 2s}\n", "x:3:3: duplicate mapping key: a\n", ""),
            ("alerts:\n  a: {condition: p95 > 1s, condition: p95 > 2s}\n", "x:2:", "condition"),
            ("alerts:\n  a: {condition: p95 > 1s}\n---\nalerts: {}\n", "x", "more than one document"),
            ("alerts: word\n", "x:1:9: ", ""),
            ("alerts: {}\n", "x: ", "no alert"),
            ("interval: 0s\nalerts:\n  a: {condition: p95 > 1s}\n", "x:1:11:", "no interval"),
            ("alerts:\n  a: {condition: p95 > 1s, for: 400d}\n", "x:2:33:", "at most 366d"),
            ("alerts:\n  a: {condition: p95 > 1s, min_samples: -5}\n", "x:2:41:", "no number of events"),
            ("alerts:\n  a: {condition: p95 > 1s, min_samples: .nan}\n", "x:2:41:", "no number of events"),
            ("alerts:\n  a: {condition: p95 > 1s, min_samples: 1e300}\n", "x:2:41:", "1e300 is no number of events"),
            ("alerts:\n  a: {condition: p95 > 1s, annotations: {<b>: x}}\n", "x:2:3:", "no name for an annotation"),
            ("alerts:\n  a: {condition: source_failed > 1}\n", "x:2:34:", "source_failed is 0 or 1: this never holds"),
            ("alerts:\n  a: {condition: 'source_failed{source=\"redis\"} > 0'}\n", "x:2:", "this is about no source"),
            ("alerts:\n  a: {condition: source_failed > 0, labels: {source: x}}\n", "x:2:3:", "which source the alert is about"),
            ("alerts:\n  \"a b\": {condition: error_rate > 1%}\n", "x:2:", "no name for an alert"),
        ] {
            let said = format!("{:#}", Rules::parse(text, "x").unwrap_err());
            assert!(
                format!("{said}\n").starts_with(place)
                    && said.contains(message)
                    && !said.contains("Policy")
                    && !said.contains("duplicate field"),
                "{text}\n{said}"
            );
            assert!(!said.contains(" at line "), "{said}");
        }
    }

    #[test]
    fn the_fuller_grammar() {
        let rules = Rules::parse(
            "interval: 10s\ndefaults: {min_samples: 5, on_no_data: inactive, labels: {team: data}}\nalerts:\n  z: {condition: \"p95{instance='a'}[1m] >= 50ms\", for: 1m, keep_firing_for: 5m, labels: {x: y}, annotations: {summary: s}}\n  a: {condition: memory > 200MB, min_samples: 0}\n",
            "x",
        )
        .unwrap();
        assert_eq!(rules.interval_ms, Some(10_000));
        let z = &rules.rules[0];
        assert_eq!(
            (z.name.as_str(), z.for_ms, z.keep_firing_ms, z.min_samples, z.on_no_data),
            ("z", 60_000, 300_000, 5.0, OnNoData::Inactive)
        );
        assert_eq!((z.labels["team"].as_str(), z.labels["x"].as_str(), z.condition.window_ms), ("data", "y", 60_000));
    }
}
