//! What a sample comes to, for people and programs: values in milliseconds, ratios and bytes; unknown is null.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};

use crate::model::{Kpi, Limit};
use crate::monitor::alert::{Alert, State};
use crate::monitor::metric::{Metric, SOURCE_FAILED, Source};
use crate::monitor::outcome::{HOLD_MS, Outcome};
use crate::monitor::rule::{OnNoData, Rule, Sign};
use crate::monitor::sample::{Facts, Presence};
use crate::monitor::shown_value;

#[derive(Clone, Debug, Serialize)]
pub struct Status {
    /// Milliseconds since 1970; RFC 3339 in documents.
    #[serde(serialize_with = "rfc3339")]
    pub at: i64,
    pub target: String,
    pub interval_seconds: f64,
    pub sources: Vec<SourceReport>,
    pub metrics: BTreeMap<&'static str, MetricReport>,
    pub alerts: Vec<AlertReport>,
    pub kpis: Vec<KpiReport>,
    #[serde(flatten)]
    pub facts: Facts,
}

#[derive(Clone, Debug, Serialize)]
pub struct SourceReport {
    pub name: &'static str,
    /// `there`, `absent`, `failed`
    pub state: &'static str,
    pub reason: Option<String>,
}

#[derive(Clone, Debug, Serialize)]
pub struct MetricReport {
    pub value: Option<f64>,
    pub unit: &'static str,
    /// None: no source that counts it is there.
    pub source: Option<&'static str>,
    pub window_seconds: Option<f64>,
    /// Why there is no value.
    pub reason: Option<String>,
}

#[derive(Clone, Debug, Serialize)]
pub struct AlertReport {
    pub name: String,
    pub severity: String,
    /// The rule's own, and which source it is about: with its name what tells it from every other.
    pub labels: BTreeMap<String, String>,
    pub state: Shown,
    pub condition: String,
    /// What it is about: a name of `metrics`, or `source_failed`.
    pub metric: &'static str,
    /// How the value stands to the threshold when the condition holds.
    #[serde(skip)]
    pub sign: Sign,
    /// Of an alert that waits for its source: as that last said it.
    pub value: Option<f64>,
    /// When it was so.
    #[serde(serialize_with = "rfc3339_or_null")]
    pub value_at: Option<i64>,
    pub threshold: f64,
    pub unit: &'static str,
    pub for_seconds: f64,
    /// Since when it is in this state.
    #[serde(serialize_with = "rfc3339_or_null")]
    pub since: Option<i64>,
    /// Since when its condition holds.
    #[serde(serialize_with = "rfc3339_or_null")]
    pub active_since: Option<i64>,
    pub source: Option<&'static str>,
    /// Until when it waits for the source by which it began, while others have something to judge and that one has not.
    #[serde(serialize_with = "rfc3339_or_null")]
    pub held_until: Option<i64>,
    /// Why the value is not known, or not judged.
    pub reason: Option<String>,
    /// What its source counts, where that is not what the metric's name says.
    pub about: Option<&'static str>,
    /// The look told something.
    #[serde(skip)]
    pub is_judged: bool,
}

/// A state as it is shown: what could not be evaluated is never called healthy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Shown {
    Inactive,
    Pending,
    Firing,
    Resolved,
    Unknown,
    NotApplicable,
}

impl Shown {
    pub fn name(self) -> &'static str {
        match self {
            Shown::Inactive => State::Inactive.name(),
            Shown::Pending => State::Pending.name(),
            Shown::Firing => State::Firing.name(),
            Shown::Resolved => State::Resolved.name(),
            Shown::Unknown => "unknown",
            Shown::NotApplicable => "not_applicable",
        }
    }
}

#[derive(Clone, Debug, Serialize)]
pub struct KpiReport {
    pub name: &'static str,
    pub about: &'static str,
    pub value: Option<f64>,
    pub target: f64,
    /// `<` or `>`: how the value has to stand to the target.
    pub comparison: &'static str,
    pub unit: &'static str,
    /// None: it is not known.
    pub met: Option<bool>,
    pub source: Option<&'static str>,
    pub reason: Option<String>,
}

/// A point of the charts.
#[derive(Clone, Debug, Serialize)]
pub struct HistoryPoint {
    /// Milliseconds since 1970.
    pub at: i64,
    #[serde(flatten)]
    pub values: BTreeMap<&'static str, Option<f64>>,
    pub calls_per_s: Option<f64>,
    pub connections: Option<f64>,
    pub active: Option<f64>,
    /// Of the statement that took the most.
    pub slow_ms_per_s: Option<f64>,
}

impl SourceReport {
    pub fn new(source: Source, presence: &Presence) -> Self {
        let (state, reason) = match presence {
            Presence::There => ("there", None),
            Presence::Absent(why) => ("absent", Some(why.clone())),
            Presence::Failed(why) => ("failed", Some(why.clone())),
        };
        SourceReport { name: source.name(), state, reason }
    }
}

