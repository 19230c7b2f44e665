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
    /// By one who comes after a source that could not be read, and why that could not: it counts something else.
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
    /// In Prometheus's units.
    pub fn value(&self) -> Option<f64> {
        match self {
            Outcome::Value(seen) | Outcome::Source(seen, _) | Outcome::StandIn(seen, ..) | Outcome::Held(Some(seen), ..) => {
                Some(seen.measured.value)
            }
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
            return match why.filter(|_| alert.state == State::Firing) {
                Some(why) => Outcome::Failed(own, why),
                None => first,
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
    /// for: who comes after it may raise an alarm, and calls nothing well. `last`: who the rule was seen by before.
    pub(super) fn look(&self, condition: &Condition, sample: &Sample, last: Option<Source>) -> Outcome {
        let presence = |source: Source| sample.presence.iter().find(|(there, _)| *there == source).map(|(_, presence)| presence);
        // A rule may have been rewritten since, for a metric that others count.
        let last = last.filter(|last| condition.metric.formulas.iter().any(|(source, _)| source == last));
        let window_ms = self.window_ms(condition, sample.at);
        let (mut failed, mut quiet, mut there, mut absent) = (None, None, None, Vec::new());
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
mod tests {
    use super::*;
    use crate::monitor::rules_file::Rules;
    use crate::monitor::series::{Key, Point};
    use crate::monitor::tests::{monitor, sample, states};
    use crate::monitor::{AlertReport, SOURCE_UNREADABLE, Shown};

    #[test]
    fn a_source_that_cannot_be_read_holds_the_alert_and_one_that_is_gone_ends_it() {
        let mut monitor = monitor();
        monitor.is_live = true;
        let there = || Presence::There;
        assert_eq!(states(&monitor.evaluate(sample(0, there(), Some((0.0, 0.0)))).0), (Shown::Unknown, Shown::Unknown));
        let mut changes = Vec::new();
        for tick in 1..5 {
            let (status, notices) = monitor.evaluate(sample(tick, there(), Some((tick as f64 * 100.0, tick as f64 * 5.0))));
            changes.push((status.alerts[0].state, notices.len()));
        }
        assert_eq!(changes, [(Shown::Pending, 0), (Shown::Pending, 0), (Shown::Firing, 1), (Shown::Firing, 0)]);
        let (status, notices) = monitor.evaluate(sample(5, Presence::Failed("no route".to_string()), None));
        assert_eq!((status.alerts[0].state, notices.len()), (Shown::Firing, 0));
        assert_eq!(status.alerts[0].reason.as_deref(), Some("no route"));
        // Back, and nobody calls: nobody knows either.
        for tick in 6..12 {
            let (status, _) = monitor.evaluate(sample(tick, there(), Some((400.0, 20.0))));
            assert_eq!(status.alerts[0].state, Shown::Firing, "tick {tick}");
        }
        // Gone, for five minutes: the alert is over, and nobody calls that health.
        let gone = |tick: i64| sample(tick, Presence::Absent("no instance is alive".to_string()), None);
        for tick in 12..32 {
            let alert = monitor.evaluate(gone(tick)).0.alerts.swap_remove(0);
            assert_eq!((alert.state, alert.held_until), (Shown::Firing, Some(32 * 15_000)), "tick {tick}");
            assert_eq!(alert.reason.as_deref(), Some("no instance is alive; it keeps its source until 1970-01-01T00:08:00Z"));
        }
        let (status, notices) = monitor.evaluate(gone(32));
        assert_eq!((status.alerts[0].state, notices.len()), (Shown::Unknown, 1));
        assert!(status.alerts[0].reason.as_deref().unwrap().contains("no instance is alive"), "{:?}", status.alerts[0]);
        assert!(!notices[0].firing && notices[0].annotations["reason"].contains("is gone"), "{notices:?}");
    }

    /// Who is named and down is not replaced by somebody who counts something else; but that one may raise an alarm.
    #[test]
    fn a_named_source_that_is_down_blinds_no_alert_and_makes_nothing_well() {
        let mut monitor = monitor();
        let mut seen = Vec::new();
        let absent = || Presence::Absent("no pooler is named".to_string());
        let down = || Presence::Failed("nothing listens there".to_string());
        for (tick, (pgbouncer, used)) in
            [(absent(), 5.0), (down(), 5.0), (down(), 95.0), (down(), 5.0), (absent(), 5.0)].into_iter().enumerate()
        {
            let gauges = [("candlefish_pg_connections", used), ("candlefish_pg_connections_max", 100.0)];
            let points: Vec<Point> = gauges.map(|(family, value)| Point { key: Key::new(family, &[]), value }).to_vec();
            let presence = vec![
                (Source::Instances, Presence::Absent("none".to_string())),
                (Source::Pgbouncer, pgbouncer),
                (Source::Database, Presence::There),
            ];
            let sample = Sample { at: tick as i64 * 15_000, points, presence, ..Sample::default() };
            let status = monitor.evaluate(sample).0;
            let kpi = status.kpis.iter().find(|kpi| kpi.name == "pool_utilization").unwrap();
            let alert = &status.alerts[1];
            let says_why = alert.reason.as_deref().is_some_and(|reason| reason.contains("pgbouncer cannot be read: nothing listens there"));
            seen.push((alert.state, alert.source, says_why, kpi.met));
        }
        let database = Some("pg_stat_database");
        assert_eq!(
            seen,
            [
                (Shown::Inactive, database, false, Some(true)),
                (Shown::Unknown, database, true, None),
                (Shown::Firing, database, true, None),
                (Shown::Firing, database, true, None),
                (Shown::Resolved, database, false, Some(true)),
            ]
        );
    }

    /// What pends or fires while a source cannot be read waits for it, however long that is, and until it was read twice.
    #[test]
    fn an_alert_waits_for_a_source_that_cannot_be_read() {
        let mut monitor = monitor();
        monitor.is_live = true;
        let mut at = |tick: i64, is_there: bool| {
            let counts = (tick as f64 * 100.0, tick as f64 * 5.0);
            let presence = if is_there { Presence::There } else { Presence::Failed("no route".to_string()) };
            monitor.evaluate(sample(tick, presence, is_there.then_some(counts))).0.alerts[0].state
        };
        let seen: Vec<Shown> = (0..40).map(|tick| at(tick, tick < 3)).collect();
        assert_eq!((seen[2], seen[39]), (Shown::Pending, Shown::Pending));
        let back: Vec<Shown> = (40..80).map(|tick| at(tick, !(42..78).contains(&tick))).collect();
        assert_eq!(back[0], Shown::Pending);
        assert!(back[1..].iter().all(|state| *state == Shown::Firing), "{back:?}");
    }

    /// Whoever is there and idle leaves the verdict to the next, whoever was seen before: as the exported rules do.
    #[test]
    fn each_sample_is_judged_by_the_first_source_that_has_something_to_judge() {
        let mut monitor = monitor();
        let mut seen = Vec::new();
        for tick in 0..20 {
            let calls = 100.0 * tick.min(8) as f64;
            let mut sample = sample(tick, Presence::There, Some((calls, calls / 10.0)));
            sample.presence.push((Source::Database, Presence::There));
            let counts = [("candlefish_pg_commits_total", 1000.0 * tick as f64), ("candlefish_pg_rollbacks_total", 0.0)];
            sample.points.extend(counts.map(|(family, value)| Point { key: Key::new(family, &[]), value }));
            let alert = monitor.evaluate(sample).0.alerts.swap_remove(0);
            seen.push((alert.state, alert.source));
        }
        assert_eq!(seen[8], (Shown::Firing, Some("instances")));
        assert_eq!(seen[19], (Shown::Resolved, Some("pg_stat_database")));
    }

    /// What each of two sources has counted at a tick, and where it stands.
    fn two(tick: i64, instances: Presence, instances_fail: f64, database: Presence, database_fail: f64) -> Sample {
        let calls = tick as f64 * 100.0;
        let is_there = instances == Presence::There;
        let mut sample = sample(tick, instances, is_there.then_some((calls, calls * instances_fail)));
        if database == Presence::There {
            let counts =
                [("candlefish_pg_commits_total", calls * (1.0 - database_fail)), ("candlefish_pg_rollbacks_total", calls * database_fail)];
            sample.points.extend(counts.map(|(family, value)| Point { key: Key::new(family, &[]), value }));
        }
        sample.presence.push((Source::Database, database));
        sample
    }

    fn watch() -> Monitor {
        let text = "alerts:\n  quick: {condition: error_rate > 1%}\n  slow: {condition: error_rate > 1%, duration: 3m}\n";
        Monitor { is_live: true, ..Monitor::new(Rules::parse(text, "x").unwrap(), 15_000, "test") }
    }

    /// Redis dies and comes back, the application is stopped or killed for a while: it is not over because the database is well, and no clock begins
    /// anew.
    #[test]
    fn an_alert_waits_for_its_own_source_while_others_are_well() {
        let gaps: [fn() -> Presence; 2] =
            [|| Presence::Failed("nothing listens there".to_string()), || Presence::Absent("no instance is alive".to_string())];
        for (first, then) in [(gaps[0], gaps[1]), (gaps[1], gaps[1]), (gaps[0], gaps[0])] {
            let mut monitor = watch();
            let mut told = Vec::new();
            for tick in 0..40 {
                let instances = match tick {
                    6..10 => first(),
                    // Longer than any window, so that one sample alone says nothing.
                    10..16 => then(),
                    _ => Presence::There,
                };
                let (status, notices) = monitor.evaluate(two(tick, instances, 0.1, Presence::There, 0.0));
                let of_rules = notices.iter().filter(|notice| !notice.title().starts_with(SOURCE_UNREADABLE));
                told.extend(of_rules.map(|notice| (tick, notice.title(), notice.firing)));
                if (6..17).contains(&tick) {
                    assert_eq!(states(&status), (Shown::Firing, Shown::Pending), "{tick}: {:?}", status.alerts);
                    let is_unseen = |alert: &AlertReport| alert.reason.is_some() && !alert.is_judged;
                    assert!(status.alerts[..2].iter().all(is_unseen), "{tick}: {:?}", status.alerts);
                    assert_eq!(status.alerts[0].source, Some("instances"), "{tick}");
                    assert_eq!(status.unknown().len(), 1, "what pends unseen is not well");
                }
            }
            // The one from its first value, the other three minutes later.
            assert_eq!(told, [(1, "quick".to_string(), true), (17, "slow".to_string(), true)]);
        }
    }

    #[test]
    fn an_alert_of_a_source_that_was_taken_away_goes_on_by_the_next() {
        for (database_fail, end) in [(0.0, Some(Shown::Resolved)), (0.1, None)] {
            let mut monitor = watch();
            let mut seen = Vec::new();
            for tick in 0..60 {
                let instances = if tick < 20 { Presence::There } else { Presence::Absent("no instance is alive".to_string()) };
                let (mut status, notices) = monitor.evaluate(two(tick, instances, 0.1, Presence::There, database_fail));
                seen.push((status.alerts.swap_remove(0), notices));
            }
            assert!(seen[1..40].iter().all(|(alert, _)| alert.state == Shown::Firing), "{seen:#?}");
            let (alert, notices) = &seen[40];
            assert_eq!((alert.state, alert.source, alert.held_until), (end.unwrap_or(Shown::Firing), Some("pg_stat_database"), None));
            let word = "instances had nothing to judge for 5m (no instance is alive)";
            assert_eq!(alert.reason.as_deref(), Some(word));
            assert_eq!(notices.len(), if end.is_some() { 2 } else { 0 }, "{notices:?}");
            assert!(notices.iter().all(|notice| !notice.firing && notice.annotations["reason"] == word), "{notices:?}");
        }
    }

    /// An alert that began by the database is ended by the database; whoever is asked before it has to have judged for a while.
    #[test]
    fn a_source_that_comes_up_ends_no_alert_of_another() {
        let absent = || Presence::Absent("no instance is alive".to_string());
        let seen = |database_ends: i64| {
            let mut monitor = watch();
            let mut rollbacks = 0.0;
            let mut seen = Vec::new();
            for tick in 0..40 {
                let instances = if tick < 5 { absent() } else { Presence::There };
                rollbacks += if tick < database_ends { 10.0 } else { 0.0 };
                let share = if tick == 0 { 0.0 } else { rollbacks / (tick as f64 * 100.0) };
                let status = monitor.evaluate(two(tick, instances, 0.0, Presence::There, share)).0;
                seen.push((status.alerts[0].clone(), status.alerts[1].clone()));
            }
            seen
        };
        // The first value that instances have is of their second sample; with it the five minutes begin.
        let both = seen(99);
        assert!(both[1..26].iter().all(|(quick, slow)| quick.state == Shown::Firing && slow.state == Shown::Pending), "{both:#?}");
        assert_eq!((both[26].0.state, both[26].1.state), (Shown::Resolved, Shown::Inactive));
        let word = "instances, which comes before pg_stat_database, has judged for 5m";
        assert_eq!((both[26].0.reason.as_deref(), both[26].0.source), (Some(word), Some("instances")));
        // What pends would be told by the one and not by the other: it waits.
        assert!(both[20].1.reason.as_deref().unwrap().starts_with("it does not hold by instances, which comes before"), "{:?}", both[20].1);
        // Ended by its own source, at once.
        let own = seen(10);
        assert_eq!((own[12].0.state, own[14].0.state), (Shown::Firing, Shown::Resolved));
    }

    /// Five minutes in which it judged: not in which nobody could read it.
    #[test]
    fn a_source_that_came_up_and_died_again_has_not_judged_meanwhile() {
        let rules = Rules::parse("alerts: {pool: {condition: pool_usage > 90%}}", "x").unwrap();
        let mut monitor = Monitor { is_live: true, ..Monitor::new(rules, 15_000, "test") };
        let mut seen = Vec::new();
        for tick in 0..70 {
            let instances = match tick {
                0..5 => Presence::Absent("no instance is alive".to_string()),
                8..40 => Presence::Failed("nothing listens there".to_string()),
                _ => Presence::There,
            };
            let mut gauges = vec![("candlefish_pg_connections", 95.0), ("candlefish_pg_connections_max", 100.0)];
            if instances == Presence::There {
                gauges.extend([("candlefish_pool_in_use", 1.0), ("candlefish_pool_max", 20.0)]);
            }
            let points = gauges.into_iter().map(|(family, value)| Point { key: Key::new(family, &[]), value }).collect();
            let presence = vec![(Source::Instances, instances), (Source::Database, Presence::There)];
            let status = monitor.evaluate(Sample { at: tick * 15_000, points, presence, ..Sample::default() }).0;
            seen.push(status.alerts[0].state);
        }
        assert!(seen[..60].iter().all(|state| *state == Shown::Firing), "{seen:?}");
        assert_eq!(seen[60], Shown::Resolved, "it has judged for five minutes");
    }

    /// The application is there again and has no call yet, while the database goes on to fail.
    #[test]
    fn what_pends_begins_no_time_anew_because_its_own_source_is_idle() {
        let mut monitor = watch();
        let mut fired = None;
        for tick in 0..40 {
            let mut sample = two(tick, Presence::There, 0.1, Presence::There, if tick == 0 { 0.0 } else { 0.1 });
            // Nobody calls after the sixth sample.
            let calls = tick.min(6) as f64 * 100.0;
            for point in &mut sample.points {
                match point.key.family.as_str() {
                    "candlefish_query_duration_seconds_count" => point.value = calls,
                    "candlefish_query_failures_total" => point.value = calls * 0.1,
                    _ => {}
                }
            }
            let status = monitor.evaluate(sample).0;
            fired = fired.or((status.alerts[1].state == Shown::Firing).then_some(tick));
        }
        assert_eq!(fired, Some(13), "three minutes after its first value");
    }

    /// A run of before knows nothing of waiting.
    #[test]
    fn an_alert_of_an_older_state_file_is_read() {
        let alert: Alert = serde_json::from_str("{\"state\":\"firing\",\"active_at\":1,\"fired_at\":2,\"value\":0.5}").unwrap();
        assert_eq!((alert.state, alert.waits_since, alert.word.as_deref()), (State::Firing, None, None));
    }
}
