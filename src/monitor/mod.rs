//! The watch: metrics from the first source that is there, rules in Prometheus's states, alerts told to whoever is to know.
//!
//! ```text
//! Sampler::sample   instances (Redis) · PgBouncer · pg_stat_statements · pg_stat_database → points, and which source was there
//! Monitor::evaluate points → series → each rule's condition → alerts' states → Status, and what to tell
//! cli               Status → render (table, JSON, Nagios) · served (axum) · state file · Webhook
//! ```
//!
//! A metric is one table row ([`METRICS`]): a value here, an expression for Prometheus in [`export`]. That a source cannot be read is an alert as any
//! other ([`SOURCE_UNREADABLE`]), which no file of rules has to have.

mod alert;
mod bounded;
mod document;
pub mod export;
mod exposition;
mod metric;
mod outcome;
mod report;
mod rule;
mod rules_file;
mod sample;
mod script;
mod seats;
mod series;
mod serve;
mod state_file;
mod teller;
mod template;
mod unreadable;
mod webhook;

use std::collections::{BTreeMap, VecDeque};

pub use alert::{Alert, Change, State};
pub use bounded::{TOKEN_BYTES, read_text};
pub use metric::{METRICS, Metric, Source};
pub use outcome::HOLD_MS;
pub use report::{AlertReport, HistoryPoint, KpiReport, MetricReport, Shown, SourceReport, Status};
pub use rule::{Condition, OnNoData, Rule, Sign, span_text};
pub use rules_file::Rules;
pub use sample::{Connections, PoolFact, Presence, Sample, Sampler, SlowQuery};
pub use script::{Script, ScriptReport, Scripted};
pub use series::Key;
pub use serve::{Server, Token};
pub use state_file::{Holder, Left, Restored, Silence, StateFile};
pub use teller::tell;
pub use unreadable::SOURCE_UNREADABLE;
pub use webhook::{Notice, Untaken, Webhook};

use crate::model::{KPIS, Unit};
use alert::Verdict;
use outcome::{Outcome, verdict};
use series::Series;

/// How many samples the page shows.
const HISTORY: usize = 240;

/// Rules with what they have seen.
pub struct Monitor {
    rules: Vec<Rule>,
    kpis: Vec<Rule>,
    alerts: BTreeMap<String, Alert>,
    series: Series,
    /// Which source each rule was last seen by; of an alert that pends or fires: by which it began, or goes on.
    used: BTreeMap<String, Source>,
    /// Which source each metric was last measured by, and so the KPI of it.
    measured: BTreeMap<&'static str, Source>,
    /// Sources that nobody names and that were read: since when they are not, milliseconds since 1970; None while they are.
    missed: BTreeMap<Source, Option<i64>>,
    history: VecDeque<HistoryPoint>,
    last: Option<Sample>,
    interval_ms: i64,
    target: String,
    /// Judge each sample alone, whatever `for` says.
    pub ignore_for: bool,
    /// Time is real, and samples come when they come: a window that is shorter than the time since the sample before reaches back to that one, and
    /// the first of all says nothing yet. Scripts are judged as Prometheus would.
    pub is_live: bool,
}

impl Monitor {
    /// `target` is what is watched, for people; without secrets.
    pub fn new(rules: Rules, interval_ms: i64, target: &str) -> Self {
        let kpis = Rule::of_kpis();
        Monitor {
            series: Series::new(rules.longest_window_ms()),
            rules: rules.each().rules,
            kpis,
            alerts: BTreeMap::new(),
            used: BTreeMap::new(),
            measured: BTreeMap::new(),
            missed: BTreeMap::new(),
            history: VecDeque::new(),
            last: None,
            interval_ms,
            target: target.to_string(),
            ignore_for: false,
            is_live: false,
        }
    }

