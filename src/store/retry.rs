//! Trying again: only what is safe, with a pause by chance, within the deadline, and never more than a share of what succeeds.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::model::{Query, QueryKind};
use crate::store::timed::Failed;
use crate::store::{StoreError, chance};

/// How long one call goes on.
#[derive(Clone, Copy)]
pub(super) struct Limits {
    pub retries: u32,
    pub deadline: Instant,
    pub away_until: Instant,
}

impl Limits {
    /// How long to wait before looking again whether the server is back.
    pub fn wait_for_server(&self) -> Option<Duration> {
        let pause = Duration::from_millis(25) + Duration::from_millis(100).mul_f64(chance::unit());
        (Instant::now() + pause < self.away_until.min(self.deadline)).then_some(pause)
    }
}

/// Retries that the store still has: one for every ten calls that succeed, ten at most. A database in trouble is not met by a storm.
pub(super) struct Budget(Mutex<f64>);

const FULL: f64 = 10.0;

impl Default for Budget {
    fn default() -> Self {
        Budget(Mutex::new(FULL))
    }
}

impl Budget {
    pub fn succeeded(&self) {
        let mut left = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        *left = (*left + 0.1).min(FULL);
    }

    fn take(&self) -> bool {
        let mut left = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let has = *left >= 1.0;
        if has {
            *left -= 1.0;
        }
        has
    }

    /// How long to wait before try number `attempt` (the first retry is 1); None when there is none.
    ///
    /// A server that is away (restarted, failed over) is waited for until `away_until`, whatever the budget: nothing was sent to it.
    pub fn pause(&self, query: &Query, failed: &Failed, attempt: u32, limits: &Limits) -> Option<Duration> {
        if let Failed::NotDone(error) = failed
            && error.is_away()
        {
            return limits.wait_for_server();
        }
        let Limits { retries, deadline, .. } = *limits;
        self.pause_if(is_safe(query, failed), attempt, retries, deadline)
    }

    /// The same, for what the caller knows to be safe or not.
    pub fn pause_if(&self, is_safe: bool, attempt: u32, retries: u32, deadline: Instant) -> Option<Duration> {
        if attempt > retries || !is_safe || !self.take() {
            return None;
        }
        let most = Duration::from_millis(100) * 2_u32.pow(attempt.min(6) - 1);
        let pause = most.mul_f64(chance::unit());
        (Instant::now() + pause < deadline).then_some(pause)
    }
}

/// True when the same statement may run again: nothing of it is there, or twice is as good as once; and the reason may pass.
fn is_safe(query: &Query, failed: &Failed) -> bool {
    match failed {
        Failed::NotDone(StoreError::Database { sqlstate, .. }) => {
            // Serialization failures and deadlocks; and the server going down, which only a read may try elsewhere.
            matches!(sqlstate.as_str(), "40001" | "40P01")
                || (query.kind != QueryKind::Write
                    && (matches!(sqlstate.as_str(), "57P01" | "57P02" | "57P03") || sqlstate.starts_with("08")))
        }
        Failed::NotDone(StoreError::ConnectionLost(_) | StoreError::Unreachable(_)) => true,
        Failed::NotDone(_) => false,
        Failed::Unknown(_) => query.idempotent,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_safe_is_tried_again() {
        let read = Query::read("r", "SELECT 1", &[]);
        let write = Query::write("w", "UPDATE t SET a = 1", &[]);
        let refusal = |sqlstate: &str| Failed::NotDone(StoreError::Database { sqlstate: sqlstate.to_string(), message: String::new() });
        for sqlstate in ["23505", "42601", "57014", "22P02"] {
            assert!(!is_safe(&read, &refusal(sqlstate)) && !is_safe(&write, &refusal(sqlstate)), "{sqlstate}");
        }
        assert!(is_safe(&write, &refusal("40001")) && is_safe(&write, &refusal("40P01")));
        assert!(is_safe(&read, &refusal("57P01")) && !is_safe(&write, &refusal("57P01")));
        assert!(!is_safe(&write, &Failed::Unknown(String::new())));
        assert!(is_safe(&write.idempotent(), &Failed::Unknown(String::new())));
    }

    #[test]
    fn the_budget_runs_out_and_comes_back_slowly() {
        let budget = Budget::default();
        assert_eq!((0..100).filter(|_| budget.take()).count(), 10);
        (0..11).for_each(|_| budget.succeeded());
        assert_eq!((0..100).filter(|_| budget.take()).count(), 1);
    }
}
