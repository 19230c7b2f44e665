//! Looking is no traffic: what candlefish's own looks add to what the server counts, to be taken away from it.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use crate::model::Cell;
use crate::postgres::{Control, Observer};
use crate::stats::Stat;

/// What the looks of one watch have cost, over all of its connections.
#[derive(Debug, Default)]
pub struct Looking(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// Of connections that are gone: transactions, committed and rolled back.
    gone: (u64, u64),
    gone_control: Control,
    others: Looks,
    /// The sum of [`Looks`].
    looks: f64,
    /// Blocks of the samples that have ended.
    blocks: Blocks,
    /// What the last sample's session had not handed in at its end.
    pending: Option<Pending>,
    /// What has to be taken away of this sample's blocks: they are pending from before it. None where the server had no time to tell.
    base: Option<Blocks>,
    /// The server had no time to tell what this sample has read.
    is_untold: bool,
    /// By statistic, and column or statement.
    without: HashMap<(&'static str, String), Others>,
}

/// Blocks found in shared buffers, and read into them.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Blocks {
    hits: f64,
    reads: f64,
    /// Without the catalogs that all databases share: pg_stat_database counts those for none.
    database_hits: f64,
    database_reads: f64,
}

/// What a session keeps to itself for up to a second before the server counts it.
#[derive(Clone, Copy, Debug)]
struct Pending {
    pid: f64,
    blocks: Blocks,
}

impl Blocks {
    fn fetched(&self) -> f64 {
        self.hits + self.reads
    }

    fn plus(self, more: Blocks, sign: f64) -> Blocks {
        Blocks {
            hits: self.hits + sign * more.hits,
            reads: self.reads + sign * more.reads,
            database_hits: self.database_hits + sign * more.database_hits,
            database_reads: self.database_reads + sign * more.database_reads,
        }
    }
}

impl Pending {
    async fn read(observer: &Observer) -> Result<Self> {
        let answer = observer.ask(include_str!("queries/own_blocks.sql"), &[]).await?;
        let number = |name: &str| answer.value(0, name).and_then(Cell::number).with_context(|| format!("the server does not tell {name}"));
        let blocks = Blocks {
            hits: number("hits")?,
            reads: number("reads")?,
            database_hits: number("database_hits")?,
            database_reads: number("database_reads")?,
        };
        Ok(Pending { pid: number("pid")?, blocks })
    }

    /// What of `now`, at the beginning of a sample, the samples before have already counted as theirs.
    fn counted_before(before: Option<Pending>, now: Pending) -> Blocks {
        match before {
            // All of it is ours: the connection is new.
            None => Blocks::default(),
            // A pooler has given us another session, and what is pending there may be anybody's.
            Some(before) if before.pid != now.pid => now.blocks,
            // It grows until it is handed in.
            Some(before) if now.blocks.fetched() >= before.blocks.fetched() => before.blocks,
            Some(_) => Blocks::default(),
        }
    }
}

/// None where the server has not told.
fn told<T>(observer: &Observer, answer: Result<T>) -> Result<Option<T>> {
    match answer {
        Err(error) if observer.is_closed() => Err(error),
        answer => Ok(answer.ok()),
    }
}

impl Looking {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Before the first sample: what it has cost to connect is counted by then. Before PostgreSQL 15 a session tells a collector twice a second, and what that
    /// shows may be half a second old; from then on it is handed in with each look.
    ///
    /// # Errors
    /// The connection is lost.
    pub async fn settle(observer: &Observer) -> Result<()> {
        let is_late = observer.server.major < 15;
        if is_late {
            tokio::time::sleep(Duration::from_millis(600)).await;
        }
        told(observer, observer.ask("SELECT true", &[]).await)?;
        if is_late {
            tokio::time::sleep(Duration::from_millis(600)).await;
        }
        Ok(())
    }

    /// The first of a sample, in its transaction. A server that is too busy to tell what looking costs is watched all the same.
    ///
    /// # Errors
    /// The connection is lost.
    pub async fn begin(&self, observer: &Observer) -> Result<()> {
        let now = told(observer, Pending::read(observer).await)?;
        let mut state = self.state();
        let before = state.pending.take();
        state.base = now.map(|now| Pending::counted_before(before, now));
        state.is_untold = state.base.is_none();
        Ok(())
    }

    /// The last of a sample.
    ///
    /// # Errors
    /// The connection is lost.
    pub async fn end(&self, observer: &Observer) -> Result<()> {
        let now = told(observer, Pending::read(observer).await)?;
        let mut state = self.state();
        if let (Some(base), Some(now)) = (state.base, now) {
            state.blocks = state.blocks.plus(now.blocks, 1.0).plus(base, -1.0);
        }
        state.is_untold |= now.is_none();
        state.pending = now;
        Ok(())
    }

    /// What the last sample has read itself is not known, and not taken away.
    pub fn is_untold(&self) -> bool {
        self.state().is_untold
    }