    /// One for each alert that there can be.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    pub fn last(&self) -> Option<&Sample> {
        self.last.as_ref()
    }

    pub fn history(&self) -> &VecDeque<HistoryPoint> {
        &self.history
    }

    /// Takes a sample in, steps every alert, and says what there is to show and to tell.
    pub fn evaluate(&mut self, mut sample: Sample) -> (Status, Vec<Notice>) {
        let at = sample.at;
        if self.is_live {
            self.take_in_sources(&mut sample);
        }
        if let Some(before) = self.last.as_ref().map(|last| last.at) {
            sample.began.iter().filter(|key| !self.series.knows(key)).cloned().collect::<Vec<_>>().iter().for_each(|key| {
                self.series.begin_at_zero(before, key);
            });
        }
        let gap_ms = self.last.as_ref().filter(|_| self.is_live).map_or(0, |last| at - last.at);
        self.series.append(at, &sample.points, &sample.not_asked, gap_ms);
        let mut notices = Vec::new();
        let mut alerts = Vec::new();
        for rule in &self.rules {
            let mut alert = self.alerts.get(&rule.key()).cloned().unwrap_or_default();
            let own = self.used.get(&rule.key()).copied();
            let was_active = matches!(alert.state, State::Pending | State::Firing);
            let outcome = match rule.of {
                Some(source) => self.look_at(source, &alert, &sample),
                None => self.judge(rule, &mut alert, &sample),
            };
            let mut verdict = verdict(rule, &outcome, alert.state);
            // What another says is no value of an alert that waits for its own source.
            match (&outcome, outcome.seen().filter(|seen| !was_active || !outcome.is_failure() || own.is_none_or(|own| own == seen.source)))
            {
                (_, Some(seen)) => (alert.value, alert.value_at) = (Some(seen.measured.value), Some(at)),
                (Outcome::NoData(_), None) => (alert.value, alert.value_at) = (None, None),
                _ => {}
            }
            let immediate;
            let stepped = if self.ignore_for {
                immediate = Rule { for_ms: 0, ..rule.clone() };
                &immediate
            } else {
                rule
            };
            // No query of the exported rules fails with a source: what fires goes on by a sample that tells nothing, and what pends waits no longer
            // than it would have to hold; then it begins anew.
            if !self.is_live && verdict == Verdict::Failed {
                let has_waited = alert.state == State::Pending && alert.held_ms(at) >= stepped.for_ms;
                verdict = if has_waited { Verdict::HoldsNot } else { Verdict::Unknown };
            }
            let change = alert.step(stepped, at, verdict);
            if verdict == Verdict::Holds {
                alert.held = outcome.seen().map(|seen| seen.measured.value);
            }
            let report = AlertReport::new(rule, &alert, &outcome, own, at);
            if let Some(change) = change {
                notices.push(Notice::new(rule, &alert, change, &report, &self.target));
            }
            // Whoever raises an alarm for another is the one who can end it.
            let begins = verdict == Verdict::Holds && !was_active;
            match &outcome {
                Outcome::Value(seen) | Outcome::NoData(seen) => _ = self.used.insert(rule.key(), seen.source),
                Outcome::StandIn(seen, ..) if begins => _ = self.used.insert(rule.key(), seen.source),
                _ => {}
            }
            // Of who was never there nothing is to be said.
            let is_there =
                |source| sample.presence.iter().any(|(there, presence)| *there == source && !matches!(presence, Presence::Absent(_)));
            if alert.state != State::Inactive || rule.of.is_none_or(|source| is_there(source) && matches!(outcome, Outcome::Source(..))) {
                alerts.push(report);
            }
            self.alerts.insert(rule.key(), alert);
        }
        let kpis =
            KPIS.iter().zip(&self.kpis).map(|(kpi, rule)| KpiReport::new(kpi, rule, &self.measure(&rule.condition, &sample))).collect();
        let mut metrics: BTreeMap<&'static str, MetricReport> = BTreeMap::new();
        for metric in &METRICS {
            let condition = Condition { metric, selectors: Vec::new(), window_ms: metric.window_ms, ..bare(metric) };
            let outcome = self.measure(&condition, &sample);
            metrics.insert(metric.name, MetricReport::new(metric, self.window_ms(&condition, sample.at), &outcome));
            if let Outcome::Value(seen) | Outcome::NoData(seen) = outcome {
                self.measured.insert(metric.name, seen.source);
            }
        }
        self.remember(&sample);
        let status = Status {
            at,
            target: self.target.clone(),
            interval_seconds: self.interval_ms as f64 / 1000.0,
            sources: sample.presence.iter().map(|(source, presence)| SourceReport::new(*source, presence)).collect(),
            metrics,
            alerts,
            kpis,
            facts: sample.facts.clone(),
        };
        self.last = Some(sample);
        (status, notices)
    }

    /// The clock was set, or the machine slept: everything is as long ago as it was, and no condition held while nobody looked.
    pub fn shift(&mut self, by_ms: i64) {
        self.series.shift(by_ms);
        self.alerts.values_mut().for_each(|alert| alert.shift(by_ms));
        self.missed.values_mut().flatten().for_each(|since| *since += by_ms);
        self.history.iter_mut().for_each(|point| point.at += by_ms);
        if let Some(last) = &mut self.last {
            last.at += by_ms;
        }
    }

    /// What a metric is now, of which nobody is told.
    fn measure(&self, condition: &Condition, sample: &Sample) -> Outcome {
        self.look(condition, sample, self.measured.get(condition.metric.name).copied())
    }

    /// A point of the charts: what happened since the last sample.
    fn remember(&mut self, sample: &Sample) {
        let window_ms = self.last.as_ref().map_or(self.interval_ms, |last| sample.at - last.at).max(1000) * 3 / 2;
        let value = |name: &str| {
            let metric = metric::find(name)?;
            let condition = Condition { metric, selectors: Vec::new(), window_ms, ..bare(metric) };
            match self.measure(&condition, sample) {
                Outcome::Value(seen) => Some(shown_value(metric, seen.measured.value)),
                _ => None,
            }
        };
        // The first source where something happened; else the first that is there.
        let families = ["candlefish_query_duration_seconds_count", "candlefish_pgbouncer_queries_total", "candlefish_statements_total"];
        let rates: Vec<f64> = families.iter().filter_map(|family| self.series.sum_rate(family, &[], sample.at, window_ms)).collect();
        let calls_per_s = rates.iter().find(|rate| **rate > 0.0).or(rates.first()).copied();
        let connections = sample.facts.connections.as_ref();
        let point = HistoryPoint {
            at: sample.at,
            values: METRICS.iter().map(|metric| (metric.name, value(metric.name))).collect(),
            calls_per_s,
            connections: connections.and_then(|connections| connections.used),
            active: connections.and_then(|connections| connections.active),
            slow_ms_per_s: sample.facts.slow_queries.first().and_then(|query| query.total_ms_per_s),
        };
        self.history.push_back(point);
        if self.history.len() > HISTORY {
            self.history.pop_front();
        }
    }
}

