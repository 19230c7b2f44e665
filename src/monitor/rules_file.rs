//! Rules as a YAML file: the strategy's loads as it is.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Error, Result};
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
#[derive(Default)]
struct Written {
    condition: Option<Spanned<String>>,
    duration: Option<Spanned<String>>,
    keep_firing_for: Option<Spanned<String>>,
    severity: Option<Spanned<String>>,
    min_samples: Option<Spanned<f64>>,
    on_no_data: Option<Spanned<String>>,
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
    /// What nobody reads: each is a mistake, and none hides the next.
    unknown: Vec<Spanned<String>>,
}

impl<'de> Deserialize<'de> for Written {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Written;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("what an alert says")
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Written, A::Error> {
                let mut written = Written::default();
                let (mut has_labels, mut has_annotations) = (false, false);
                while let Some(key) = map.next_key::<Spanned<String>>()? {
                    let is_second = match key.value.as_str() {
                        "condition" => written.condition.replace(map.next_value()?).is_some(),
                        "duration" | "for" => written.duration.replace(map.next_value()?).is_some(),
                        "keep_firing_for" => written.keep_firing_for.replace(map.next_value()?).is_some(),
                        "severity" => written.severity.replace(map.next_value()?).is_some(),
                        "min_samples" => written.min_samples.replace(map.next_value()?).is_some(),
                        "on_no_data" => written.on_no_data.replace(map.next_value()?).is_some(),
                        "labels" => {
                            written.labels = map.next_value()?;
                            std::mem::replace(&mut has_labels, true)
                        }
                        "annotations" => {
                            written.annotations = map.next_value()?;
                            std::mem::replace(&mut has_annotations, true)
                        }
                        _ => {
                            map.next_value::<serde::de::IgnoredAny>()?;
                            written.unknown.push(key.clone());
                            false
                        }
                    };
                    if is_second {
                        return Err(serde::de::Error::custom(format!("duplicate field `{}`", key.value)));
                    }
                }
                Ok(written)
            }
        }
        deserializer.deserialize_map(Visitor)
    }
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
            Failure::new("rules_not_found", format!("read {}: {error}", path.display()))
                .hint("Name a YAML file of alerts, as `candlefish monitor --help` shows one.")
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
        let mut mistakes = Mistakes::default();
        let interval_ms = file.interval.as_ref().and_then(|written| {
            mistakes.keep(span(&document, written).and_then(|ms| match ms {
                100.. => Ok(ms),
                _ => Err(document.wrong_at(written, 0, &format!("{:?} is no interval: at least 100ms", written.value))),
            }))
        });
        if let Some(condition) = &file.defaults.condition {
            mistakes.add(document.wrong_at(condition, 0, "defaults have no condition: each alert has its own"));
        }
        mistakes.add_unknown(&document, &file.defaults);
        if file.alerts.0.is_empty() {
            mistakes.add(Failure::new("bad_rules", format!("{name}: there is no alert in it")).hint(HINT).into());
        }
        let each = file.alerts.0.iter().filter_map(|(key, written)| rule(&document, key, written, &file.defaults, &mut mistakes));
        let rules = each.collect();
        mistakes.none_or_all(name)?;
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

/// All that is wrong in a file: whoever mends it wants to know at once, and not of one mistake a run.
#[derive(Default)]
struct Mistakes(Vec<Error>);

impl Mistakes {
    /// What is wrong with the defaults is wrong with every alert, and said once.
    fn add(&mut self, mistake: Error) {
        if self.0.iter().all(|there| there.to_string() != mistake.to_string()) {
            self.0.push(mistake);
        }
    }

    fn keep<T>(&mut self, read: Result<T>) -> Option<T> {
        read.map_err(|mistake| self.add(mistake)).ok()
    }

    fn add_unknown(&mut self, document: &Document<'_>, written: &Written) {
        for key in &written.unknown {
            let near = document.near(&key.value).map_or(String::new(), |near| format!("; did you mean {near}?"));
            self.add(document.wrong_at(key, 0, &format!("an alert has no {:?}{near}", key.value)));
        }
    }

    fn none_or_all(mut self, name: &str) -> Result<()> {
        match self.0.len() {
            0 => Ok(()),
            1 => Err(self.0.swap_remove(0)),
            count => {
                // As one reads the file.
                self.0.sort_by_key(|mistake| place(&mistake.to_string(), name));
                let each: Vec<String> = self.0.iter().map(|mistake| format!("\n  {mistake}")).collect();
                Err(Failure::new("bad_rules", format!("{name} has {count} mistakes:{}", each.concat())).hint(HINT).into())
            }
        }
    }
}

/// Line and column of `name:line:column: …`.
fn place(said: &str, name: &str) -> (u64, u64) {
    let mut numbers = said.strip_prefix(name).unwrap_or_default().split(':').skip(1).map_while(|part| part.parse().ok());
    (numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default())
}

