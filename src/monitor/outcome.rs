//! What one look at a condition comes to: who is asked and in which order, and what it means that one of them says nothing.

use crate::monitor::Monitor;
use crate::monitor::alert::{Alert, State, Verdict};
use crate::monitor::metric::Source;
use crate::monitor::rule::{Condition, OnNoData, Rule, Seen, span_text};
use crate::monitor::sample::{Presence, Sample};

/// How long an alert that pends or fires waits for the source by which it began, when others have something to judge and that one has not: those
/// count something else. So long Prometheus, too, takes the last value of a series for its present one; an application or a Redis is restarted in
/// less, and one that was taken away for good keeps no alert for longer.
pub const HOLD_MS: i64 = 300_000;

/// What one evaluation of a condition comes to.
pub(super) enum Outcome {
    Value(Seen),
    /// By another than a source that could not be read, which comes before it or was the one that judged; and why that could not be read.
    StandIn(Seen, Source, String),
    /// The alert waits for the source by which it began, and why; what another one says, where the condition holds by that.
    Held(Option<Seen>, Source, String),
    /// The source is there, and nothing happened in the window.
    NoData(Seen),
    /// There was one, and it has no such series any more, or is gone; and why.
    NoSeries(Source, String),
    /// The evaluation failed: a source that should be there could not be read, or too little of it yet.
    Failed(Source, String),
    NotApplicable(String),
    /// Of a condition about the source itself: whether it could be read, and why not.
    Source(Seen, Option<String>),
}

impl Outcome {
    /// What somebody has said, the alert's own source or another one.
    pub fn seen(&self) -> Option<&Seen> {
        match self {
            Outcome::Value(seen) | Outcome::Source(seen, _) | Outcome::StandIn(seen, ..) | Outcome::Held(Some(seen), ..) => Some(seen),
            _ => None,
        }
    }

    /// A source that should be there could not be read, or is waited for.
    pub fn is_failure(&self) -> bool {
        matches!(self, Outcome::Failed(..) | Outcome::StandIn(..) | Outcome::Held(..))
    }
}

const NO_SERIES: &str = "its series have ended, or are not old enough";

