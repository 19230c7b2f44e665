//! That a source cannot be read is an alert of its own, for each source, whatever the rules are about: who watches a database is told that it is down,
//! and not only that this or that number is unknown.

use crate::monitor::Monitor;
use crate::monitor::alert::{Alert, State};
use crate::monitor::metric::{Measured, Source, matchers};
use crate::monitor::outcome::Outcome;
use crate::monitor::rule::{Condition, Rule, Seen};
use crate::monitor::rules_file::Rules;
use crate::monitor::sample::{Presence, Sample};
use crate::monitor::series::{Key, Point, Selector};

/// The built-in alert; one of this name in a file of rules takes its place.
pub const SOURCE_UNREADABLE: &str = "source_unreadable";

/// What `/metrics` and scripts call it.
const FAMILY: &str = "candlefish_source_failed";

/// A source that nobody names (pg_stat_statements) and that was read once is missed for so long; then it is taken for one that was taken away.
/// Longer than a daily job needs to find it missing twice.
const MISSED_MS: i64 = 50 * 3_600_000;

impl Condition {
    /// The sources that a condition about sources selects.
    pub fn sources(&self) -> impl Iterator<Item = Source> {
        let is_selected = |source: &Source| {
            let labels = [("source".to_string(), source.name().to_string())].into();
            self.selectors.iter().all(|selector| selector.matches(&labels))
        };
        Source::ALL.into_iter().filter(is_selected)
    }
}

impl Rule {
    /// What holds where no rule says otherwise.
    pub fn source_unreadable() -> Self {
        let condition = Condition::parse("source_failed > 0").expect("a unit test reads it");
        Rule {
            for_ms: 60_000,
            severity: "critical".to_string(),
            annotations: [("summary".to_string(), "{{ $labels.source }} cannot be read".to_string())].into(),
            is_built_in: true,
            ..Rule::new(SOURCE_UNREADABLE, condition)
        }
    }

    /// A rule for each alert that there can be: for each source that it selects, or itself.
    fn each(&self) -> Vec<Rule> {
        if !self.condition.metric.is_of_sources() {
            return vec![self.clone()];
        }
        let of = |source: Source| {
            let mut rule = Rule { of: Some(source), ..self.clone() };
            rule.condition.selectors = vec![is(source)];
            rule.labels.insert("source".to_string(), source.name().to_string());
            rule
        };
        self.condition.sources().map(of).collect()
    }

    /// What tells its alert from every other.
    pub fn key(&self) -> String {
        match self.of {
            Some(source) => format!("{}{{source=\"{}\"}}", self.name, source.name()),
            None => self.name.clone(),
        }
    }

    /// The same for Prometheus: a series of each source, but that pg_stat_statements is in a server that cannot be read is no second alert.
    pub(super) fn promql_of_sources(&self) -> String {
        let Condition { selectors, sign, limit, .. } = &self.condition;
        let mut text = format!("max by (source) ({FAMILY}{})", matchers(None, selectors));
        if self.condition.sources().any(|source| source == Source::Statements) {
            let failed = |source: Source| format!("max by (source) ({FAMILY}{{source=\"{}\"}}) > 0", source.name());
            let active = format!("ALERTS{{alertname=\"{}\",source=\"{}\"}}", self.name, Source::Statements.name());
            text = format!(
                "({text} unless on (source) (({} and on () ({})) unless on (source) {active}))",
                failed(Source::Statements),
                failed(Source::Database)
            );
        }
        format!("{text} {} {limit}", sign.text())
    }
}

impl Rules {
    /// With a rule for each alert that there can be.
    pub fn each(&self) -> Self {
        Rules { rules: self.rules.iter().flat_map(Rule::each).collect(), interval_ms: self.interval_ms }
    }
}

impl Monitor {
    /// Whether this source cannot be read.
    pub(super) fn look_at(&self, source: Source, alert: &Alert, sample: &Sample) -> Outcome {
        let value = |source: Source| self.series.instant(FAMILY, &[is(source)], sample.at).first().map(|(_, value)| *value);
        let said = sample.presence.iter().find_map(|(there, presence)| match presence {
            Presence::Absent(why) | Presence::Failed(why) if *there == source => Some(why.clone()),
            _ => None,
        });
        let is_active = matches!(alert.state, State::Pending | State::Firing);
        let is_in_one_that_failed = || source == Source::Statements && value(Source::Database).is_some_and(|failed| failed > 0.0);
        match value(source) {
            // The server's alert is the one to tell; what was told before goes on.
            Some(failed) if failed > 0.0 && !is_active && is_in_one_that_failed() => Outcome::NoSeries(source, said.unwrap_or_default()),
            Some(value) => Outcome::Source(Seen { source, measured: Measured { value, events: None } }, said),
            None => Outcome::NoSeries(source, "nobody looks at it".to_string()),
        }
    }

    /// A sample of now says of each source whether it could be read; and of one that nobody names, and that was read before, that it should be there.
    pub(super) fn take_in_sources(&mut self, sample: &mut Sample) {
        let at = sample.at;
        for (source, presence) in sample.presence.iter_mut().filter(|(source, _)| *source == Source::Statements) {
            match presence {
                Presence::There => _ = self.missed.insert(*source, None),
                Presence::Failed(_) => {}
                Presence::Absent(why) => {
                    let Some(since) = self.missed.get_mut(source) else { continue };
                    let since = *since.get_or_insert(at);
                    if at - since < MISSED_MS {
                        *presence = Presence::Failed(format!("it was read before: {why}"));
                    } else {
                        self.missed.remove(source);
                    }
                }
            }
        }
        let point = |(source, presence): &(Source, Presence)| {
            let value = f64::from(u8::from(matches!(presence, Presence::Failed(_))));
            Point { key: Key::new(FAMILY, &[("source", source.name())]), value }
        };
        sample.points.extend(sample.presence.iter().map(point));
    }
}

