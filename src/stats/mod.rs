//! What a database does, one statistic a file: read-only, with time limits, the same on every PostgreSQL from 13 on.
//!
//! A statistic is a [`Stat`]: its columns, which of them only grow, and how it is read. Unknown is [`Cell::Null`]. What a server, an extension or
//! a privilege does not give is said in the notes, with what would.

mod activity;
mod alone;
mod around;
mod cache;
mod cache_hit;
mod connections;
mod counting;
mod ending;
mod indexes;
mod io;
mod locks;
mod looking;
pub mod mask;
mod overview;
mod pools;
mod rates;
mod replication;
mod sheet;
mod slow_queries;
mod statements;
mod tables;
mod unavailable;
mod vacuum;
mod words;

use std::time::Duration;

use anyhow::Result;
use futures_util::future::BoxFuture;

pub use crate::model::Cell;
use crate::postgres::{Answer, Observer, Parameter, ServerFacts};
pub use around::{Around, PoolerState};
pub use counting::{Gap, Origin, Whom};
pub use ending::of_prepared;
pub use looking::{Looking, Looks, Others};
pub use pools::PoolUse;
pub use rates::Rates;
pub use sheet::{Column, Sheet};
pub use slow_queries::Sort;
pub use statements::Statements;
pub use unavailable::{Unavailable, console_remedy, explain, redis_remedy, with_stack};
pub use words::{counted, span};

/// The shelf, in the order in which a person would ask.
pub const SHELF: [&Stat; 12] = [
    &slow_queries::STAT,
    &cache_hit::STAT,
    &connections::STAT,
    &pools::STAT,
    &indexes::STAT,
    &tables::STAT,
    &locks::STAT,
    &activity::STAT,
    &vacuum::STAT,
    &replication::STAT,
    &io::STAT,
    &cache::STAT,
];

/// What no name asks for.
pub const OVERVIEW: &Stat = &overview::STAT;

/// One statistic.
pub struct Stat {
    /// What a person types.
    pub name: &'static str,
    /// What it answers, in a line.
    pub about: &'static str,
    /// The columns of its rows, in order. The end of a name says its unit: `_bytes`, `_ms`, `_seconds`, `_ratio` (0..1).
    pub columns: &'static [&'static str],
    /// What grows between two samples.
    pub growth: Growth,
    pub read: for<'a> fn(&'a Look<'a>) -> BoxFuture<'a, Result<Reading>>,
}

/// How two samples of a statistic are compared.
pub struct Growth {
    /// The columns that tell rows apart.
    pub key: &'static [&'static str],
    /// The columns that only grow until the statistics are reset.
    pub counters: &'static [&'static str],
    /// Ratios of counters: (column, of, over the sum of these).
    pub ratios: &'static [(&'static str, &'static str, &'static [&'static str])],
    /// Columns that mean nothing between two samples.
    pub whole_life: &'static [&'static str],
}

impl Growth {
    /// Everything is as it is now.
    pub const NONE: Growth = Growth { key: &[], counters: &[], ratios: &[], whole_life: &[] };
}

/// Where a statistic looks, and what was asked of it.
pub struct Look<'a> {
    pub observer: &'a Observer,
    pub options: &'a Options,
    pub around: &'a Around,
    /// Where rates are asked for: what the looks themselves add to them.
    pub looking: Option<&'a Looking>,
}

#[derive(Clone, Debug)]
pub struct Options {
    /// The least mean time of a slow query, in milliseconds.
    pub min_ms: f64,
    /// How many rows of a long list; how many more there are is said.
    pub limit: i64,
    pub sort: Sort,
    /// The least size of an index that is called unused, in bytes.
    pub min_size: i64,
    /// How long scans must have been counted before an index is called unused.
    pub min_age: Duration,
    /// Show the literals of statements.
    pub show_literals: bool,
    /// Every row, because another sample will be subtracted.
    pub for_rates: bool,
    /// The size of the database in the overview: of a large one it takes long.
    pub with_size: bool,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            min_ms: 100.0,
            limit: 20,
            sort: Sort::Total,
            min_size: 1 << 20,
            min_age: Duration::from_secs(86_400),
            show_literals: false,
            for_rates: false,
            with_size: true,
        }
    }
}