/// Value, source and reason of what was seen.
fn parts(metric: &Metric, outcome: &Outcome) -> (Option<f64>, Option<&'static str>, Option<String>) {
    match outcome {
        Outcome::Value(seen) => {
            let value = Some(shown_value(metric, seen.measured.value)).filter(|value| value.is_finite());
            (value, Some(seen.source.name()), None)
        }
        Outcome::StandIn(seen, failed, why) => {
            let value = Some(shown_value(metric, seen.measured.value)).filter(|value| value.is_finite());
            let (failed, source) = (failed.name(), seen.source.name());
            (
                value,
                Some(source),
                Some(format!("{failed} cannot be read: {why}; {source}, which counts otherwise, may raise an alarm and end none")),
            )
        }
        Outcome::Held(None, own, why) => (None, Some(own.name()), Some(why.clone())),
        Outcome::Held(Some(seen), own, why) => {
            let value = Some(shown_value(metric, seen.measured.value)).filter(|value| value.is_finite());
            let source = seen.source.name();
            (value, Some(source), Some(format!("{}: {why}; {source}, which counts otherwise, may raise an alarm and end none", own.name())))
        }
        Outcome::NoData(seen) => (None, Some(seen.source.name()), Some("nothing happened in the window".to_string())),
        Outcome::NoSeries(source, why) | Outcome::Failed(source, why) => (None, Some(source.name()), Some(why.clone())),
        Outcome::NotApplicable(why) => (None, None, Some(why.clone())),
        Outcome::Source(seen, why) => (Some(seen.measured.value), Some(seen.source.name()), why.clone()),
    }
}

