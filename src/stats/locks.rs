//! Who waits for whom.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::FutureExt as _;

use crate::model::Cell;
use crate::stats::ending::of_prepared;
use crate::stats::{Growth, Reading, Stat};

pub const STAT: Stat = Stat {
    name: "locks",
    about: "who waits for whom, as a tree with its root cause",
    columns: &[
        "tree",
        "depth",
        "pid",
        "blocked_by",
        "blocks",
        "gid",
        "user",
        "application",
        "client",
        "state",
        "wait",
        "transaction_seconds",
        "state_seconds",
        "remedy",
        "query",
    ],
    growth: Growth::NONE,
    read: |look| {
        async move {
            let sessions = look.sessions(include_str!("queries/locks.sql")).await?;
            let mut rows = rows(sessions.rows);
            look.say_who_may_end(&STAT, &mut rows).await?;
            Ok(Reading { rows, ..sessions })
        }
        .boxed()
    },
};

/// Where the query's columns stand.
const PID: usize = 0;
const BLOCKERS: usize = 1;
const HOLDERS: usize = 2;
/// Of prepared transactions: database, name and owner.
const DATABASE: usize = 3;
const GID: usize = 4;
const OWNER: usize = 5;
const REMEDY: usize = 12;

/// The sessions in the order of the tree.
fn rows(sessions: Vec<Vec<Cell>>) -> Vec<Vec<Cell>> {
    let numbers =
        |cell: &Cell| -> BTreeSet<i64> { cell.text().unwrap_or_default().split(' ').filter_map(|pid| pid.parse().ok()).collect() };
    let mut waits = Waits::default();
    let mut sessions: BTreeMap<i64, Vec<Cell>> = sessions.into_iter().filter_map(|row| Some((row[PID].number()? as i64, row))).collect();
    for (pid, row) in &sessions {
        waits.add(*pid, numbers(&row[BLOCKERS]), numbers(&row[HOLDERS]));
    }
    let place = |place: Place| {
        let mut row = sessions.remove(&place.pid)?;
        // A prepared transaction is no process, and is known by its name.
        let text = |at: usize| row[at].text().unwrap_or_default();
        let (who, remedy) = match row[GID].text() {
            Some(gid) => (format!("prepared {gid}"), Cell::Text(of_prepared(gid, text(DATABASE), text(OWNER)))),
            None => (process(place.pid).to_string(), row[REMEDY].clone()),
        };
        row[REMEDY] = if place.depth > 0 { Cell::Null } else { remedy };
        let tree = format!("{}{who}", "  ".repeat(place.depth));
        let blocked_by = place.blocked_by.map(process);
        let first =
            [Cell::Text(tree), Cell::Int(place.depth as i64), Cell::Int(process(place.pid)), blocked_by.into(), Cell::Int(place.blocks)];
        Some(first.into_iter().chain(row.drain(DATABASE + 1..)).collect())
    };
    waits.tree().into_iter().filter_map(place).collect()
}

/// As pg_blocking_pids() has it: 0 for each prepared transaction, which the query tells apart by numbers below it.
fn process(pid: i64) -> i64 {
    pid.max(0)
}

/// For whom each waits.
#[derive(Default)]
struct Waits {
    /// Those that hold the lock; where nobody does who would be in the way, those that stand before it in the queue.
    of: BTreeMap<i64, BTreeSet<i64>>,
}

/// A session in the tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    pid: i64,
    depth: usize,
    blocked_by: Option<i64>,
    /// How many wait for it, or for one who does.
    blocks: i64,
}

impl Waits {
    fn add(&mut self, pid: i64, blockers: BTreeSet<i64>, holders: BTreeSet<i64>) {
        // Whoever stands in a queue waits for all before it. They wait for the holder, too: only that one has to go.
        let of = if holders.is_empty() { blockers } else { holders };
        if !of.is_empty() {
            self.of.insert(pid, of);
        }
    }

