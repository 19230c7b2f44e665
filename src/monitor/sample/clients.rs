//! The transactions of clients, out of what pg_stat_database counts: all of them, ours and autovacuum's too. After an outage those would be the only
//! ones, and every one a success.

use serde::{Deserialize, Serialize};

/// What a worker of autovacuum commits when it comes by, and for each table: measured, 2 and 2.5.
const COMMITS_A_VISIT: f64 = 2.0;
const COMMITS_A_TABLE: f64 = 3.0;

/// Sums that only grow.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Clients {
    commits: Others,
    rollbacks: Others,
    /// Commits of clients, and what the others had committed when they were counted.
    committed: f64,
    before: Option<f64>,
    /// Commits of autovacuum that were looked for and not found.
    spare: f64,
    /// The tables that autovacuum had done.
    tables: Option<f64>,
}

/// What autovacuum has done since the statistics began; none where nobody tells.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Autovacuum {
    pub tables: Option<f64>,
    /// None: it is off.
    pub every_seconds: Option<f64>,
}

/// What others counted: all, without our own looking; never less than before, unless everything was reset.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Others {
    all: f64,
    others: f64,
}

impl Others {
    fn count(&mut self, all: f64, own: f64) -> f64 {
        // Our own transactions are known here before the server has counted them.
        self.others = if all < self.all { all } else { self.others.max(all - own) };
        self.all = all;
        self.others
    }
}

impl Clients {
    /// `all`: what the server counts; `own`: of it, ours; `seconds` since the last time.
    pub fn commits(&mut self, all: f64, own: f64, autovacuum: Autovacuum, seconds: f64) -> f64 {
        let others = self.commits.count(all, own);
        let tables = autovacuum.tables.zip(self.tables).map_or(0.0, |(now, before)| (now - before).max(0.0));
        let visits = autovacuum.every_seconds.filter(|every| *every > 0.0).map_or(0.0, |every| seconds.max(0.0) / every);
        let background = COMMITS_A_TABLE * tables + COMMITS_A_VISIT * visits.ceil();
        self.committed += match self.before {
            None => others,
            Some(before) if others < before => others,
            Some(before) => {
                let grown = others - before;
                let of_clients = (grown - background - self.spare).max(0.0);
                // Workers are counted a little later than they work; what they did not do at all is no debt of clients that call later.
                self.spare = (background + self.spare - grown).clamp(0.0, background);
                of_clients
            }
        };
        self.before = Some(others);
        self.tables = autovacuum.tables.or(self.tables);
        self.committed
    }

    pub fn rollbacks(&mut self, all: f64, own: f64) -> f64 {
        self.rollbacks.count(all, own)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_transactions_are_no_traffic() {
        let mut others = Others::default();
        assert_eq!(others.count(100.0, 4.0), 96.0);
        // Four more of ours, none of which the server has counted yet; then it has.
        assert_eq!(others.count(100.0, 8.0), 96.0);
        assert_eq!(others.count(108.0, 12.0), 96.0);
        assert_eq!(others.count(150.0, 12.0), 138.0);
        assert_eq!(others.count(3.0, 16.0), 3.0, "a reset");
    }

    #[test]
    fn autovacuum_is_no_traffic_and_leaves_no_debt() {
        let mut clients = Clients::default();
        let done = |tables: f64| Autovacuum { tables: Some(tables), every_seconds: Some(60.0) };
        assert_eq!(clients.commits(1000.0, 0.0, done(7.0), 15.0), 1000.0);
        // Twenty tables, a visit.
        assert_eq!(clients.commits(1052.0, 0.0, done(27.0), 15.0), 1000.0);
        // Counted after it was done; then real ones.
        assert_eq!(clients.commits(1053.0, 0.0, done(37.0), 15.0), 1000.0);
        assert_eq!(clients.commits(1087.0, 0.0, done(37.0), 15.0), 1000.0);
        for _ in 0..100 {
            assert_eq!(clients.commits(1087.0, 0.0, done(37.0), 15.0), 1000.0);
        }
        assert_eq!(clients.commits(1191.0, 0.0, done(37.0), 15.0), 1100.0);
        assert_eq!(clients.commits(1291.0, 0.0, Autovacuum::default(), 15.0), 1200.0);
        // A reset.
        assert_eq!(clients.commits(5.0, 0.0, done(0.0), 15.0), 1205.0);
    }
}