    /// A connection is given up; its successor looks on.
    pub fn disconnected(&self, observer: &Observer) {
        let (committed, rolled_back) = observer.transactions_in_all();
        let mut state = self.state();
        state.gone = (state.gone.0 + committed, state.gone.1 + rolled_back);
        state.gone_control = sum(state.gone_control, observer.control());
        state.pending = None;
    }

    /// Transactions that are ours, and looks of others; and rollbacks of ours. Asked for after what the server counts: what others say of themselves
    /// they say before it is counted, and nobody sees one too many.
    ///
    /// # Errors
    /// The connection is lost.
    pub(super) async fn transactions(&self, observer: &Observer) -> Result<(f64, f64)> {
        let others = told(observer, observer.others().await)?;
        let (committed, rolled_back) = observer.transactions();
        let mut state = self.state();
        if let Some(others) = others {
            state.looks = state.others.count(&others);
        }
        Ok(((state.gone.0 + committed) as f64 + state.looks, (state.gone.1 + rolled_back) as f64))
    }

    pub(super) fn control(&self, observer: &Observer) -> Control {
        sum(self.state().gone_control, observer.control())
    }

    /// Blocks of every relation: hits, and reads.
    pub(super) fn blocks(&self) -> (f64, f64) {
        let blocks = self.state().blocks;
        (blocks.hits, blocks.reads)
    }

    /// Of those the ones that pg_stat_database counts.
    pub(super) fn blocks_of_database(&self) -> (f64, f64) {
        let blocks = self.state().blocks;
        (blocks.database_hits, blocks.database_reads)
    }

    /// Takes what is ours away from a counter in a row of the reading.
    pub(super) fn take_away(&self, stat: &Stat, row: &mut [Cell], column: &'static str, own: f64) {
        let Some(cell) = stat.columns.iter().position(|there| *there == column).and_then(|at| row.get_mut(at)) else { return };
        if let Some(all) = cell.number() {
            *cell = Cell::Real(self.without(stat.name, column, all, own));
        }
    }

    /// The same of a counter of a name: what others counted.
    pub(super) fn without(&self, stat: &'static str, name: &str, all: f64, own: f64) -> f64 {
        self.state().without.entry((stat, name.to_string())).or_default().count(all, own)
    }
}

fn sum(a: Control, b: Control) -> Control {
    Control {
        begins: a.begins + b.begins,
        commits: a.commits + b.commits,
        rollbacks: a.rollbacks + b.rollbacks,
        savepoints: a.savepoints + b.savepoints,
    }
}

/// How often others look, by what each says of itself.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Looks {
    /// Looks since the first sample.
    sum: f64,
    /// By mark: looks, and the sample in which it was last there.
    seen: HashMap<String, (f64, u64)>,
    samples: u64,
}

/// A pooler may hide one for a while. One that comes back after more samples is taken for another.
const REMEMBERED: u64 = 10_000;

impl Looks {
    /// The looks of others since the first time, with those of now.
    pub fn count(&mut self, others: &[(String, f64)]) -> f64 {
        for (mark, looks) in others {
            // What was there at the first sample was counted before it; whoever comes later has all its looks from then on.
            let before = self.seen.get(mark).map_or(if self.samples == 0 { *looks } else { 0.0 }, |(looks, _)| *looks);
            self.sum += (looks - before).max(0.0);
            self.seen.insert(mark.clone(), (looks.max(before), self.samples));
        }
        self.seen.retain(|_, (_, last)| *last + REMEMBERED >= self.samples);
        self.samples += 1;
        self.sum
    }
}

/// What others counted: all, without what is told to be no traffic.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Others {
    all: f64,
    own: f64,
    others: f64,
    /// Known here before the server has counted them.
    ahead: f64,
}

impl Others {
    /// `all` and `own` only grow; a smaller `all` is a reset.
    pub fn count(&mut self, all: f64, own: f64) -> f64 {
        let was_reset = all < self.all;
        let grown = if was_reset { all } else { all - self.all };
        let ahead = if was_reset { 0.0 } else { self.ahead } + (own - self.own).max(0.0);
        self.others += (grown - ahead).max(0.0);
        self.ahead = (ahead - grown).max(0.0);
        (self.all, self.own) = (all, own);
        self.others
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
        // A reset, of long ago begun looks too: it goes on counting.
        assert_eq!(others.count(3.0, 1012.0), 138.0);
        assert_eq!(others.count(1103.0, 1012.0), 241.0);
    }

    #[test]
    fn what_a_session_has_not_handed_in_is_counted_once() {
        let pending = |pid: f64, hits: f64| Pending { pid, blocks: Blocks { hits, ..Blocks::default() } };
        let before = |before: Option<Pending>, now: f64| Pending::counted_before(before, pending(1.0, now)).hits;
        assert_eq!(before(None, 300.0), 0.0);
        assert_eq!(before(Some(pending(1.0, 900.0)), 905.0), 900.0, "it was not handed in");
        assert_eq!(before(Some(pending(1.0, 900.0)), 5.0), 0.0, "it was");
        assert_eq!(before(Some(pending(2.0, 900.0)), 5.0), 5.0, "another session's");
    }
}