/// What a statistic read.
#[derive(Clone, Debug, Default)]
pub struct Reading {
    pub rows: Vec<Vec<Cell>>,
    /// Since when its counters count: RFC 3339; none when nothing was ever reset, or nothing counts.
    pub since: Option<String>,
    pub notes: Vec<String>,
    pub left_out: LeftOut,
    pub skipped: Vec<Skipped>,
}

/// Rows beyond the limit, by the list that they are of: the word in the first column of its rows, where that tells lists apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeftOut(pub Vec<(String, u64)>);

impl LeftOut {
    pub fn all(&self) -> u64 {
        self.0.iter().map(|(_, rows)| rows).sum()
    }

    pub fn of(&self, list: &str) -> u64 {
        self.0.iter().filter(|(of, _)| of == list).map(|(_, rows)| rows).sum()
    }

    pub(super) fn add(&mut self, list: &str, rows: u64) {
        match self.0.iter_mut().find(|(of, _)| of == list) {
            _ if rows == 0 => {}
            Some((_, there)) => *there += rows,
            None => self.0.push((list.to_string(), rows)),
        }
    }
}

/// A table that was left alone: to ask for its sizes and expressions would be to wait for a lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    pub table: String,
    /// Who locks it exclusively, or waits to; 0: a prepared transaction.
    pub pid: i64,
}

impl Skipped {
    fn note(&self) -> String {
        let Skipped { table, pid } = self;
        match pid {
            0 => format!("skipped {table}: a prepared transaction locks it exclusively (pg_prepared_xacts names it)"),
            _ => format!("skipped {table}: process {pid} locks it exclusively, or waits to (`candlefish stats locks`)"),
        }
    }
}

impl Reading {
    pub fn of(answer: Answer) -> Self {
        Reading { rows: answer.rows, ..Reading::default() }
    }

    /// Of a list with a limit: the last column says of how many rows each is one, where it is one of those; that column goes.
    pub fn of_limited(answer: Answer) -> Self {
        let mut reading = Reading::of(answer);
        let found: Vec<Option<f64>> = reading.rows.iter_mut().map(|row| row.pop().and_then(|found| found.number())).collect();
        let listed = found.iter().flatten().count() as u64;
        let all = found.into_iter().flatten().next().unwrap_or_default() as u64;
        reading.left_out.add("", all.saturating_sub(listed));
        reading
    }

    /// The same of several lists with a limit each, which the first column tells apart.
    pub fn of_lists(answer: Answer) -> Self {
        let mut reading = Reading::of(answer);
        let mut lists: Vec<(String, u64, u64)> = Vec::new();
        for row in &mut reading.rows {
            let (Some(found), Some(list)) = (row.pop().and_then(|found| found.number()), row[0].text()) else { continue };
            match lists.iter_mut().find(|(there, ..)| there == list) {
                Some((.., listed)) => *listed += 1,
                None => lists.push((list.to_string(), found as u64, 1)),
            }
        }
        lists.iter().for_each(|(list, found, listed)| reading.left_out.add(list, found.saturating_sub(*listed)));
        reading
    }

    /// No more rows than that; the others are counted by the first column.
    pub fn limit(&mut self, most: i64) {
        let most = usize::try_from(most).unwrap_or(usize::MAX).min(self.rows.len());
        for row in self.rows.split_off(most) {
            self.left_out.add(row[0].text().unwrap_or_default(), 1);
        }
    }
}