impl Monitor {
    /// What an alert is judged by. One that pends or fires keeps the source by which it began: no other ends it or begins its time anew. Only when
    /// another one was the first with something to judge for all of [`HOLD_MS`] the alert goes on by that. Scripts are judged as Prometheus would.
    pub(super) fn judge(&self, rule: &Rule, alert: &mut Alert, sample: &Sample) -> Outcome {
        let condition = &rule.condition;
        let last = self.used.get(&rule.name).copied();
        let first = self.look(condition, sample, last);
        let is_active = matches!(alert.state, State::Pending | State::Firing);
        let is_there = |own: &Source| condition.metric.formulas.iter().any(|(source, _)| source == own);
        let Some(own) = last.filter(|own| self.is_live && is_active && is_there(own)) else {
            alert.waits_since = None;
            return first;
        };
        let said = self.ask(own, condition, sample);
        if matches!(first, Outcome::StandIn(..) | Outcome::Failed(..)) {
            // By what cannot be read nothing ends anyway, for as long as that lasts; nor has anybody judged meanwhile.
            alert.waits_since = None;
            let why = sample.presence.iter().find_map(|(source, presence)| match presence {
                Presence::Failed(why) if *source == own => Some(why.clone()),
                _ => None,
            });
            // What fires is told already: nobody has to raise it.
            if let Some(why) = why.filter(|_| alert.state == State::Firing) {
                return Outcome::Failed(own, why);
            }
            let own_says = said.ok().flatten().filter(|seen| !seen.measured.value.is_nan());
            return match (first, own_says) {
                // It speaks for itself.
                (Outcome::StandIn(_, failed, why), Some(seen)) if alert.state == State::Firing || rule.holds(seen.measured, true) => {
                    Outcome::StandIn(seen, failed, why)
                }
                (first, _) => first,
            };
        }
        let other = match (&first, &said) {
            (Outcome::Value(seen), _) if seen.source == own => None,
            (Outcome::NoData(_), Ok(Some(quiet))) => {
                alert.waits_since = None;
                return Outcome::NoData(*quiet);
            }
            (Outcome::Value(seen), _) => Some(Some(*seen)),
            // No data is as good as an alarm.
            _ if rule.on_no_data == OnNoData::Firing => None,
            _ => Some(None),
        };
        let Some(other) = other else {
            alert.waits_since = None;
            return first;
        };
        let waits_since = *alert.waits_since.get_or_insert(sample.at);
        let holds = |seen: &Seen| rule.holds(seen.measured, true);
        if sample.at - waits_since >= HOLD_MS {
            let waited = span_text(HOLD_MS);
            alert.waits_since = None;
            alert.word = Some(match (&said, other) {
                (Ok(Some(seen)), Some(other)) if !seen.measured.value.is_nan() => {
                    format!("{}, which comes before {}, has judged for {waited}", other.source.name(), own.name())
                }
                (Ok(_), _) => format!("{} had nothing to judge for {waited}", own.name()),
                (Err(why), _) => format!("{} had nothing to judge for {waited} ({why})", own.name()),
            });
            return first;
        }
        // What pends may fire by another; what fires is told already.
        let alarm = other.filter(holds).filter(|_| alert.state == State::Pending);
        match said {
            Ok(Some(seen)) if seen.measured.value.is_nan() => match alarm {
                Some(_) => Outcome::Held(alarm, own, "nothing happened in the window".to_string()),
                None => Outcome::NoData(seen),
            },
            // One that comes before does not agree: what fires goes on, and what pends does not fire before they do.
            Ok(Some(seen)) if alert.state == State::Pending && holds(&seen) && !other.as_ref().is_some_and(holds) => {
                let other = other.map_or("another", |other| other.source.name());
                Outcome::Held(None, own, format!("it does not hold by {other}, which comes before {}", own.name()))
            }
            Ok(Some(seen)) => Outcome::Value(seen),
            Ok(None) => Outcome::Held(alarm, own, NO_SERIES.to_string()),
            Err(why) => Outcome::Held(alarm, own, why),
        }
    }

    /// What this source says: NaN where nothing happened, None where it has no series for it (yet).
    ///
    /// # Errors
    /// It is not there, and why.
    fn ask(&self, source: Source, condition: &Condition, sample: &Sample) -> Result<Option<Seen>, String> {
        let formula = condition.metric.formulas.iter().find(|(there, _)| *there == source).map(|(_, formula)| formula);
        match sample.presence.iter().find(|(there, _)| *there == source) {
            Some((_, Presence::There)) => {
                let window_ms = self.window_ms(condition, sample.at);
                let measured = formula.and_then(|formula| formula.evaluate(&self.series, &condition.selectors, sample.at, window_ms));
                Ok(measured.map(|measured| Seen { source, measured }))
            }
            Some((_, Presence::Absent(why) | Presence::Failed(why))) => Err(why.clone()),
            None => Err("nobody asks it".to_string()),
        }
    }

