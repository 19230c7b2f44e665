//! The transactions of clients, out of what pg_stat_database counts: all of them, candlefish's own looks and autovacuum's work too. After an outage
//! those would be the only ones, and every one a success.

use serde::{Deserialize, Serialize};

use crate::stats::{Looks, Others};

/// What a worker of autovacuum commits when it comes by, and for each table: measured, 2 and 2.5.
const COMMITS_A_VISIT: f64 = 2.0;
const COMMITS_A_TABLE: f64 = 3.0;

/// Sums that only grow.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Clients {
    looks: Looks,
    commits: Others,
    rollbacks: Others,
    hits: Others,
    reads: Others,
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

impl Clients {
    /// `all`: what the server counts; `own`: of it, ours; `looks` of others, by their marks; `seconds` since the last time.
    pub fn commits(&mut self, all: f64, own: f64, looks: &[(String, f64)], autovacuum: Autovacuum, seconds: f64) -> f64 {
        let looks = self.looks.count(looks);
        let others = self.commits.count(all, own + looks);
        let tables = autovacuum.tables.zip(self.tables).map_or(0.0, |(now, before)| (now - before).max(0.0));
        let visits = autovacuum.every_seconds.filter(|every| *every > 0.0).map_or(0.0, |every| seconds.max(0.0) / every);
        let background = COMMITS_A_TABLE * tables + COMMITS_A_VISIT * visits.ceil();
        self.committed += match self.before {
            None => others,
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

    /// Blocks found in shared buffers; `catalogs` of `all` are what every look reads, and no application's rows.
    pub fn hits(&mut self, all: f64, catalogs: f64) -> f64 {
        self.hits.count(all, catalogs)
    }

    /// Blocks that were not found there, as [`Clients::hits`].
    pub fn reads(&mut self, all: f64, catalogs: f64) -> f64 {
        self.reads.count(all, catalogs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_of_others_are_no_traffic_wherever_they_come_from_and_go() {
        let mut clients = Clients::default();
        let mut commits = |all: f64, looks: &[(&str, f64)]| {
            let looks: Vec<_> = looks.iter().map(|(mark, looks)| (mark.to_string(), *looks)).collect();
            clients.commits(all, 0.0, &looks, Autovacuum::default(), 15.0)
        };
        // One was there before; one comes, and its connection is among its looks; both go on, and one goes.
        assert_eq!(commits(1000.0, &[("a", 500.0)]), 1000.0);
        assert_eq!(commits(1010.0, &[("a", 507.0), ("b", 3.0)]), 1000.0);
        assert_eq!(commits(1020.0, &[("a", 517.0)]), 1000.0);
        // Hidden by a pooler for a while, and back; thirty are of clients.
        assert_eq!(commits(1080.0, &[("b", 13.0), ("a", 537.0)]), 1030.0);
        assert_eq!(commits(1081.0, &[("b", 14.0)]), 1030.0);
    }

    #[test]
    fn autovacuum_is_no_traffic_and_leaves_no_debt() {
        let mut clients = Clients::default();
        let done = |tables: f64| Autovacuum { tables: Some(tables), every_seconds: Some(60.0) };
        let mut commits = |all: f64, autovacuum: Autovacuum| clients.commits(all, 0.0, &[], autovacuum, 15.0);
        assert_eq!(commits(1000.0, done(7.0)), 1000.0);
        // Twenty tables, a visit.
        assert_eq!(commits(1052.0, done(27.0)), 1000.0);
        // Counted after it was done; then real ones.
        assert_eq!(commits(1053.0, done(37.0)), 1000.0);
        assert_eq!(commits(1087.0, done(37.0)), 1000.0);
        for _ in 0..100 {
            assert_eq!(commits(1087.0, done(37.0)), 1000.0);
        }
        assert_eq!(commits(1191.0, done(37.0)), 1100.0);
        assert_eq!(commits(1291.0, Autovacuum::default()), 1200.0);
        // A reset, and a visit.
        assert_eq!(commits(5.0, done(0.0)), 1203.0);
    }
}