impl Look<'_> {
    pub async fn ask(&self, sql: &str, parameters: &[Parameter<'_>]) -> Result<Answer> {
        self.observer.ask(sql, parameters).await
    }

    /// Statements as they may be shown.
    fn mask(&self, reading: &mut Reading, stat: &Stat) {
        let Some(at) = stat.columns.iter().position(|column| *column == "query").filter(|_| !self.options.show_literals) else { return };
        for row in &mut reading.rows {
            if let Some(Cell::Text(query)) = row.get_mut(at) {
                *query = mask::literals(query);
            }
        }
    }

    /// What a question about sessions answers, with how many this user does not see.
    async fn sessions(&self, sql: &str) -> Result<Reading> {
        self.see_sessions_anew().await?;
        let mut reading = Reading::of(self.ask(sql, &[]).await?);
        self.note_hidden_sessions(&mut reading).await?;
        Ok(reading)
    }

    /// The server shows a transaction the sessions as it first saw them; locks, and a pooler's servers, as they are now.
    async fn see_sessions_anew(&self) -> Result<()> {
        self.ask("SELECT pg_stat_clear_snapshot() IS NULL", &[]).await.map(drop)
    }

    /// How many sessions are not known of, as notes with what would show them.
    async fn note_hidden_sessions(&self, reading: &mut Reading) -> Result<()> {
        let answer = self.ask(include_str!("queries/hidden_sessions.sql"), &[]).await?;
        let count = |name: &str| answer.value(0, name).and_then(Cell::number).unwrap_or_default();
        let said = |count: f64| counted(count as u64, "session");
        let hidden = if self.observer.server.sees_all { 0.0 } else { count("hidden") };
        if hidden > 0.0 {
            let are = if hidden == 1.0 { "is" } else { "are" };
            reading.notes.push(format!("{} of other users {are} hidden from this one: {GRANT}", said(hidden)));
        }
        if count("silent") > 0.0 {
            let mend: Vec<String> = self.gaps("track_activities").await?.into_iter().map(|gap| gap.remedy).collect();
            let mend = if mend.is_empty() { "it was turned off there".to_string() } else { mend.join("; ") };
            reading.notes.push(format!("what {} may do is not known, because track_activities is off: {mend}", said(count("silent"))));
        }
        Ok(())
    }
}

/// What shows a user the sessions and statements of others; [`for_user`] says whom, and who may do it.
pub const GRANT: &str = "GRANT pg_monitor TO this user";

/// A remedy that pastes.
pub fn for_user(text: &str, server: &ServerFacts) -> String {
    text.replace(GRANT, &format!("GRANT pg_monitor TO {}; -- as a superuser", server.user))
}

impl Stat {
    /// Reads it. What the server does not give is an unavailable sheet with the reason; only a lost connection is an error.
    pub async fn sheet(&'static self, look: &Look<'_>) -> Result<Sheet> {
        let mut reading = (self.read)(look).await;
        // Between the look at the locks and the question a lock may have come: once more.
        if let Err(error) = &reading
            && unavailable::is_lock_timeout(error)
        {
            reading = (self.read)(look).await;
        }
        let server = &look.observer.server;
        match reading {
            Ok(mut reading) => {
                reading.notes.extend(reading.skipped.iter().map(Skipped::note));
                reading.notes.iter_mut().for_each(|note| *note = for_user(note, server));
                look.mask(&mut reading, self);
                debug_assert!(reading.rows.iter().all(|row| row.len() == self.columns.len()), "{} has rows of another width", self.name);
                Ok(Sheet::of(self, server, reading))
            }
            Err(error) if look.observer.is_closed() => Err(error),
            Err(error) => match explain(&error) {
                Some(mut lack) => {
                    lack.notes.iter_mut().for_each(|note| *note = for_user(note, server));
                    Ok(Sheet::unavailable(self, server, lack))
                }
                None => Err(error),
            },
        }
    }
}

/// The statistic of this name.
pub fn find(name: &str) -> Option<&'static Stat> {
    SHELF.into_iter().find(|stat| stat.name == name)
}