    /// Everybody once, below one of those it waits for: as near to a root as can be.
    fn tree(&self) -> Vec<Place> {
        let mut waiters: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
        for (waiter, of) in &self.of {
            of.iter().for_each(|blocker| waiters.entry(*blocker).or_default().push(*waiter));
        }
        let mut parents: BTreeMap<i64, Option<i64>> = BTreeMap::new();
        let roots = waiters.keys().filter(|pid| !self.of.contains_key(*pid)).copied();
        // A deadlock that is not yet broken has no root: its first session stands for one.
        for root in roots.chain(self.of.keys().copied()) {
            if parents.contains_key(&root) {
                continue;
            }
            parents.insert(root, None);
            let mut level = vec![root];
            while !level.is_empty() {
                let mut next = Vec::new();
                for blocker in level {
                    for waiter in waiters.get(&blocker).into_iter().flatten() {
                        if !parents.contains_key(waiter) {
                            parents.insert(*waiter, Some(blocker));
                            next.push(*waiter);
                        }
                    }
                }
                level = next;
            }
        }
        let mut children: BTreeMap<Option<i64>, Vec<i64>> = BTreeMap::new();
        parents.iter().for_each(|(pid, parent)| children.entry(*parent).or_default().push(*pid));
        let mut places = Vec::with_capacity(parents.len());
        let mut ahead: Vec<(i64, usize)> = children.get(&None).into_iter().flatten().rev().map(|root| (*root, 0)).collect();
        while let Some((pid, depth)) = ahead.pop() {
            let blocked_by = parents.get(&pid).copied().flatten();
            places.push(Place { pid, depth, blocked_by, blocks: reached(&waiters, pid) });
            ahead.extend(children.get(&Some(pid)).into_iter().flatten().rev().map(|child| (*child, depth + 1)));
        }
        places
    }
}

/// How many wait for this one, by whatever way.
fn reached(waiters: &BTreeMap<i64, Vec<i64>>, from: i64) -> i64 {
    let (mut seen, mut ahead) = (BTreeSet::from([from]), vec![from]);
    while let Some(pid) = ahead.pop() {
        ahead.extend(waiters.get(&pid).into_iter().flatten().filter(|waiter| seen.insert(**waiter)));
    }
    seen.len() as i64 - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `waiter: blockers; holders`
    fn tree(lines: &[(i64, &[i64], &[i64])]) -> Vec<(i64, usize, i64)> {
        let mut waits = Waits::default();
        lines.iter().for_each(|(pid, blockers, holders)| {
            waits.add(*pid, blockers.iter().copied().collect(), holders.iter().copied().collect());
        });
        waits.tree().iter().map(|place| (place.pid, place.depth, place.blocks)).collect()
    }

    #[test]
    fn a_queue_is_no_chain_and_a_chain_is() {
        // 1 holds the row; 2 is the next, and holds its tuple lock; 3 to 5 queue for that. 6 waits for another row of 3's.
        let queue: [(i64, &[i64], &[i64]); 5] =
            [(2, &[1], &[1]), (3, &[2], &[2]), (4, &[2, 3], &[2]), (5, &[2, 3, 4], &[2]), (6, &[3], &[3])];
        assert_eq!(tree(&queue), [(1, 0, 5), (2, 1, 4), (3, 2, 1), (6, 3, 0), (4, 2, 0), (5, 2, 0)]);
        // 1 reads; 2 wants the table for itself, and keeps the readers 3 and 4 waiting, who would not be in 1's way.
        assert_eq!(tree(&[(2, &[1], &[1]), (3, &[2], &[]), (4, &[2], &[])]), [(1, 0, 3), (2, 1, 2), (3, 2, 0), (4, 2, 0)]);
        // Two readers, one writer: both have to go, and both say so.
        assert_eq!(tree(&[(3, &[1, 2], &[1, 2])]), [(1, 0, 1), (3, 1, 0), (2, 0, 1)]);
    }

    #[test]
    fn a_deadlock_has_a_root_and_everybody_a_place() {
        assert_eq!(tree(&[(1, &[2], &[2]), (2, &[1], &[1]), (3, &[2], &[2])]), [(1, 0, 2), (2, 1, 2), (3, 2, 0)]);
    }

    #[test]
    fn a_long_queue_is_answered_at_once() {
        let before: Vec<Vec<i64>> = (2..=200).map(|pid| (1..pid).collect()).collect();
        let lines: Vec<(i64, &[i64], &[i64])> =
            before.iter().enumerate().map(|(at, before)| (at as i64 + 2, &before[..], &[][..])).collect();
        let places = tree(&lines);
        assert_eq!((places.len(), places[0]), (200, (1, 0, 199)));
    }
}
