//! The watch: metrics from the first source that is there, rules in Prometheus's states, alerts told to whoever is to know.
//!
//! ```text
//! Sampler::sample   instances (Redis) · PgBouncer · pg_stat_statements · pg_stat_database → points, and which source was there
//! Monitor::evaluate points → series → each rule's condition → alerts' states → Status, and what to tell
//! cli               Status → render (table, JSON, Nagios) · served (axum) · state file · Webhook
//! ```
//!
//! A metric is one table row ([`METRICS`]): a value here, an expression for Prometheus in [`export`].

mod alert;
pub mod export;
mod exposition;
mod metric;
mod report;
mod rule;
mod rules_file;
mod sample;
mod script;
mod series;
mod serve;
mod state_file;
mod webhook;

use std::collections::{BTreeMap, VecDeque};

pub use alert::{Alert, Change, State};
pub use metric::{METRICS, Metric, Source};
pub use report::{AlertReport, HistoryPoint, KpiReport, MetricReport, Shown, SourceReport, Status};
pub use rule::{Condition, OnNoData, Rule, Sign, span_text};
pub use rules_file::Rules;
pub use sample::{Connections, PoolFact, Presence, Sample, Sampler, SlowQuery};
pub use script::{Script, ScriptReport, Scripted};
pub use series::Key;
pub use serve::{Server, Token};
pub use state_file::{Silence, StateFile};
pub use webhook::{Notice, Webhook};

use crate::model::{KPIS, Unit};
use alert::Verdict;
use rule::Seen;
use series::Series;

/// How many samples the page shows.
const HISTORY: usize = 240;

/// Rules with what they have seen.
pub struct Monitor {
    rules: Vec<Rule>,
    kpis: Vec<Rule>,
    alerts: BTreeMap<String, Alert>,
    series: Series,
    /// Which source each rule was last seen by.
    used: BTreeMap<String, Source>,
    history: VecDeque<HistoryPoint>,
    last: Option<Sample>,
    interval_ms: i64,
    target: String,
    /// Judge each sample alone, whatever `for` says.
    pub ignore_for: bool,
    /// A window that is shorter than the time since the sample before reaches back to that one. Prometheus would see nothing in it, and so do scripts.
    pub spans_gaps: bool,
}

/// What one evaluation of a condition comes to.
enum Outcome {
    Value(Seen),
    /// The source is there, and nothing happened in the window.
    NoData(Seen),
    /// The source is there, and has no such series any more.
    NoSeries(Source),
    /// No source could be read.
    Unknown(Option<Source>, String),
    NotApplicable(String),
}

