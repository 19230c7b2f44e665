//! The sums of pg_stat_statements, statement by statement: one that is thrown out for want of room takes its counts with it, and the sum of what is
//! left would fall as if everything had been reset.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::stats::Sheet;

/// Stands for the number of a statement that this user may not see.
const HIDDEN: &str = "hidden";

/// Sums that only grow, and what each statement had counted when it was last seen.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Counted {
    pub calls: f64,
    pub seconds: f64,
    /// By statement and user: calls, and milliseconds.
    seen: HashMap<String, (f64, f64)>,
    begun: bool,
}

impl Counted {
    /// Adds what happened since the last time. What was there at the first is where counting begins.
    pub fn count(&mut self, sheet: &Sheet) {
        let column = |name: &str| sheet.position(name);
        let (Some(id), Some(user), Some(calls), Some(total), Some(query), Some(rows)) =
            (column("query_id"), column("user"), column("calls"), column("total_ms"), column("query"), &sheet.rows)
        else {
            return;
        };
        let mut sums: HashMap<String, (f64, f64)> = HashMap::with_capacity(rows.len());
        for row in rows {
            let (Some(new_calls), Some(new_total)) = (row[calls].number(), row[total].number()) else { continue };
            if row[query].text().is_some_and(is_transaction_control) {
                continue;
            }
            // A user's hidden statements cannot be told apart: they are one.
            let key = format!("{} {}", row[id].text().unwrap_or(HIDDEN), row[user].text().unwrap_or("-"));
            let sum = sums.entry(key).or_insert((0.0, 0.0));
            *sum = (sum.0 + new_calls, sum.1 + new_total);
        }
        for (key, (calls, total)) in sums.iter().filter(|_| self.begun) {
            let (old_calls, old_total) = match self.seen.get(key) {
                Some((old_calls, old_total)) if old_calls <= calls => (*old_calls, *old_total),
                // One of them came, or was thrown out, or all were reset: how much the others grew nobody knows.
                _ if key.starts_with(HIDDEN) => continue,
                // A statement that is new, or was reset, has all its counts from since then.
                _ => (0.0, 0.0),
            };
            self.calls += calls - old_calls;
            self.seconds += (total - old_total).max(0.0) / 1000.0;
        }
        self.seen = sums;
        self.begun = true;
    }
}

/// BEGIN and COMMIT take no time, and would halve every mean.
pub(super) fn is_transaction_control(query: &str) -> bool {
    let first = query.split_whitespace().next().unwrap_or_default().trim_end_matches(';').to_ascii_lowercase();
    matches!(first.as_str(), "begin" | "commit" | "rollback" | "start" | "end" | "savepoint" | "release" | "set" | "deallocate" | "discard")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::{Cell, Column};

    fn sheet(rows: &[(&str, i64, f64)]) -> Sheet {
        let row = |(id, calls, total): &(&str, i64, f64)| {
            vec![
                if id.is_empty() { Cell::Null } else { Cell::from(*id) },
                "u".into(),
                Cell::Int(*calls),
                Cell::Real(*total),
                Cell::from(if *id == "b" { "BEGIN" } else { "SELECT" }),
            ]
        };
        Sheet {
            stat: "slow-queries",
            server_version: Some("15".to_string()),
            since: None,
            rows: Some(rows.iter().map(row).collect()),
            columns: ["query_id", "user", "calls", "total_ms", "query"].map(Column::new).to_vec(),
            notes: Vec::new(),
            skipped: Vec::new(),
            left_out: crate::stats::LeftOut::default(),
            passing: false,
        }
    }

    #[test]
    fn sums_only_grow_whatever_is_thrown_out_or_reset() {
        let mut counted = Counted::default();
        counted.count(&sheet(&[("1", 100, 1000.0), ("2", 50, 500.0), ("b", 999, 1.0)]));
        assert_eq!((counted.calls, counted.seconds), (0.0, 0.0));
        // 1 goes on, 2 was thrown out, 3 is new.
        counted.count(&sheet(&[("1", 110, 1100.0), ("3", 5, 50.0), ("b", 9999, 9.0)]));
        assert_eq!(counted.calls, 15.0);
        assert!((counted.seconds - 0.15).abs() < 1e-9);
        // Everything was reset.
        counted.count(&sheet(&[("1", 3, 30.0)]));
        assert_eq!(counted.calls, 18.0);
    }

    #[test]
    fn statements_that_are_hidden_are_counted_once() {
        let mut counted = Counted::default();
        counted.count(&sheet(&[("", 100, 1000.0), ("", 50, 500.0)]));
        for _ in 0..3 {
            counted.count(&sheet(&[("", 100, 1000.0), ("", 50, 500.0)]));
        }
        assert_eq!((counted.calls, counted.seconds), (0.0, 0.0), "nothing was called");
        counted.count(&sheet(&[("", 104, 1100.0), ("", 51, 600.0)]));
        assert_eq!(counted.calls, 5.0);
        assert!((counted.seconds - 0.2).abs() < 1e-9);
        // One is thrown out: the other's lifetime is no news.
        counted.count(&sheet(&[("", 104, 1100.0)]));
        assert_eq!(counted.calls, 5.0);
        counted.count(&sheet(&[("", 110, 1160.0)]));
        assert_eq!(counted.calls, 11.0);
    }
}
