//! The states of an alert, as Prometheus has them: inactive, pending, firing, and for a while resolved. No clock of its own.

use serde::{Deserialize, Serialize};

use crate::monitor::rule::Rule;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    #[default]
    Inactive,
    Pending,
    Firing,
    /// Inactive, after it fired: for a quarter of an hour.
    Resolved,
}

impl State {
    pub const ALL: [State; 4] = [State::Inactive, State::Pending, State::Firing, State::Resolved];

    pub fn name(self) -> &'static str {
        match self {
            State::Inactive => "inactive",
            State::Pending => "pending",
            State::Firing => "firing",
            State::Resolved => "resolved",
        }
    }
}

/// How long a resolved alert is shown as such, and told again who was not told.
const RESOLVED_MS: i64 = 15 * 60_000;

/// One alert. All times are milliseconds since 1970.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Alert {
    pub state: State,
    /// Since when the condition holds.
    pub active_at: Option<i64>,
    pub fired_at: Option<i64>,
    pub resolved_at: Option<i64>,
    pub keep_firing_since: Option<i64>,
    /// As the source that it goes by last said it; in Prometheus's units.
    pub value: Option<f64>,
    /// And when that was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value_at: Option<i64>,
    /// As it was when its condition last held: what the annotations of an alert speak of.
    pub held: Option<f64>,
    /// Since when another source than its own was the first with something to judge.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waits_since: Option<i64>,
    /// Why it no longer goes by the source by which it began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub word: Option<String>,
}

/// What an evaluation says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Verdict {
    Holds,
    HoldsNot,
    /// Nothing happened that could tell: the state stays what it is, and what keeps firing after its end begins to count anew.
    Unknown,
    /// The evaluation itself failed. As in Prometheus everything stays as it is, and what keeps firing after its end runs on.
    Failed,
}

/// A change that others are told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    Fired,
    Resolved,
}

impl Alert {
    /// One evaluation at `now`.
    pub fn step(&mut self, rule: &Rule, now: i64, verdict: Verdict) -> Option<Change> {
        let mut change = None;
        match verdict {
            // Time in which nothing told is none in which the condition was over.
            Verdict::Unknown => self.keep_firing_since = None,
            Verdict::Failed => {}
            Verdict::Holds => {
                self.keep_firing_since = None;
                if matches!(self.state, State::Inactive | State::Resolved) {
                    *self = Alert { state: State::Pending, active_at: Some(now), ..self.quiet() };
                }
            }
            Verdict::HoldsNot => {
                if self.state == State::Firing && rule.keep_firing_ms > 0 {
                    let since = *self.keep_firing_since.get_or_insert(now);
                    if now - since < rule.keep_firing_ms {
                        return None;
                    }
                }
                match self.state {
                    State::Pending => *self = self.quiet(),
                    State::Firing => {
                        self.state = State::Resolved;
                        self.resolved_at = Some(now);
                        self.keep_firing_since = None;
                        change = Some(Change::Resolved);
                    }
                    State::Inactive | State::Resolved => {}
                }
            }
        }
        // An error holds a pending alert where it is, too.
        if self.state == State::Pending && verdict == Verdict::Holds && self.held_ms(now) >= rule.for_ms {
            self.state = State::Firing;
            self.fired_at = Some(now);
            change = Some(Change::Fired);
        }
        if self.state == State::Resolved && self.resolved_at.is_some_and(|resolved| now - resolved > RESOLVED_MS) {
            *self = self.quiet();
        }
        change
    }

    /// Inactive, as if it had never been anything else; what was last seen stays.
    fn quiet(&self) -> Self {
        Alert { value: self.value, value_at: self.value_at, ..Alert::default() }
    }

    /// How long its condition has held.
    pub fn held_ms(&self, now: i64) -> i64 {
        self.active_at.map_or(0, |since| now - since)
    }

    /// Takes up an alert of an earlier run, last seen at `seen`: a condition that nobody watched for so long begins anew, and one that now has to
    /// hold longer is pending again.
    pub fn resume(mut self, rule: &Rule, seen: i64, now: i64, silence_ms: i64) -> Self {
        if self.state == State::Pending && now - seen > silence_ms {
            return Alert::default();
        }
        if self.state == State::Firing && self.held_ms(now) < rule.for_ms {
            self.state = State::Pending;
            self.fired_at = None;
        }
        self
    }

    /// The clock was set: what was is by so much later than it seemed.
    pub fn shift(&mut self, by_ms: i64) {
        let since = [&mut self.active_at, &mut self.fired_at, &mut self.resolved_at, &mut self.keep_firing_since, &mut self.waits_since];
        for time in since.into_iter().chain([&mut self.value_at]) {
            *time = time.map(|time| time + by_ms);
        }
    }

