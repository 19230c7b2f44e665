//! Rules tried on scripted series, in the format of promtool's rule tests: the same file can be given to both, with its `rule_files` changed.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

use crate::model::Failure;
use crate::monitor::alert::{Alert, State};
use crate::monitor::bounded::{RULES_BYTES, read_text};
use crate::monitor::metric::Source;
use crate::monitor::rule::span_ms;
use crate::monitor::series::{Key, Point};
use crate::monitor::{Monitor, Presence, Rule, Rules, Sample, span_text};

/// A file of tests.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Script {
    #[serde(default)]
    rule_files: Vec<String>,
    evaluation_interval: Option<String>,
    tests: Vec<Test>,
    /// promtool's, and of no use here.
    #[serde(default, rename = "group_eval_order")]
    _group_eval_order: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Test {
    name: Option<String>,
    interval: Option<String>,
    #[serde(default)]
    input_series: Vec<Input>,
    #[serde(default)]
    alert_rule_test: Vec<Expected>,
    /// PromQL, which only promtool reads.
    #[serde(default)]
    promql_expr_test: Vec<serde::de::IgnoredAny>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Input {
    series: String,
    values: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Expected {
    eval_time: String,
    alertname: String,
    /// Empty: it does not fire.
    #[serde(default)]
    exp_alerts: Vec<ExpectedAlert>,
    /// More than promtool asks: the very state.
    exp_state: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct ExpectedAlert {
    exp_labels: BTreeMap<String, String>,
    exp_annotations: BTreeMap<String, String>,
}

/// What the tests came to.
#[derive(Debug, Default)]
pub struct ScriptReport {
    pub tests: usize,
    pub expectations: usize,
    /// Expectations of PromQL, which only promtool can try.
    pub not_tried: usize,
    pub failures: Vec<String>,
    /// Test, time in milliseconds, alert, and the state it came to.
    pub transitions: Vec<(String, i64, String, State)>,
}

/// A scripted series: a value a tick; None where there is no sample, NaN where the series ends.
pub type Scripted = (Key, Vec<Option<f64>>);

impl Script {
    /// Reads a file of tests with the rules that it names; they lie beside it.
    pub fn read(path: &Path) -> Result<(Self, Rules)> {
        let name = path.display().to_string();
        let text = read_text(path, RULES_BYTES)
            .map_err(|error| Failure::new("rules_not_found", format!("read {name}: {error}")).hint("Name a YAML file of rule tests."))?;
        let script: Script = serde_saphyr::from_str(&text).map_err(|error| {
            let place = error.location().map_or(String::new(), |at| format!(":{}:{}", at.line(), at.column()));
            let said = error.without_snippet().to_string();
            Failure::new("bad_rules", format!("{name}{place}: {}", said.lines().next().unwrap_or_default()))
        })?;
        let mut rules: Option<Rules> = None;
        for file in &script.rule_files {
            let read = Rules::read(&path.parent().unwrap_or(Path::new(".")).join(file))?;
            match &mut rules {
                Some(rules) => rules.rules.extend(read.rules),
                None => rules = Some(read),
            }
        }
        Ok((script, rules.unwrap_or_else(Rules::strategy)))
    }

    pub fn run(&self, rules: &Rules) -> Result<ScriptReport> {
        let mut report = ScriptReport::default();
        for (number, test) in self.tests.iter().enumerate() {
            let name = test.name.clone().unwrap_or_else(|| format!("test {}", number + 1));
            let interval = test.interval.as_ref().or(self.evaluation_interval.as_ref());
            let interval_ms = match interval {
                None => rules.interval_ms.unwrap_or(15_000),
                Some(text) => span_ms(text).filter(|ms| *ms > 0).with_context(|| format!("{name}: {text:?} is no interval"))?,
            };
            let series = test
                .input_series
                .iter()
                .map(|input| Ok((key(&input.series)?, values(&input.values)?)))
                .collect::<Result<Vec<Scripted>>>()
                .with_context(|| format!("read {name}"))?;
            let last = test.alert_rule_test.iter().filter_map(|expected| span_ms(&expected.eval_time)).max().unwrap_or(0);
            let ticks = series.iter().map(|(_, values)| values.len()).max().unwrap_or(0).max((last / interval_ms) as usize + 1);
            let alerts = alerts(rules, &series, interval_ms, ticks);
            report.tests += 1;
            report.not_tried += test.promql_expr_test.len();
            let mut before: BTreeMap<&str, State> = BTreeMap::new();
            for (tick, at_tick) in alerts.iter().enumerate() {
                for (rule, alert) in rules.rules.iter().zip(at_tick) {
                    if before.insert(&rule.name, alert.state).unwrap_or_default() != alert.state {
                        report.transitions.push((name.clone(), tick as i64 * interval_ms, rule.name.clone(), alert.state));
                    }
                }
            }
            for expected in &test.alert_rule_test {
                report.expectations += 1;
                let at = span_ms(&expected.eval_time).with_context(|| format!("{name}: {:?} is no time", expected.eval_time))?;
                let Some(position) = rules.rules.iter().position(|rule| rule.name == expected.alertname) else {
                    bail!(Failure::new("bad_rules", format!("{name}: there is no alert {:?}", expected.alertname)));
                };
                let alert = &alerts[(at / interval_ms) as usize][position];
                let state = alert.state;
                let place = format!("{name}: {} at {}", expected.alertname, span_text(at));
                match &expected.exp_state {
                    Some(wanted) if wanted != state.name() => {
                        report.failures.push(format!("{place} is {}, and should be {wanted}", state.name()));
                    }
                    Some(_) => {}
                    None => {
                        let (fires, should) = (state == State::Firing, !expected.exp_alerts.is_empty());
                        if fires != should {
                            let wanted = if should { "firing" } else { "not firing" };
                            report.failures.push(format!("{place} is {}, and should be {wanted}", state.name()));
                        }
                    }
                }
                report.failures.extend(differences(&rules.rules[position], alert, expected, &place));
            }
        }
        Ok(report)
    }
}

/// Labels and annotations that are expected and not so.
fn differences(rule: &Rule, state: &Alert, expected: &Expected, place: &str) -> Vec<String> {
    let mut found = Vec::new();
    let annotations = rule.annotations(state.held, None);
    for alert in &expected.exp_alerts {
        for (name, value) in &alert.exp_labels {
            let there = if name == "severity" { Some(&rule.severity) } else { rule.labels.get(name) };
            if there != Some(value) {
                found.push(format!("{place}: label {name} is {there:?}, and should be {value:?}"));
            }
        }
        for (name, value) in &alert.exp_annotations {
            let there = annotations.get(name);
            if there != Some(value) {
                found.push(format!("{place}: annotation {name} is {there:?}, and should be {value:?}"));
            }
        }
    }
    found
}

/// Every rule's alert at every tick, from 0 on, as if all sources were there but those of which `candlefish_source_failed` is 1.
pub fn alerts(rules: &Rules, series: &[Scripted], interval_ms: i64, ticks: usize) -> Vec<Vec<Alert>> {
    let mut monitor = Monitor::new(rules.clone(), interval_ms, "a script");
    (0..ticks)
        .map(|tick| {
            let at_tick = |values: &[Option<f64>]| values.get(tick).copied().flatten();
            let point =
                |(key, values): &Scripted| Some(Point { key: key.clone(), value: at_tick(values).filter(|value| !value.is_nan())? });
            let points: Vec<Point> = series.iter().filter_map(point).collect();
            let has_failed = |source: Source| {
                let key = Key::new("candlefish_source_failed", &[("source", source.name())]);
                points.iter().any(|point| point.key == key && point.value > 0.0)
            };
            let presence = Source::ALL.map(|source| match has_failed(source) {
                true => (source, Presence::Failed("as scripted".to_string())),
                false => (source, Presence::There),
            });
            let not_asked = series.iter().filter(|(_, values)| at_tick(values).is_none()).map(|(key, _)| key.clone()).collect();
            monitor.evaluate(Sample { at: tick as i64 * interval_ms, points, not_asked, presence: presence.to_vec(), ..Sample::default() });
            monitor.rules().iter().map(|rule| monitor.alerts.get(&rule.name).cloned().unwrap_or_default()).collect()
        })
        .collect()
}

/// `family{label="value", …}`
fn key(text: &str) -> Result<Key> {
    let (family, rest) = text.trim().split_once('{').unwrap_or((text.trim(), "}"));
    let inside = rest.strip_suffix('}').with_context(|| format!("{text}: this {{ has no }}"))?;
    let mut labels = BTreeMap::new();
    for pair in inside.split(',').filter(|pair| !pair.trim().is_empty()) {
        let (name, value) = pair.split_once('=').with_context(|| format!("{text}: {pair:?} is no label=\"value\""))?;
        labels.insert(name.trim().to_string(), value.trim().trim_matches(['"', '\'']).to_string());
    }
    Ok(Key { family: family.trim().to_string(), labels })
}

/// promtool's notation: `1 2 _ 0+10x3 5x2 _x4 stale`.
fn values(text: &str) -> Result<Vec<Option<f64>>> {
    let mut values = Vec::new();
    for word in text.split_whitespace() {
        let wrong = || format!("{word:?} is no value: write 1, _, 0+10x5, 7x3 or _x2");
        let (what, times) = match word.rsplit_once('x') {
            Some((what, times)) if !times.is_empty() => {
                (what, Some(times.parse::<usize>().ok().filter(|times| *times < 1_000_000).with_context(wrong)?))
            }
            _ => (word, None),
        };
        if what == "stale" {
            values.push(Some(f64::NAN));
            continue;
        }
        if what == "_" {
            values.extend(std::iter::repeat_n(None, times.unwrap_or(1)));
            continue;
        }
        // The sign of a step is not that of the number, nor of its exponent.
        let step_at =
            what.char_indices().skip(1).find(|(at, c)| matches!(c, '+' | '-') && !what[..*at].ends_with(['e', 'E'])).map(|(at, _)| at);
        let (start, step) = match step_at {
            Some(at) => (&what[..at], what[at..].parse::<f64>().ok().with_context(wrong)?),
            None => (what, 0.0),
        };
        let start: f64 = start.parse().ok().with_context(wrong)?;
        // Added up, as promtool does it.
        values.extend(std::iter::successors(Some(start), |value| Some(value + step)).take(times.unwrap_or(0) + 1).map(Some));
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn promtools_notation() {
        let read = |text: &str| values(text).unwrap();
        assert_eq!(read("1 _ 0+10x2"), [Some(1.0), None, Some(0.0), Some(10.0), Some(20.0)]);
        assert_eq!(read("5x2 3-1x1 _x2"), [Some(5.0), Some(5.0), Some(5.0), Some(3.0), Some(2.0), None, None]);
        assert_eq!(read("1e-3+1e2x1"), [Some(0.001), Some(100.001)]);
        assert!(values("x").is_err() && values("1+x2").is_err() && values("1x99999999999").is_err());
        assert_eq!(key("a{b=\"c\", d='e'}").unwrap(), Key::new("a", &[("b", "c"), ("d", "e")]));
        assert_eq!(key("a").unwrap(), Key::new("a", &[]));
    }

    #[test]
    fn a_script_is_run_and_says_what_differs() {
        let script: Script = serde_saphyr::from_str(
            "evaluation_interval: 15s\ntests:\n- input_series:\n  - {series: candlefish_pool_in_use, values: '5x3 19x20'}\n  - {series: candlefish_pool_max, values: '20x30'}\n  \
             alert_rule_test:\n  - {eval_time: 1m, alertname: connection_pool_exhaustion, exp_state: pending}\n  - {eval_time: 2m, alertname: connection_pool_exhaustion, \
             exp_alerts: [{exp_labels: {severity: critical}}]}\n  - {eval_time: 1m45s, alertname: connection_pool_exhaustion, exp_alerts: [{}]}\n",
        )
        .unwrap();
        let report = script.run(&Rules::strategy()).unwrap();
        assert_eq!((report.tests, report.expectations), (1, 3));
        assert_eq!(report.failures, ["test 1: connection_pool_exhaustion at 105s is pending, and should be firing"]);
        assert_eq!(report.transitions[0].1, 60_000);
        assert_eq!(report.transitions[1], ("test 1".to_string(), 120_000, "connection_pool_exhaustion".to_string(), State::Firing));
    }
}