impl Monitor {
    /// `target` is what is watched, for people; without secrets.
    pub fn new(rules: Rules, interval_ms: i64, target: &str) -> Self {
        let kpis = Rule::of_kpis();
        Monitor {
            series: Series::new(rules.longest_window_ms()),
            rules: rules.rules,
            kpis,
            alerts: BTreeMap::new(),
            used: BTreeMap::new(),
            history: VecDeque::new(),
            last: None,
            interval_ms,
            target: target.to_string(),
            ignore_for: false,
            spans_gaps: false,
        }
    }

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
    pub fn evaluate(&mut self, sample: Sample) -> (Status, Vec<Notice>) {
        let at = sample.at;
        if let Some(before) = self.last.as_ref().map(|last| last.at) {
            sample.began.iter().filter(|key| !self.series.knows(key)).cloned().collect::<Vec<_>>().iter().for_each(|key| {
                self.series.begin_at_zero(before, key);
            });
        }
        let gap_ms = self.last.as_ref().filter(|_| self.spans_gaps).map_or(0, |last| at - last.at);
        self.series.append(at, &sample.points, &sample.not_asked, gap_ms);
        let mut notices = Vec::new();
        let mut alerts = Vec::new();
        for rule in &self.rules {
            let mut alert = self.alerts.get(&rule.name).cloned().unwrap_or_default();
            let last = self.used.get(&rule.name).copied();
            let is_active = matches!(alert.state, State::Pending | State::Firing);
            let outcome = self.look(&rule.condition, &sample, last, is_active);
            let verdict = verdict(rule, &outcome, is_active);
            if let Outcome::Value(seen) = &outcome {
                alert.value = Some(seen.measured.value);
            } else if let Outcome::NoData(_) = &outcome {
                alert.value = None;
            }
            let immediate;
            let stepped = if self.ignore_for {
                immediate = Rule { for_ms: 0, ..rule.clone() };
                &immediate
            } else {
                rule
            };
            let change = alert.step(stepped, at, verdict);
            let report = AlertReport::new(rule, &alert, &outcome);
            if let Some(change) = change {
                notices.push(Notice::new(rule, &alert, change, &report));
            }
            if let Outcome::Value(seen) | Outcome::NoData(seen) = &outcome {
                self.used.insert(rule.name.clone(), seen.source);
            }
            alerts.push(report);
            self.alerts.insert(rule.name.clone(), alert);
        }
        let kpis = KPIS
            .iter()
            .zip(&self.kpis)
            .map(|(kpi, rule)| KpiReport::new(kpi, rule, &self.look(&rule.condition, &sample, None, false)))
            .collect();
        let metrics: BTreeMap<&'static str, MetricReport> = METRICS
            .iter()
            .map(|metric| {
                let condition = Condition { metric, selectors: Vec::new(), window_ms: metric.window_ms, ..bare(metric) };
                (
                    metric.name,
                    MetricReport::new(metric, self.window_ms(&condition, sample.at), &self.look(&condition, &sample, None, false)),
                )
            })
            .collect();
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

    /// How far a condition looks back.
    fn window_ms(&self, condition: &Condition, at: i64) -> i64 {
        match &self.last {
            Some(last) if self.spans_gaps && condition.window_ms > 0 => condition.window_ms.max(at - last.at),
            _ => condition.window_ms,
        }
    }

    /// `last`: who the rule was seen by before.
    fn look(&self, condition: &Condition, sample: &Sample, last: Option<Source>, is_active: bool) -> Outcome {
        let presence = |source: Source| sample.presence.iter().find(|(there, _)| *there == source).map(|(_, presence)| presence);
        let asked = || condition.metric.formulas.iter().map(|(source, _)| *source);
        // What was read before and cannot be now is not to be answered by somebody who counts something else.
        let last = last.filter(|last| asked().any(|source| source == *last));
        if let Some(last) = last {
            match presence(last) {
                Some(Presence::Failed(why)) => return Outcome::Unknown(Some(last), why.clone()),
                Some(Presence::Absent(why)) if is_active => {
                    return Outcome::Unknown(Some(last), format!("what it was seen by is gone: {why}"));
                }
                _ => {}
            }
        }
        // An alert ends by who saw it begin: another source that is quiet is no proof.
        let witness = last.filter(|_| is_active);
        let may_say = |source: Source| presence(source) == Some(&Presence::There) && witness.is_none_or(|witness| witness == source);
        let seen = condition.look(&self.series, sample.at, self.window_ms(condition, sample.at), may_say);
        match seen {
            Some(seen) if seen.measured.value.is_nan() => Outcome::NoData(seen),
            Some(seen) => Outcome::Value(seen),
            None => {
                let mut why = Vec::new();
                for source in asked() {
                    match presence(source) {
                        Some(Presence::Failed(reason)) => return Outcome::Unknown(Some(source), reason.clone()),
                        Some(Presence::There) if last.is_some() => return Outcome::NoSeries(source),
                        Some(Presence::There) => return Outcome::Unknown(Some(source), "a second sample is needed".to_string()),
                        Some(Presence::Absent(reason)) => why.push(format!("{}: {reason}", source.name())),
                        None => {}
                    }
                }
                Outcome::NotApplicable(why.join("; "))
            }
        }
    }

    /// A point of the charts: what happened since the last sample.
    fn remember(&mut self, sample: &Sample) {
        let window_ms = self.last.as_ref().map_or(self.interval_ms, |last| sample.at - last.at).max(1000) * 3 / 2;
        let value = |name: &str| {
            let metric = metric::find(name)?;
            let condition = Condition { metric, selectors: Vec::new(), window_ms, ..bare(metric) };
            match self.look(&condition, sample, None, false) {
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

fn verdict(rule: &Rule, outcome: &Outcome, is_active: bool) -> Verdict {
    match outcome {
        Outcome::Value(seen) if rule.holds(seen.measured, is_active) => Verdict::Holds,
        Outcome::Value(_) => Verdict::HoldsNot,
        Outcome::NoData(_) | Outcome::NoSeries(_) => match rule.on_no_data {
            OnNoData::Hold | OnNoData::Unknown => Verdict::Unknown,
            OnNoData::Inactive => Verdict::HoldsNot,
            OnNoData::Firing => Verdict::Holds,
        },
        Outcome::Unknown(..) | Outcome::NotApplicable(_) => Verdict::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use series::{Key, Point};

    fn monitor() -> Monitor {
        let text = "alerts:\n  errors: {condition: error_rate > 1%, duration: 30s}\n  pool: {condition: pool_usage > 90%}\n";
        Monitor::new(Rules::parse(text, "x").unwrap(), 15_000, "test")
    }

    fn sample(tick: i64, presence: Presence, counts: Option<(f64, f64)>) -> Sample {
        let points = counts.iter().flat_map(|(calls, failures)| {
            [("candlefish_query_duration_seconds_count", *calls), ("candlefish_query_failures_total", *failures)]
                .map(|(family, value)| Point { key: Key::new(family, &[("instance", "a")]), value })
        });
        Sample { at: tick * 15_000, points: points.collect(), presence: vec![(Source::Instances, presence)], ..Sample::default() }
    }

    fn states(status: &Status) -> (Shown, Shown) {
        (status.alerts[0].state, status.alerts[1].state)
    }

    #[test]
    fn a_source_that_is_lost_holds_the_alert_and_health_is_not_claimed() {
        let mut monitor = monitor();
        let there = || Presence::There;
        assert_eq!(states(&monitor.evaluate(sample(0, there(), Some((0.0, 0.0)))).0), (Shown::Unknown, Shown::Unknown));
        let mut changes = Vec::new();
        for tick in 1..5 {
            let (status, notices) = monitor.evaluate(sample(tick, there(), Some((tick as f64 * 100.0, tick as f64 * 5.0))));
            changes.push((status.alerts[0].state, notices.len()));
        }
        assert_eq!(changes, [(Shown::Pending, 0), (Shown::Pending, 0), (Shown::Firing, 1), (Shown::Firing, 0)]);
        // Unreadable, then gone: neither is recovery.
        for (tick, presence) in [(5, Presence::Failed("no route".to_string())), (6, Presence::Absent("gone".to_string()))] {
            let (status, notices) = monitor.evaluate(sample(tick, presence, None));
            assert_eq!((status.alerts[0].state, notices.len()), (Shown::Firing, 0));
            assert!(status.alerts[0].reason.is_some());
        }
        // Back, and nobody calls: nobody knows either.
        for tick in 7..13 {
            let (status, _) = monitor.evaluate(sample(tick, there(), Some((400.0, 20.0))));
            assert_eq!(status.alerts[0].state, Shown::Firing, "tick {tick}");
        }
        let (status, notices) =
            (13..16).map(|tick| monitor.evaluate(sample(tick, there(), Some((tick as f64 * 100.0, 20.0))))).last().unwrap();
        assert_eq!((status.alerts[0].state, notices.len()), (Shown::Resolved, 0));
    }

    #[test]
    fn clients_that_gave_up_calling_are_no_recovery() {
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
        // Two calls a tick, of which every one fails; and then none.
        assert_eq!(minute(&mut monitor, 8, 2.0, 1.0), (Shown::Firing, Some(1.0), true));
        assert_eq!(minute(&mut monitor, 12, 2.0, 1.0), (Shown::Firing, Some(1.0), true));
        // As few that succeed are all there is to know.
        minute(&mut monitor, 16, 2.0, 0.0);
        assert_eq!(minute(&mut monitor, 20, 2.0, 0.0).0, Shown::Resolved);
        // And they begin nothing.
        assert_eq!(minute(&mut monitor, 24, 2.0, 1.0).0, Shown::Resolved);
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
        let seen = |spans_gaps| {
            let mut monitor = monitor();
            monitor.spans_gaps = spans_gaps;
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
        assert_eq!((status.alerts[0].state, status.alerts[0].value), (Shown::Inactive, Some(1.0 / 3.0)));
        assert!(status.alerts[0].reason.as_deref().unwrap().contains("3 of the 20"), "{:?}", status.alerts[0].reason);
        assert_eq!(status.kpis.iter().find(|kpi| kpi.name == "error_rate").unwrap().met, None);
    }
}
