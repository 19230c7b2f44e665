//! Rules tried on scripted series, in the format of promtool's rule tests: the same file can be given to both, with its `rule_files` changed.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;
use serde::Deserialize;
use serde_saphyr::Spanned;

use crate::model::Failure;
use crate::monitor::alert::{Alert, State};
use crate::monitor::bounded::{RULES_BYTES, read_text};
use crate::monitor::document::Document;
use crate::monitor::metric::{Formula, Source, Term};
use crate::monitor::rule::{Wrong, span_ms};
use crate::monitor::series::{Key, Point};
use crate::monitor::{Monitor, OnNoData, Presence, Rule, Rules, Sample, span_text};

/// How often one test may be evaluated.
const TICKS_MOST: usize = 100_000;

/// A file of tests, with the rules that it tries.
#[derive(Debug)]
pub struct Script {
    rules: Rules,
    tests: Vec<Test>,
}

/// One test, of which every part can be tried.
#[derive(Debug)]
struct Test {
    name: String,
    interval_ms: i64,
    series: Vec<Scripted>,
    expected: Vec<Expected>,
    /// Expectations of PromQL.
    not_tried: usize,
}

/// What is expected of one rule at one time.
#[derive(Debug)]
struct Expected {
    at: i64,
    /// The rule's.
    name: String,
    state: Option<State>,
    /// Empty: it does not fire.
    alerts: Vec<ExpectedAlert>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    rule_files: Vec<Spanned<String>>,
    evaluation_interval: Option<Spanned<String>>,
    tests: Spanned<Vec<Spanned<WrittenTest>>>,
    /// promtool's, and of no use here.
    #[serde(default, rename = "group_eval_order")]
    _group_eval_order: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenTest {
    name: Option<String>,
    interval: Option<Spanned<String>>,
    #[serde(default)]
    input_series: Vec<Input>,
    #[serde(default)]
    alert_rule_test: Vec<WrittenExpected>,
    /// PromQL, which only promtool reads.
    #[serde(default)]
    promql_expr_test: Vec<serde::de::IgnoredAny>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Input {
    series: Spanned<String>,
    values: Spanned<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenExpected {
    eval_time: Spanned<String>,
    alertname: Spanned<String>,
    #[serde(default)]
    exp_alerts: Vec<ExpectedAlert>,
    /// More than promtool asks: the very state.
    exp_state: Option<Spanned<String>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
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

const HINT: &str = "The format is that of `promtool test rules`, with candlefish's files as rule_files.";

const KEYS: [&str; 15] = [
    "rule_files",
    "evaluation_interval",
    "tests",
    "name",
    "interval",
    "input_series",
    "series",
    "values",
    "alert_rule_test",
    "eval_time",
    "alertname",
    "exp_alerts",
    "exp_state",
    "exp_labels",
    "exp_annotations",
];

impl Script {
    /// Reads a file of tests with the rules that it names, which lie beside it; the strategy's where it names none.
    ///
    /// # Errors
    /// Something in it is wrong, or would pass without having been tried.
    pub fn read(path: &Path) -> Result<Self> {
        let name = path.display().to_string();
        let text = read_text(path, RULES_BYTES)
            .map_err(|error| Failure::new("rules_not_found", format!("read {name}: {error}")).hint("Name a YAML file of rule tests."))?;
        Self::parse(&text, &name, path.parent().unwrap_or(Path::new(".")))
    }

    fn parse(text: &str, name: &str, folder: &Path) -> Result<Self> {
        let document = Document { name, text, hint: HINT, keys: &KEYS };
        let file: File = document.read()?;
        let mut all: Option<(Rules, Rule)> = None;
        for named in &file.rule_files {
            let (read, built_in) = Rules::read_written(&folder.join(&named.value))?;
            let Some((rules, _)) = &mut all else {
                all = Some((read, built_in));
                continue;
            };
            if let Some(twice) = read.rules.iter().find(|rule| rules.rules.iter().any(|there| there.name == rule.name)) {
                return Err(document.wrong(named, &format!("the alert {} is in another file, too", twice.name)));
            }
            rules.rules.extend(read.rules);
        }
        let rules = all.map_or_else(Rules::strategy, |(rules, built_in)| rules.with(built_in)).each();
        if file.tests.value.is_empty() {
            return Err(document.wrong(&file.tests, "there is no test in it"));
        }
        let read = |(number, test)| Test::read(&document, &rules, file.evaluation_interval.as_ref(), number, test);
        let tests = file.tests.value.iter().enumerate().map(read).collect::<Result<Vec<Test>>>()?;
        if tests.iter().all(|test| test.expected.is_empty()) {
            return Err(document.wrong(&file.tests, "all that is expected is PromQL, which only promtool tries"));
        }
        Ok(Script { rules, tests })
    }

    pub fn run(&self) -> ScriptReport {
        let mut report = ScriptReport::default();
        for test in &self.tests {
            test.run(&self.rules, &mut report);
        }
        report
    }
}

impl Test {
    fn read(
        document: &Document<'_>,
        rules: &Rules,
        evaluation_interval: Option<&Spanned<String>>,
        number: usize,
        written: &Spanned<WrittenTest>,
    ) -> Result<Self> {
        let test = &written.value;
        let name = test.name.clone().unwrap_or_else(|| format!("test {}", number + 1));
        let interval_ms = match test.interval.as_ref().or(evaluation_interval) {
            None => rules.interval_ms.unwrap_or(15_000),
            Some(text) => span_ms(&text.value)
                .filter(|ms| *ms > 0)
                .ok_or_else(|| document.wrong(text, &format!("{:?} is no interval", text.value)))?,
        };
        if test.alert_rule_test.is_empty() && test.promql_expr_test.is_empty() {
            return Err(document.wrong(written, &format!("{name}: it expects nothing: alert_rule_test is missing, or empty")));
        }
        let mut series = Vec::with_capacity(test.input_series.len());
        for input in &test.input_series {
            let key = key(&input.series.value).map_err(|message| document.wrong(&input.series, &format!("{name}: {message}")))?;
            let values = values(&input.values.value)
                .map_err(|wrong| document.wrong_at(&input.values, wrong.at, &format!("{name}: {}", wrong.message)))?;
            series.push((key, values));
        }
        let expected = test
            .alert_rule_test
            .iter()
            .map(|expected| Expected::read(document, rules, &series, interval_ms, &name, expected))
            .collect::<Result<Vec<Expected>>>()?;
        Ok(Test { name, interval_ms, series, expected, not_tried: test.promql_expr_test.len() })
    }

    fn run(&self, rules: &Rules, report: &mut ScriptReport) {
        let last = self.expected.iter().map(|expected| self.tick(expected) + 1).max().unwrap_or(0);
        let ticks = self.series.iter().map(|(_, values)| values.len()).max().unwrap_or(0).max(last);
        let alerts = alerts(rules, &self.series, self.interval_ms, ticks);
        report.tests += 1;
        report.expectations += self.expected.len();
        report.not_tried += self.not_tried;
        let mut before: BTreeMap<String, State> = BTreeMap::new();
        for (tick, at_tick) in alerts.iter().enumerate() {
            for (rule, alert) in rules.rules.iter().zip(at_tick) {
                if before.insert(rule.key(), alert.state).unwrap_or_default() != alert.state {
                    report.transitions.push((self.name.clone(), tick as i64 * self.interval_ms, rule.key(), alert.state));
                }
            }
        }
        for expected in &self.expected {
            let at_tick = rules.rules.iter().zip(&alerts[self.tick(expected)]);
            for (rule, alert) in at_tick.filter(|(rule, _)| rule.name == expected.name) {
                let place = format!("{}: {} at {}", self.name, rule.key(), span_text(expected.at));
                let alerts = expected.alerts_of(rule);
                // Of the alerts of several sources those that are named are meant.
                let is_so = match expected.state.filter(|_| rule.of.is_none() || !alerts.is_empty()) {
                    Some(state) => alert.state == state,
                    None => (alert.state == State::Firing) != alerts.is_empty(),
                };
                if !is_so {
                    let wanted = expected.state.map_or(if alerts.is_empty() { "not firing" } else { "firing" }, State::name);
                    report.failures.push(format!("{place} is {}, and should be {wanted}", alert.state.name()));
                }
                report.failures.extend(differences(rule, alert, &alerts, &place));
            }
        }
    }

    fn tick(&self, expected: &Expected) -> usize {
        (expected.at / self.interval_ms) as usize
    }
}

impl Expected {
    fn read(
        document: &Document<'_>,
        rules: &Rules,
        series: &[Scripted],
        interval_ms: i64,
        test: &str,
        written: &WrittenExpected,
    ) -> Result<Self> {
        let (time, alert) = (&written.eval_time, &written.alertname);
        let wrong = |spanned: &Spanned<String>, message: &str| document.wrong(spanned, &format!("{test}: {message}"));
        let at = span_ms(&time.value).ok_or_else(|| wrong(time, &format!("{:?} is no time", time.value)))?;
        if at / interval_ms >= TICKS_MOST as i64 {
            return Err(wrong(
                time,
                &format!("{:?} is more than {TICKS_MOST} evaluations, one every {}", time.value, span_text(interval_ms)),
            ));
        }
        let of_name: Vec<&Rule> = rules.rules.iter().filter(|rule| rule.name == alert.value).collect();
        if of_name.is_empty() {
            let near = rules.rules.iter().map(|rule| (strsim::damerau_levenshtein(&rule.name, &alert.value), &rule.name)).min();
            let question = near
                .filter(|(distance, name)| *distance <= 3 && distance * 2 < name.len())
                .map_or(String::new(), |(_, name)| format!("; did you mean {name}?"));
            return Err(wrong(alert, &format!("there is no alert {:?}{question}", alert.value)));
        }
        let state = match &written.exp_state {
            None => None,
            Some(said) => Some(
                State::ALL
                    .into_iter()
                    .find(|state| state.name() == said.value)
                    .ok_or_else(|| wrong(said, &format!("{:?} is no state: inactive, pending, firing or resolved", said.value)))?,
            ),
        };
        // What never has a value never fires: that this is so is no finding.
        let expects_silence = state.map_or(written.exp_alerts.is_empty(), |state| state == State::Inactive);
        if expects_silence && !of_name.iter().any(|rule| can_be_judged(rule, series)) {
            let needed: Vec<String> = of_name.iter().copied().map(needed).collect();
            return Err(wrong(alert, &format!("{} reads none of the input series; write {}", alert.value, needed.join(", or "))));
        }
        // Where there is an alert of each source it is not told which one is meant.
        let is_of_none = |expected: &ExpectedAlert| of_name.iter().all(|rule| !expected.is_of(rule));
        let is_stateless = of_name[0].of.is_some() && state.is_some() && written.exp_alerts.is_empty();
        if is_stateless || written.exp_alerts.iter().any(is_of_none) {
            let sources: Vec<&str> = of_name.iter().filter_map(|rule| rule.of).map(Source::name).collect();
            return Err(wrong(
                alert,
                &format!(
                    "{} is an alert of each source: exp_alerts: [{{exp_labels: {{source: …}}}}] names {}",
                    alert.value,
                    sources.join(", ")
                ),
            ));
        }
        Ok(Expected { at, name: alert.value.clone(), state, alerts: written.exp_alerts.clone() })
    }

    /// What is expected of the alert of this rule.
    fn alerts_of(&self, rule: &Rule) -> Vec<&ExpectedAlert> {
        self.alerts.iter().filter(|alert| alert.is_of(rule)).collect()
    }
}

impl ExpectedAlert {
    /// Of several sources' alerts it is that of the source that it names.
    fn is_of(&self, rule: &Rule) -> bool {
        rule.of.is_none_or(|source| self.exp_labels.get("source").is_some_and(|named| named == source.name()))
    }
}

/// Whether a source that the rule asks has all that its value is made of; or that it has not is itself an alarm.
fn can_be_judged(rule: &Rule, series: &[Scripted]) -> bool {
    let is_there = |term: Term| series.iter().any(|(key, _)| term.has(key, &rule.condition.selectors));
    let mut formulas = rule.condition.metric.formulas.iter().map(|(_, formula)| formula);
    rule.on_no_data == OnNoData::Firing || formulas.any(|formula| formula.terms().into_iter().all(is_there))
}

/// What the rule can be judged by.
fn needed(rule: &Rule) -> String {
    let of = |(_, formula): &(Source, Formula)| {
        let families: Vec<&str> = formula.terms().iter().map(|term| term.family).collect();
        families.join(" and ")
    };
    let mut each: Vec<String> = rule.condition.metric.formulas.iter().map(of).collect();
    each.dedup();
    let selectors = rule.condition.selectors_text();
    let labels = if selectors.is_empty() { String::new() } else { format!(" with {{{selectors}}}") };
    format!("{}{labels}", each.join(", or "))
}

/// Labels and annotations that are expected and not so.
fn differences(rule: &Rule, state: &Alert, expected: &[&ExpectedAlert], place: &str) -> Vec<String> {
    let mut found = Vec::new();
    let annotations = rule.annotations(state.held, None);
    let shown = |there: Option<&String>| there.map_or("not there".to_string(), |there| format!("{there:?}"));
    for alert in expected {
        for (name, value) in &alert.exp_labels {
            let there = if name == "severity" { Some(&rule.severity) } else { rule.labels.get(name) };
            if there != Some(value) {
                found.push(format!("{place}: label {name} is {}, and should be {value:?}", shown(there)));
            }
        }
        for (name, value) in &alert.exp_annotations {
            let there = annotations.get(name);
            if there != Some(value) {
                found.push(format!("{place}: annotation {name} is {}, and should be {value:?}", shown(there)));
            }
        }
    }
    found
}

/// Every alert of [`Rules::each`] at every tick, from 0 on, as if all sources were there but those of which `candlefish_source_failed` is 1.
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
            monitor.rules().iter().map(|rule| monitor.alerts.get(&rule.key()).cloned().unwrap_or_default()).collect()
        })
        .collect()
}

/// `family{label="value", …}`
fn key(text: &str) -> Result<Key, String> {
    let (family, rest) = text.trim().split_once('{').unwrap_or((text.trim(), "}"));
    let inside = rest.strip_suffix('}').ok_or_else(|| format!("{text}: this {{ has no }}"))?;
    let mut labels = BTreeMap::new();
    for pair in inside.split(',').filter(|pair| !pair.trim().is_empty()) {
        let (name, value) = pair.split_once('=').ok_or_else(|| format!("{text}: {pair:?} is no label=\"value\""))?;
        labels.insert(name.trim().to_string(), value.trim().trim_matches(['"', '\'']).to_string());
    }
    Ok(Key { family: family.trim().to_string(), labels })
}

/// promtool's notation: `1 2 _ 0+10x3 5x2 _x4 stale`.
fn values(text: &str) -> Result<Vec<Option<f64>>, Wrong> {
    let mut values = Vec::new();
    for word in text.split_whitespace() {
        let at = word.as_ptr() as usize - text.as_ptr() as usize;
        let wrong = || Wrong { at, message: format!("{word:?} is no value: write 1, _, 0+10x5, 7x3 or _x2") };
        let (what, times) = match word.rsplit_once('x') {
            Some((what, times)) if !times.is_empty() => (what, Some(times.parse::<usize>().map_err(|_| wrong())?)),
            _ => (word, None),
        };
        if values.len().saturating_add(times.unwrap_or(1)) > TICKS_MOST {
            return Err(Wrong { at, message: format!("more than {TICKS_MOST} values") });
        }
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
            Some(at) => (&what[..at], what[at..].parse::<f64>().map_err(|_| wrong())?),
            None => (what, 0.0),
        };
        let start: f64 = start.parse().map_err(|_| wrong())?;
        // Added up, as promtool does it.
        values.extend(std::iter::successors(Some(start), |value| Some(value + step)).take(times.unwrap_or(0) + 1).map(Some));
    }
    if values.is_empty() { Err(Wrong { at: 0, message: "there is no value".to_string() }) } else { Ok(values) }
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
    fn of_the_alerts_of_each_source_those_fire_that_are_named() {
        let run = |expected: &str| {
            let series = "- {series: 'candlefish_source_failed{source=\"pgbouncer\"}', values: '0 1x20'}";
            let text = format!(
                "tests:\n- interval: 15s\n  input_series:\n  {series}\n  alert_rule_test:\n  - {{alertname: source_unreadable, {expected}}}\n"
            );
            Script::parse(&text, "x", Path::new(".")).map(|script| script.run().failures).map_err(|error| format!("{error:#}"))
        };
        let of = |source: &str| format!("exp_alerts: [{{exp_labels: {{source: {source}, severity: critical}}}}]");
        assert_eq!(run(&format!("eval_time: 1m15s, {}", of("pgbouncer"))).unwrap(), [""; 0]);
        assert_eq!(run("eval_time: 1m").unwrap(), [""; 0]);
        assert_eq!(run(&format!("eval_time: 1m, exp_state: pending, {}", of("pgbouncer"))).unwrap(), [""; 0]);
        let key = |source: &str| format!("test 1: source_unreadable{{source=\"{source}\"}} at 75s");
        assert_eq!(run("eval_time: 1m15s").unwrap(), [format!("{} is firing, and should be not firing", key("pgbouncer"))]);
        let failures = run(&format!("eval_time: 1m15s, {}", of("instances"))).unwrap();
        let wanted = [
            format!("{} is inactive, and should be firing", key("instances")),
            format!("{} is firing, and should be not firing", key("pgbouncer")),
        ];
        assert_eq!(failures, wanted);
        for expected in ["exp_alerts: [{}]".to_string(), of("redis"), "exp_state: pending".to_string()] {
            let said = run(&format!("eval_time: 1m, {expected}")).unwrap_err();
            assert!(said.contains("names instances, pgbouncer, pg_stat_statements, pg_stat_database"), "{said}");
        }
    }

    #[test]
    fn a_script_is_run_and_says_what_differs() {
        let script = Script::parse(
            "evaluation_interval: 15s\ntests:\n- input_series:\n  - {series: candlefish_pool_in_use, values: '5x3 19x20'}\n  - {series: candlefish_pool_max, values: '20x30'}\n  \
             alert_rule_test:\n  - {eval_time: 1m, alertname: connection_pool_exhaustion, exp_state: pending}\n  - {eval_time: 2m, alertname: connection_pool_exhaustion, \
             exp_alerts: [{exp_labels: {severity: critical}}]}\n  - {eval_time: 1m45s, alertname: connection_pool_exhaustion, exp_alerts: [{}]}\n",
            "x",
            Path::new("."),
        )
        .unwrap();
        let report = script.run();
        assert_eq!((report.tests, report.expectations), (1, 3));
        assert_eq!(report.failures, ["test 1: connection_pool_exhaustion at 105s is pending, and should be firing"]);
        assert_eq!(report.transitions[0].1, 60_000);
        assert_eq!(report.transitions[1], ("test 1".to_string(), 120_000, "connection_pool_exhaustion".to_string(), State::Firing));
    }
}