/// A condition that says nothing: where only the metric matters.
fn bare(metric: &'static Metric) -> Condition {
    Condition { text: String::new(), metric, selectors: Vec::new(), window_ms: 0, sign: Sign::More, limit: f64::INFINITY }
}

/// In the unit that people are shown.
fn shown_value(metric: &Metric, value: f64) -> f64 {
    if metric.unit == Unit::Milliseconds { value * 1000.0 } else { value }
}

#[cfg(test)]
mod tests {
    use super::*;
    use series::{Key, Point};

    pub(super) fn monitor() -> Monitor {
        let text = "alerts:\n  errors: {condition: error_rate > 1%, duration: 30s}\n  pool: {condition: pool_usage > 90%}\n";
        Monitor::new(Rules::parse(text, "x").unwrap(), 15_000, "test")
    }

    pub(super) fn sample(tick: i64, presence: Presence, counts: Option<(f64, f64)>) -> Sample {
        let points = counts.iter().flat_map(|(calls, failures)| {
            [("candlefish_query_duration_seconds_count", *calls), ("candlefish_query_failures_total", *failures)]
                .map(|(family, value)| Point { key: Key::new(family, &[("instance", "a")]), value })
        });
        Sample { at: tick * 15_000, points: points.collect(), presence: vec![(Source::Instances, presence)], ..Sample::default() }
    }