/// PostgreSQL does not say why a transaction was rolled back.
fn counts_otherwise(metric: &Metric, source: Option<&'static str>) -> Option<&'static str> {
    let is_of_rollbacks = metric.name == "error_rate" && source == Some(Source::Database.name());
    is_of_rollbacks.then_some("transactions that were rolled back, of all: a deliberate ROLLBACK is counted as an error")
}

/// Said where there were too few events for a verdict.
fn too_few(rule: &Rule, outcome: &Outcome) -> Option<String> {
    let (Outcome::Value(seen) | Outcome::StandIn(seen, ..)) = outcome else { return None };
    let events = seen.measured.events.filter(|_| !rule.has_enough(seen.measured))?;
    // Rounded down: a rate over a window makes parts of events, and 19.7 are fewer than 20.
    let events = (events * 10.0 + 1e-6).floor() / 10.0;
    Some(format!("only {events} of the {} events by which an alert begins or ends, or a target is met or missed", rule.min_samples))
}

impl MetricReport {
    pub(super) fn new(metric: &Metric, window_ms: i64, outcome: &Outcome) -> Self {
        let (value, source, reason) = parts(metric, outcome);
        let window_seconds = (window_ms > 0).then_some(window_ms as f64 / 1000.0);
        MetricReport { value, unit: metric.unit.short(), source, window_seconds, reason }
    }
}

impl AlertReport {
    /// `own` is the source that the alert went by before this sample.
    pub(super) fn new(rule: &Rule, alert: &Alert, outcome: &Outcome, own: Option<Source>, at: i64) -> Self {
        let metric = rule.condition.metric;
        let (mut value, mut source, mut reason) = parts(metric, outcome);
        let mut value_at = value.map(|_| at);
        let is_active = matches!(alert.state, State::Pending | State::Firing);
        if is_active && outcome.is_failure() && alert.value_at != Some(at) {
            value = alert.value.map(|value| shown_value(metric, value)).filter(|value| value.is_finite());
            value_at = alert.value_at.filter(|_| value.is_some());
            source = own.map(Source::name).or(source);
            if let Outcome::Failed(failed, why) = outcome
                && own != Some(*failed)
            {
                reason = Some(format!("{} cannot be read: {why}", failed.name()));
            }
        }
        let few = too_few(rule, outcome);
        let state = match (alert.state, outcome) {
            (State::Pending, _) => Shown::Pending,
            (State::Firing, _) => Shown::Firing,
            (State::Inactive | State::Resolved, Outcome::NotApplicable(_)) => Shown::NotApplicable,
            (State::Inactive | State::Resolved, Outcome::Failed(..) | Outcome::StandIn(..)) => Shown::Unknown,
            // That nothing happened was seen, and may be no alarm; that there is nothing to see is not known.
            (State::Inactive | State::Resolved, Outcome::NoData(_)) if rule.on_no_data == OnNoData::Unknown => Shown::Unknown,
            (State::Inactive | State::Resolved, Outcome::Value(_)) if rule.on_no_data == OnNoData::Unknown && few.is_some() => {
                Shown::Unknown
            }
            (State::Inactive | State::Resolved, Outcome::NoSeries(..))
                if matches!(rule.on_no_data, OnNoData::Hold | OnNoData::Unknown) && rule.of.is_none() =>
            {
                Shown::Unknown
            }
            (State::Resolved, _) => Shown::Resolved,
            (State::Inactive, _) => Shown::Inactive,
        };
        let held_until = alert.waits_since.filter(|_| is_active).map(|since| since + HOLD_MS);
        let is_silent = matches!(outcome, Outcome::Held(..) | Outcome::NoData(_));
        let second = |ms: i64| timestamp(ms - ms.rem_euclid(1000)).replace(".000", "");
        let waits = held_until.filter(|_| is_silent).map(|until| format!("it keeps its source until {}", second(until)));
        let old = value_at.filter(|seen| *seen < at).map(|seen| format!("its value is of {}", second(seen)));
        let reasons: Vec<String> = [reason.or(few), old, waits, alert.word.clone()].into_iter().flatten().collect();
        AlertReport {
            name: rule.name.clone(),
            severity: rule.severity.clone(),
            labels: rule.labels.clone(),
            state,
            condition: rule.condition.text.clone(),
            metric: rule.condition.metric.name,
            sign: rule.condition.sign,
            value,
            value_at,
            threshold: shown_value(metric, rule.condition.limit),
            unit: metric.unit.short(),
            for_seconds: rule.for_ms as f64 / 1000.0,
            since: alert.since(),
            active_since: alert.active_at.filter(|_| matches!(alert.state, State::Pending | State::Firing)),
            source,
            held_until,
            reason: (!reasons.is_empty()).then(|| reasons.join("; ")),
            about: counts_otherwise(metric, source),
            is_judged: !outcome.is_failure(),
        }
    }
}

impl AlertReport {
    /// It is about a source itself, and not about what one counts.
    pub fn is_of_source(&self) -> bool {
        self.metric == SOURCE_FAILED.name
    }

    /// The same alert, of another sample.
    pub fn is_of(&self, other: &AlertReport) -> bool {
        self.name == other.name && self.labels == other.labels
    }

    /// Its name, with the source that it is about.
    pub fn title(&self) -> String {
        match self.source.filter(|_| self.is_of_source()) {
            Some(source) => format!("{} {source}", self.name),
            None => self.name.clone(),
        }
    }
}

impl KpiReport {
    pub(super) fn new(kpi: &Kpi, missed: &Rule, outcome: &Outcome) -> Self {
        let (value, source, reason) = parts(missed.condition.metric, outcome);
        let few = too_few(missed, outcome);
        let (target, comparison) = match kpi.limit {
            Limit::Below(limit) => (limit, "<"),
            Limit::Above(limit) => (limit, ">"),
        };
        KpiReport {
            name: kpi.name,
            about: counts_otherwise(missed.condition.metric, source).unwrap_or(kpi.about),
            value,
            target,
            comparison,
            unit: kpi.unit.short(),
            // The table's own comparison, on the table's own unit.
            met: value.filter(|_| few.is_none() && !outcome.is_failure()).map(|value| kpi.is_met(value)),
            source,
            reason: reason.or(few),
        }
    }
}

impl Status {
    /// The alerts that fire, the most severe first.
    pub fn firing(&self) -> Vec<&AlertReport> {
        let mut firing: Vec<&AlertReport> = self.alerts.iter().filter(|alert| alert.state == Shown::Firing).collect();
        firing.sort_by_key(|alert| std::cmp::Reverse(severity_rank(&alert.severity)));
        firing
    }

    /// The rules about what sources count; those about the sources themselves where there are no others.
    pub fn judging(&self) -> impl Iterator<Item = &AlertReport> {
        let is_any = self.alerts.iter().any(|alert| !alert.is_of_source());
        self.alerts.iter().filter(move |alert| !is_any || !alert.is_of_source())
    }

    /// There is a rule about something that is there.
    pub fn is_judged(&self) -> bool {
        self.judging().any(|alert| alert.state != Shown::NotApplicable)
    }

    /// The rules that could not be evaluated.
    pub fn unknown(&self) -> Vec<&AlertReport> {
        let pends_unseen = |alert: &AlertReport| alert.state == Shown::Pending && !alert.is_judged;
        self.alerts.iter().filter(|alert| alert.state == Shown::Unknown || pends_unseen(alert)).collect()
    }
}

pub fn severity_rank(severity: &str) -> u8 {
    match severity {
        "critical" => 2,
        "warning" => 1,
        _ => 0,
    }
}

/// RFC 3339, UTC, to the millisecond.
pub fn timestamp(ms: i64) -> String {
    jiff::Timestamp::from_millisecond(ms).map_or_else(|_| ms.to_string(), |at| format!("{at:.3}"))
}

fn rfc3339<S: Serializer>(ms: &i64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&timestamp(*ms))
}

fn rfc3339_or_null<S: Serializer>(ms: &Option<i64>, serializer: S) -> Result<S::Ok, S::Error> {
    ms.map(timestamp).serialize(serializer)
}