    /// At each sample the first source that has something to judge, as the exported rules have it. One that was named and is down cannot be answered
    /// for: who comes after it may raise an alarm, and calls nothing well; nor does anybody while the one is down that has judged. `last`: who the
    /// rule was seen by before.
    pub(super) fn look(&self, condition: &Condition, sample: &Sample, last: Option<Source>) -> Outcome {
        let presence = |source: Source| sample.presence.iter().find(|(there, _)| *there == source).map(|(_, presence)| presence);
        // A rule may have been rewritten since, for a metric that others count.
        let last = last.filter(|last| condition.metric.formulas.iter().any(|(source, _)| source == last));
        let window_ms = self.window_ms(condition, sample.at);
        let judge = last.filter(|_| self.is_live).and_then(|last| match presence(last) {
            Some(Presence::Failed(why)) => Some((last, why.clone())),
            _ => None,
        });
        let (mut failed, mut quiet, mut there, mut absent) = (judge, None, None, Vec::new());
        for (source, formula) in condition.metric.formulas {
            match presence(*source) {
                Some(Presence::Failed(why)) => failed = failed.or(Some((*source, why.clone()))),
                Some(Presence::Absent(why)) => absent.push((*source, why)),
                Some(Presence::There) => {
                    there = there.or(Some(*source));
                    match formula.evaluate(&self.series, &condition.selectors, sample.at, window_ms) {
                        Some(measured) if !measured.value.is_nan() => {
                            let seen = Seen { source: *source, measured };
                            return match failed {
                                None => Outcome::Value(seen),
                                Some((source, why)) => Outcome::StandIn(seen, source, why),
                            };
                        }
                        Some(measured) => quiet = quiet.or(Some(Seen { source: *source, measured })),
                        None => {}
                    }
                }
                None => {}
            }
        }
        if let Some((source, why)) = failed {
            return Outcome::Failed(source, why);
        }
        match (quiet, there, last) {
            (Some(quiet), ..) => Outcome::NoData(quiet),
            // Of a source that was away only one sample is known: that nothing can be told yet ends no alert.
            (None, Some(source), last) if self.is_live && (last.is_none() || self.has_failed(source)) => {
                let asked = condition.selectors_text();
                let why =
                    if asked.is_empty() { "a second sample is needed".to_string() } else { format!("no series of it has {asked} (yet)") };
                Outcome::Failed(source, why)
            }
            (None, Some(source), _) => Outcome::NoSeries(last.unwrap_or(source), NO_SERIES.to_string()),
            (None, None, last) => {
                let gone = last.and_then(|last| absent.iter().find(|(source, _)| *source == last));
                match gone {
                    Some((source, why)) => Outcome::NoSeries(*source, format!("what it was seen by is gone: {why}")),
                    None => {
                        let why: Vec<String> = absent.iter().map(|(source, why)| format!("{}: {why}", source.name())).collect();
                        Outcome::NotApplicable(why.join("; "))
                    }
                }
            }
        }
    }

    /// It could not be read in the sample before.
    fn has_failed(&self, source: Source) -> bool {
        let before = self.last.iter().flat_map(|last| &last.presence);
        before.into_iter().any(|(there, presence)| *there == source && matches!(presence, Presence::Failed(_)))
    }

    /// How far a condition looks back.
    pub(super) fn window_ms(&self, condition: &Condition, at: i64) -> i64 {
        match &self.last {
            Some(last) if self.is_live && condition.window_ms > 0 => condition.window_ms.max(at - last.at),
            _ => condition.window_ms,
        }
    }
}

/// What an outcome means to an alert in this state.
pub(super) fn verdict(rule: &Rule, outcome: &Outcome, state: State) -> Verdict {
    let is_active = matches!(state, State::Pending | State::Firing);
    // Nothing, or next to it, is no proof that what fired is over; and none that what pends has held.
    let unproven = || match rule.on_no_data {
        OnNoData::Hold | OnNoData::Unknown if state == State::Firing => Verdict::Unknown,
        _ => Verdict::HoldsNot,
    };
    match outcome {
        Outcome::Value(seen) | Outcome::StandIn(seen, ..) | Outcome::Held(Some(seen), ..) if rule.holds(seen.measured, is_active) => {
            Verdict::Holds
        }
        Outcome::Source(seen, _) if rule.holds(seen.measured, is_active) => Verdict::Holds,
        Outcome::Source(..) => Verdict::HoldsNot,
        Outcome::Value(seen) if !rule.has_enough(seen.measured) => unproven(),
        Outcome::Value(_) => Verdict::HoldsNot,
        Outcome::NoData(_) | Outcome::NoSeries(..) | Outcome::NotApplicable(_)
            if rule.on_no_data == OnNoData::Firing && rule.of.is_none() =>
        {
            Verdict::Holds
        }
        Outcome::NoData(_) => unproven(),
        // As in Prometheus: what is no longer there has no condition that could hold. Only an evaluation that failed leaves everything as it is.
        Outcome::NoSeries(..) | Outcome::NotApplicable(_) => Verdict::HoldsNot,
        Outcome::Failed(..) | Outcome::StandIn(..) | Outcome::Held(..) => Verdict::Failed,
    }
}

#[cfg(test)]
mod tests;