    pub(super) fn states(status: &Status) -> (Shown, Shown) {
        (status.alerts[0].state, status.alerts[1].state)
    }

    #[test]
    fn what_pends_begins_anew_when_its_series_were_gone_or_nobody_called() {
        for gap in [(Presence::Absent("gone".to_string()), None), (Presence::There, None), (Presence::There, Some((300.0, 30.0)))] {
            let rules = Rules::parse("alerts:\n  errors: {condition: error_rate > 1%, duration: 2m}\n", "x").unwrap();
            let mut monitor = Monitor::new(rules, 15_000, "test");
            let failing = |tick: i64| sample(tick, Presence::There, Some((tick as f64 * 100.0, tick as f64 * 10.0)));
            for tick in 0..3 {
                monitor.evaluate(failing(tick));
            }
            assert_eq!(monitor.alerts["errors"].state, State::Pending);
            // So long that nothing of before is left in the window.
            for tick in 3..9 {
                monitor.evaluate(sample(tick, gap.0.clone(), gap.1));
            }
            assert_eq!(monitor.alerts["errors"].state, State::Inactive, "{gap:?}");
            let seen: Vec<State> = (9..20)
                .map(|tick| {
                    monitor.evaluate(failing(tick));
                    monitor.alerts["errors"].state
                })
                .collect();
            let pending = seen.iter().filter(|state| **state == State::Pending).count();
            assert!(pending == 8 && seen.last() == Some(&State::Firing), "{gap:?}: {seen:?}");
        }
    }

    #[test]
    fn too_few_events_end_no_alert() {
        let mut monitor = monitor();
        let (mut calls, mut failures) = (0.0, 0.0);
        let mut minute = |monitor: &mut Monitor, from: i64, a_tick: f64, failing: f64| {
            let mut last = None;
            for tick in from..from + 4 {
                (calls, failures) = (calls + a_tick, failures + a_tick * failing);
                last = Some(monitor.evaluate(sample(tick, Presence::There, Some((calls, failures)))).0);
            }
            let alert = last.unwrap().alerts.swap_remove(0);
            (alert.state, alert.value, alert.reason.is_some())
        };
        minute(&mut monitor, 0, 100.0, 0.0);
        assert_eq!(minute(&mut monitor, 4, 100.0, 1.0).0, Shown::Firing);
        // Two calls a tick, of which every one fails; then two that succeed: autovacuum's, perhaps.
        assert_eq!(minute(&mut monitor, 8, 2.0, 1.0), (Shown::Firing, Some(1.0), true));
        assert_eq!(minute(&mut monitor, 12, 2.0, 1.0), (Shown::Firing, Some(1.0), true));
        minute(&mut monitor, 16, 2.0, 0.0);
        assert_eq!(minute(&mut monitor, 20, 2.0, 0.0), (Shown::Firing, Some(0.0), true));
        // Enough that succeed.
        minute(&mut monitor, 24, 100.0, 0.0);
        assert_eq!(minute(&mut monitor, 28, 100.0, 0.0).0, Shown::Resolved);
        // And few begin nothing, and are no health.
        minute(&mut monitor, 32, 2.0, 0.0);
        assert_eq!(minute(&mut monitor, 36, 2.0, 1.0), (Shown::Unknown, Some(1.0), true));
    }

    /// A rate over a window makes parts of events.
    #[test]
    fn fewer_events_than_enough_are_not_said_to_be_enough() {
        let mut monitor = monitor();
        for tick in 0..4 {
            let counts = (7.0 + tick as f64 * 4.93, 0.0);
            let status = monitor.evaluate(sample(tick, Presence::There, Some(counts))).0;
            if tick == 3 {
                assert!(status.alerts[0].reason.as_deref().unwrap().starts_with("only 19.7 of the 20 events"), "{:?}", status.alerts[0]);
            }
        }
    }