fn span(document: &Document<'_>, written: &Spanned<String>) -> Result<i64> {
    let wrong = || document.wrong_at(written, 0, &format!("{:?} is no span of time: write 30s, 2m, 1h; at most 366d", written.value));
    span_ms(&written.value).filter(|ms| *ms <= SPAN_MOST_MS).ok_or_else(wrong)
}

/// The rule that an alert of the file makes; none where something is wrong with it.
fn rule(document: &Document<'_>, key: &Spanned<String>, written: &Written, defaults: &Written, mistakes: &mut Mistakes) -> Option<Rule> {
    let wrong = |spanned: &Spanned<String>, message: String| document.wrong_at(spanned, 0, &message);
    if key.value.is_empty() || !key.value.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.')) {
        mistakes.add(wrong(key, format!("{:?} is no name for an alert: letters, digits, _, - and .", key.value)));
    }
    mistakes.add_unknown(document, written);
    let condition = mistakes.keep(match &written.condition {
        None => Err(wrong(key, format!("the alert {:?} has no condition", key.value))),
        Some(said) => Condition::parse(&said.value).map_err(|error| document.wrong_at(said, error.at, &error.message)),
    });
    let severity = mistakes.keep(match written.severity.as_ref().or(defaults.severity.as_ref()) {
        None => Ok("warning".to_string()),
        Some(said) if ["info", "warning", "critical"].contains(&said.value.as_str()) => Ok(said.value.clone()),
        Some(said) => Err(wrong(said, format!("{:?} is no severity: info, warning or critical", said.value))),
    });
    let on_no_data = mistakes.keep(match written.on_no_data.as_ref().or(defaults.on_no_data.as_ref()) {
        None => Ok(OnNoData::default()),
        Some(said) => OnNoData::ALL
            .into_iter()
            .find(|meant| meant.name() == said.value)
            .ok_or_else(|| wrong(said, format!("{:?} is not what no data can mean: hold, unknown, inactive or firing", said.value))),
    });
    let min_samples = mistakes.keep(match written.min_samples.as_ref().or(defaults.min_samples.as_ref()) {
        None => Ok(MIN_SAMPLES),
        Some(least) if (0.0..=MIN_SAMPLES_MOST).contains(&least.value) => Ok(least.value),
        Some(least) => Err(document.wrong(least, &format!("{:?} is no number of events: 0 to 1000000000000", least.value))),
    });
    let over = |defaults: &BTreeMap<String, String>, own: &BTreeMap<String, String>| {
        let mut all = defaults.clone();
        all.extend(own.clone());
        all
    };
    let labels = over(&defaults.labels, &written.labels);
    for label in labels.keys().filter(|label| !is_label(label)) {
        mistakes.add(wrong(key, format!("{label:?} is no name for a label: letters, digits and _; not alertname or severity")));
    }
    if condition.as_ref().is_some_and(|condition| condition.metric.is_of_sources()) && labels.contains_key("source") {
        mistakes.add(wrong(key, "the label \"source\" says which source the alert is about".to_string()));
    }
    let annotations = over(&defaults.annotations, &written.annotations);
    for name in annotations.keys().filter(|name| !is_word(name)) {
        mistakes.add(wrong(key, format!("{name:?} is no name for an annotation: letters, digits and _")));
    }
    let mut span = |own: &Option<Spanned<String>>, default: &Option<Spanned<String>>| {
        own.as_ref().or(default.as_ref()).map_or(Some(0), |said| mistakes.keep(span(document, said)))
    };
    let for_ms = span(&written.duration, &defaults.duration);
    let keep_firing_ms = span(&written.keep_firing_for, &defaults.keep_firing_for);
    Some(Rule {
        for_ms: for_ms?,
        keep_firing_ms: keep_firing_ms?,
        severity: severity?,
        labels,
        annotations,
        min_samples: min_samples?,
        on_no_data: on_no_data?,
        ..Rule::new(&key.value, condition?)
    })
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
    fn every_mistake_is_told_at_once() {
        let text = "interval: 0s\ndefaults: {severity: bad, colour: red}\nalerts:\n  a:\n    condition: avg_qery_time > 1ms\n    durration: 1m\n  \
                    b: {condition: p95 > 1, for: soon}\n  c: {condition: error_rate > 1%, on_no_data: never, severity: info}\n  d: {}\n";
        let said = format!("{:#}", Rules::parse(text, "x").unwrap_err());
        let (first, rest) = said.split_once('\n').unwrap();
        assert_eq!(first, "x has 9 mistakes:");
        let places: Vec<&str> = rest.lines().map(|line| line.trim().split(": ").next().unwrap()).collect();
        assert_eq!(places, ["x:1:11", "x:2:22", "x:2:27", "x:5:16", "x:6:5", "x:7:25", "x:7:32", "x:8:47", "x:9:3"], "{said}");
        assert!(said.contains("did you mean duration?") && said.contains("did you mean avg_query_time?"), "{said}");
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