    /// A time in which nobody watched is none in which the condition held: what pends goes on from where it was.
    pub fn was_unwatched(&mut self, for_ms: i64) {
        if self.state == State::Pending {
            self.active_at = self.active_at.map(|since| since + for_ms);
        }
        self.waits_since = self.waits_since.map(|since| since + for_ms);
    }

    /// Since when it is in its state.
    pub fn since(&self) -> Option<i64> {
        match self.state {
            State::Inactive => None,
            State::Pending => self.active_at,
            State::Firing => self.fired_at,
            State::Resolved => self.resolved_at,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::monitor::rule::Condition;

    fn rule(for_ms: i64, keep_firing_ms: i64) -> Rule {
        Rule { for_ms, keep_firing_ms, ..Rule::new("r", Condition::parse("error_rate > 1%").unwrap()) }
    }

    /// One letter a tick of 15 s: `x` holds, `.` does not, `?` nothing tells, `!` the evaluation failed; and the states in the same way.
    fn states(rule: &Rule, verdicts: &str) -> String {
        let mut alert = Alert::default();
        let step = |(tick, verdict): (usize, char)| {
            let verdict = match verdict {
                'x' => Verdict::Holds,
                '.' => Verdict::HoldsNot,
                '!' => Verdict::Failed,
                _ => Verdict::Unknown,
            };
            alert.step(rule, tick as i64 * 15_000, verdict);
            match alert.state {
                State::Inactive => '-',
                State::Pending => 'p',
                State::Firing => 'F',
                State::Resolved => 'r',
            }
        };
        verdicts.chars().enumerate().map(step).collect()
    }

    #[test]
    fn durations_are_kept() {
        assert_eq!(states(&rule(0, 0), ".x.x"), "-FrF");
        assert_eq!(states(&rule(30_000, 0), "xxxxx."), "ppFFFr");
        assert_eq!(states(&rule(30_000, 0), "xx.xxx"), "pp-ppF", "one good sample begins the time anew");
        assert_eq!(states(&rule(0, 30_000), "x...x...."), "FFFrFFFrr");
    }

    #[test]
    fn keep_firing_for_bridges_gaps_and_ends() {
        assert_eq!(states(&rule(0, 30_000), "x.x...."), "FFFFFrr");
    }

    #[test]
    fn what_nobody_knows_changes_nothing() {
        assert_eq!(states(&rule(30_000, 0), "x?????x"), "pppppp".to_string() + "F");
        assert_eq!(states(&rule(0, 0), "x??.?"), "FFFrr");
        assert_eq!(states(&rule(0, 30_000), "x.?..."), "FFFFFr");
        assert_eq!(states(&rule(0, 0), "??"), "--");
    }

    /// Prometheus leaves a rule alone whose query fails, `KeepFiringSince` and `ActiveAt` included.
    #[test]
    fn an_evaluation_that_failed_stops_no_clock() {
        assert_eq!(states(&rule(30_000, 0), "x!!x"), "pppF");
        assert_eq!(states(&rule(0, 0), "x!!.!"), "FFFrr");
        assert_eq!(states(&rule(0, 30_000), "x.!..."), "FFFrrr", "it ran on");
        assert_eq!(states(&rule(0, 30_000), "x.!!!x"), "FFFFFF", "a failure itself ends nothing");
        assert_eq!(states(&rule(0, 30_000), "x.!!!."), "FFFFFr");
    }

    #[test]
    fn a_resolved_alert_is_inactive_after_a_quarter_of_an_hour() {
        let text = format!("x{}", ".".repeat(62));
        let states = states(&rule(0, 0), &text);
        assert!(states.starts_with("Fr") && states.ends_with("r-"), "{states}");
    }

    #[test]
    fn a_run_takes_up_what_another_left() {
        let pending = Alert { state: State::Pending, active_at: Some(0), ..Alert::default() };
        let outage = 3_600_000;
        let mut resumed = pending.clone().resume(&rule(30_000, 0), 15_000, 30_000, outage);
        assert_eq!(resumed.step(&rule(30_000, 0), 30_000, Verdict::Holds), Some(Change::Fired));
        let mut restarted = pending.clone();
        restarted.was_unwatched(60_000);
        assert_eq!(restarted.step(&rule(30_000, 0), 75_000, Verdict::Holds), None);
        assert_eq!(restarted.step(&rule(30_000, 0), 90_000, Verdict::Holds), Some(Change::Fired));
        assert_eq!(pending.resume(&rule(30_000, 0), 0, outage + 1, outage), Alert::default());
        let firing = Alert { state: State::Firing, active_at: Some(0), fired_at: Some(30_000), ..Alert::default() };
        assert_eq!(
            firing.clone().resume(&rule(600_000, 0), 30_000, 45_000, outage).state,
            State::Pending,
            "the rule now wants ten minutes"
        );
        assert_eq!(firing.resume(&rule(30_000, 0), 30_000, outage * 9, outage).state, State::Firing);
    }
}