    #[test]
    fn a_clock_that_is_set_makes_no_duration_longer_or_shorter() {
        for jump in [-3_600_000, 3_600_000] {
            let mut monitor = monitor();
            let failing = |tick: i64, jump: i64| {
                let sample = sample(tick, Presence::There, Some((tick as f64 * 100.0, tick as f64 * 10.0)));
                Sample { at: sample.at + jump, ..sample }
            };
            for tick in 0..3 {
                monitor.evaluate(failing(tick, 0));
            }
            assert_eq!(monitor.alerts["errors"].state, State::Pending);
            monitor.shift(jump);
            // A third time it holds: so long it was to.
            let status = monitor.evaluate(failing(3, jump)).0;
            assert_eq!((status.alerts[0].state, status.alerts[0].active_since), (Shown::Firing, Some(15_000 + jump)), "{jump}");
            assert!((status.alerts[0].value.unwrap() - 0.1).abs() < 1e-9, "{jump}");
        }
    }

    #[test]
    fn nothing_to_judge_is_no_alarm_and_no_health() {
        let text = "alerts:\n  a: {condition: error_rate > 1%, on_no_data: hold}\n  b: {condition: error_rate > 1%}\n";
        let mut monitor = Monitor::new(Rules::parse(text, "x").unwrap(), 15_000, "test");
        let mut status = None;
        for tick in 0..3 {
            status = Some(monitor.evaluate(sample(tick, Presence::There, Some((7.0, 0.0)))).0);
        }
        let status = status.unwrap();
        assert_eq!(states(&status), (Shown::Inactive, Shown::Unknown));
        let (alert, kpi) = (&status.alerts[0], status.kpis.iter().find(|kpi| kpi.name == "error_rate").unwrap());
        assert_eq!((alert.value, alert.reason.as_deref(), kpi.met), (None, Some("nothing happened in the window"), None));
    }

    #[test]
    fn samples_further_apart_than_a_window_are_still_compared_when_time_is_real() {
        let seen = |is_live| {
            let mut monitor = monitor();
            monitor.is_live = is_live;
            monitor.evaluate(sample(0, Presence::There, Some((0.0, 0.0))));
            monitor.evaluate(sample(1, Presence::There, Some((100.0, 0.0))));
            // Ten minutes later, as of a cron job; error_rate looks back one.
            let status = monitor.evaluate(sample(41, Presence::There, Some((200.0, 5.0)))).0;
            let rounded = status.alerts[0].value.map(|value| (value * 1000.0).round());
            (status.alerts[0].state, rounded, status.metrics["error_rate"].window_seconds)
        };
        assert_eq!(seen(false), (Shown::Unknown, None, Some(60.0)));
        assert_eq!(seen(true), (Shown::Pending, Some(50.0), Some(600.0)));
    }

    #[test]
    fn without_any_source_a_rule_is_not_applicable_and_few_calls_are_no_alarm() {
        let mut monitor = monitor();
        let (status, _) = monitor.evaluate(sample(0, Presence::Absent("no Redis".to_string()), None));
        assert_eq!(states(&status), (Shown::NotApplicable, Shown::NotApplicable));
        monitor.evaluate(sample(1, Presence::There, Some((0.0, 0.0))));
        let (status, _) = monitor.evaluate(sample(2, Presence::There, Some((3.0, 1.0))));
        assert_eq!((status.alerts[0].state, status.alerts[0].value), (Shown::Unknown, Some(1.0 / 3.0)));
        assert!(status.alerts[0].reason.as_deref().unwrap().contains("3 of the 20"), "{:?}", status.alerts[0].reason);
        assert_eq!(status.kpis.iter().find(|kpi| kpi.name == "error_rate").unwrap().met, None);
    }
}
