//! A statistic as it is shown: columns with their units, rows, and what there is to know beside them.

use crate::model::Cell;
use crate::postgres::ServerFacts;
use crate::stats::unavailable::Lack;
use crate::stats::{LeftOut, Reading, Skipped, Stat};

#[derive(Clone, Debug, PartialEq)]
pub struct Sheet {
    pub stat: &'static str,
    /// None where the server did not answer.
    pub server_version: Option<String>,
    /// RFC 3339: since when its counters count, when that is known.
    pub since: Option<String>,
    /// None when the statistic is unavailable; the notes say why, and what would help.
    pub rows: Option<Vec<Vec<Cell>>>,
    pub columns: Vec<Column>,
    pub notes: Vec<String>,
    pub left_out: LeftOut,
    /// Tables that it says nothing of; the notes name them.
    pub skipped: Vec<Skipped>,
    /// Unavailable now, though the server has it: a time limit, or a lock.
    pub passing: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    pub name: String,
    /// `bytes`, `ms`, `seconds`, `ratio` (0..1), each perhaps `/s`; none for words and counts.
    pub unit: Option<&'static str>,
}

impl Column {
    pub fn new(name: &str) -> Self {
        Column { name: name.to_string(), unit: unit(name) }
    }

    /// The same value, per second.
    pub fn per_second(name: &str) -> Self {
        let unit = match unit(name) {
            Some("bytes") => Some("bytes/s"),
            Some("ms") => Some("ms/s"),
            _ => Some("/s"),
        };
        Column { name: format!("{name}_per_s"), unit }
    }
}

fn unit(name: &str) -> Option<&'static str> {
    ["bytes", "ms", "seconds", "ratio"].into_iter().find(|unit| name.strip_suffix(unit).is_some_and(|stem| stem.ends_with('_')))
}

impl Sheet {
    pub fn of(stat: &Stat, server: &ServerFacts, reading: Reading) -> Self {
        Sheet {
            stat: stat.name,
            server_version: Some(server.version.clone()).filter(|version| !version.is_empty()),
            since: reading.since,
            rows: Some(reading.rows),
            columns: stat.columns.iter().map(|name| Column::new(name)).collect(),
            notes: reading.notes,
            left_out: reading.left_out,
            skipped: reading.skipped,
            passing: false,
        }
    }

    pub fn unavailable(stat: &Stat, server: &ServerFacts, lack: Lack) -> Self {
        Sheet { rows: None, notes: lack.notes, passing: lack.passing, ..Sheet::of(stat, server, Reading::default()) }
    }

    pub fn is_available(&self) -> bool {
        self.rows.is_some()
    }

    /// Rows beyond so many are left out, and counted.
    pub fn limit(&mut self, most: usize) {
        if let Some(rows) = &mut self.rows {
            self.left_out.add("", rows.len().saturating_sub(most) as u64);
            rows.truncate(most);
        }
    }

    /// Where a column stands.
    pub fn position(&self, column: &str) -> Option<usize> {
        self.columns.iter().position(|there| there.name == column)
    }

    /// A value of the first row: for sheets that have one.
    pub fn value(&self, column: &str) -> Option<&Cell> {
        self.rows.as_ref()?.first()?.get(self.position(column)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_name_is_its_unit() {
        let unit = |name| Column::new(name).unit;
        assert_eq!(
            [unit("size_bytes"), unit("mean_ms"), unit("hit_ratio"), unit("transaction_seconds"), unit("rows"), unit("calls")],
            [Some("bytes"), Some("ms"), Some("ratio"), Some("seconds"), None, None]
        );
        let rate = Column::per_second("wal_bytes");
        assert_eq!((rate.name.as_str(), rate.unit), ("wal_bytes_per_s", Some("bytes/s")));
    }
}