fn is(source: Source) -> Selector {
    Selector { label: "source".to_string(), value: source.name().to_string(), equal: true }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::monitor::Shown;

    /// PostgreSQL and the extension in it, of which each can be read or not.
    fn states(monitor: &mut Monitor, tick: i64, statements: Presence, database: Presence) -> Vec<(Source, Shown)> {
        let presence = vec![(Source::Statements, statements), (Source::Database, database)];
        let status = monitor.evaluate(Sample { at: tick * 15_000, presence, ..Sample::default() }).0;
        let named = |name: Option<&str>| Source::ALL.into_iter().find(|source| Some(source.name()) == name).unwrap();
        status.alerts.iter().filter(|alert| alert.is_of_source()).map(|alert| (named(alert.source), alert.state)).collect()
    }

    fn watch() -> Monitor {
        Monitor { is_live: true, ..Monitor::new(Rules::strategy(), 15_000, "test") }
    }

    #[test]
    fn a_server_that_is_down_is_one_alert_and_ends_none_that_was_there() {
        let (there, down) = (|| Presence::There, || Presence::Failed("nothing listens there".to_string()));
        let mut monitor = watch();
        let both = |statements, database| vec![(Source::Statements, statements), (Source::Database, database)];
        assert_eq!(states(&mut monitor, 0, there(), there()), both(Shown::Inactive, Shown::Inactive));
        assert_eq!(states(&mut monitor, 1, down(), down()), [(Source::Database, Shown::Pending)]);
        assert_eq!(states(&mut monitor, 5, down(), down()), [(Source::Database, Shown::Firing)]);
        assert_eq!(states(&mut monitor, 6, down(), there()), both(Shown::Pending, Shown::Resolved));
        assert_eq!(states(&mut monitor, 7, down(), down()), both(Shown::Pending, Shown::Pending));
        assert_eq!(states(&mut monitor, 11, down(), down()), both(Shown::Firing, Shown::Firing));
        assert_eq!(states(&mut monitor, 12, there(), there()), both(Shown::Resolved, Shown::Resolved));
    }

    #[test]
    fn who_was_never_there_is_not_missed() {
        let absent = || Presence::Absent("the extension is not there".to_string());
        let mut monitor = watch();
        let database = (Source::Database, Shown::Inactive);
        for tick in 0..10 {
            assert_eq!(states(&mut monitor, tick, absent(), Presence::There), [database]);
        }
        states(&mut monitor, 10, Presence::There, Presence::There);
        assert_eq!(states(&mut monitor, 11, absent(), Presence::There), [(Source::Statements, Shown::Pending), database]);
        assert_eq!(states(&mut monitor, 15, absent(), Presence::There), [(Source::Statements, Shown::Firing), database]);
        let later = 11 + MISSED_MS / 15_000;
        assert_eq!(states(&mut monitor, later - 1, absent(), Presence::There), [(Source::Statements, Shown::Firing), database]);
        assert_eq!(states(&mut monitor, later, absent(), Presence::There), [(Source::Statements, Shown::Resolved), database]);
        assert_eq!(states(&mut monitor, later + 100, absent(), Presence::There), [database]);
    }

    #[test]
    fn the_expression_for_prometheus_has_a_series_of_each_source() {
        let promql = |text: &str| Rule::new("down", Condition::parse(text).unwrap()).promql();
        assert_eq!(
            promql("source_failed{source=\"pgbouncer\"} > 0"),
            "max by (source) (candlefish_source_failed{source=\"pgbouncer\"}) > 0"
        );
        assert_eq!(
            promql("source_failed > 0"),
            "(max by (source) (candlefish_source_failed) unless on (source) ((max by (source) \
             (candlefish_source_failed{source=\"pg_stat_statements\"}) > 0 and on () (max by (source) \
             (candlefish_source_failed{source=\"pg_stat_database\"}) > 0)) unless on (source) \
             ALERTS{alertname=\"down\",source=\"pg_stat_statements\"})) > 0"
        );
    }

    #[test]
    fn a_rule_takes_the_place_of_the_built_in_one_and_defaults_are_its_own() {
        let rules = |text: &str| Rules::parse(text, "x").unwrap();
        let own = rules("alerts: {source_unreadable: {condition: 'source_failed{source!=\"pgbouncer\"} > 0', severity: info}}");
        let shown: Vec<_> = own.each().rules.iter().map(|rule| (rule.key(), rule.severity.clone())).collect();
        let key = |source: &str| (format!("source_unreadable{{source=\"{source}\"}}"), "info".to_string());
        assert_eq!(shown, [key("instances"), key("pg_stat_statements"), key("pg_stat_database")]);
        let built_in = rules("defaults: {labels: {team: data}, annotations: {summary: s, runbook: r}}\nalerts: {a: {condition: p95 > 1s}}");
        let last = built_in.rules.last().unwrap();
        assert!(last.is_built_in && last.labels["team"] == "data" && last.annotations["runbook"] == "r", "{last:?}");
        assert_eq!(built_in.each().rules[1].annotations(Some(1.0), None)["summary"], "instances cannot be read");
    }
}
