//! `--salvage`: what can be read of a damaged file, around what cannot; and a list of what that was.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Mutex;

use anyhow::{Result, anyhow};

use crate::sqlite::pages::{Pages, Part};

/// What could not be read, table by table, found by whoever reads.
#[derive(Debug)]
pub struct Salvage {
    pages: Pages,
    found: Mutex<BTreeMap<String, Damage>>,
}

/// What could not be read of one table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Damage {
    /// Rowids, both ends inclusive, that no row was read of; in order, and apart.
    pub ranges: Vec<(i64, i64)>,
    /// Pages of the file that should have held them.
    pub pages: BTreeSet<u32>,
    /// In a table without rowids: rows are missing after so many of the first, and before so many of the last.
    pub gap: Option<(u64, u64)>,
    /// SQLite's words.
    pub reason: String,
}

impl Damage {
    fn add(&mut self, first: i64, last: i64) {
        self.ranges.push((first, last));
        self.ranges.sort_unstable();
        let mut merged: Vec<(i64, i64)> = Vec::with_capacity(self.ranges.len());
        for (first, last) in self.ranges.drain(..) {
            match merged.last_mut() {
                Some(before) if first <= before.1.saturating_add(1) => before.1 = before.1.max(last),
                _ => merged.push((first, last)),
            }
        }
        self.ranges = merged;
    }

    /// `rowids 12 to 40, 77 (at most 30 rows); page 9: database disk image is malformed`
    pub fn text(&self) -> String {
        const SHOWN: usize = 8;
        let mut parts = Vec::new();
        if !self.ranges.is_empty() {
            let range = |(first, last): &(i64, i64)| match (*first, *last) {
                (i64::MIN, i64::MAX) => "all".to_string(),
                (i64::MIN, last) => format!("up to {last}"),
                (first, i64::MAX) => format!("from {first} on"),
                (first, last) if first == last => first.to_string(),
                (first, last) => format!("{first} to {last}"),
            };
            let (shown, rest) = self.ranges.split_at(SHOWN.min(self.ranges.len()));
            let mut shown: Vec<String> = shown.iter().map(range).collect();
            // What is not named is covered all the same.
            if let (Some(first), Some(last)) = (rest.first(), rest.last()) {
                shown.push(format!("and {} more ranges within {}", rest.len(), range(&(first.0, last.1))));
            }
            parts.push(format!("rowids {}{}", shown.join(", "), self.most()));
        }
        match self.gap {
            Some((before, 0)) => parts.push(format!("rows after the first {before}")),
            Some((before, after)) => parts.push(format!("rows between the first {before} and the last {after}")),
            None => {}
        }
        if !self.pages.is_empty() {
            let mut shown: Vec<String> = self.pages.iter().take(SHOWN).map(u32::to_string).collect();
            if self.pages.len() > SHOWN {
                shown.push("…".into());
            }
            parts.push(format!("page{} {}", if self.pages.len() == 1 { "" } else { "s" }, shown.join(", ")));
        }
        format!("{}: {}", parts.join("; "), self.reason)
    }

    /// How many rows may have stood in the ranges, where that has an end and is not plain.
    fn most(&self) -> String {
        let is_open = self.ranges.iter().any(|(first, last)| *first == i64::MIN || *last == i64::MAX);
        if is_open || self.ranges.iter().all(|(first, last)| first == last) {
            return String::new();
        }
        let most: u128 = self.ranges.iter().map(|(first, last)| u128::from(last.abs_diff(*first)) + 1).sum();
        format!(" (at most {most} rows)")
    }
}

impl Salvage {
    /// For the file that is read: its pages tell where the next readable row may stand.
    pub fn of(path: &Path) -> Result<Self> {
        Ok(Salvage { pages: Pages::open(path)?, found: Mutex::new(BTreeMap::new()) })
    }

    pub fn found(&self) -> Result<BTreeMap<String, Damage>> {
        Ok(self.found.lock().map_err(|_| anyhow!("a reader of the source panicked"))?.clone())
    }

    pub(super) fn note(&self, table: &str, reason: &str, note: impl FnOnce(&mut Damage)) -> Result<()> {
        let mut found = self.found.lock().map_err(|_| anyhow!("a reader of the source panicked"))?;
        let damage = found.entry(table.to_string()).or_default();
        damage.reason = reason.to_string();
        note(damage);
        Ok(())
    }

    /// The part of a table's b-tree, which begins at the page `root`, that holds a rowid.
    pub(super) fn part(&self, root: u32, rowid: i64) -> Part {
        self.pages.part(root, rowid)
    }

    /// Notes that rows with these rowids, both ends inclusive, may have stood in the page, and were not read.
    pub(super) fn lost(&self, table: &str, (first, last): (i64, i64), page: u32, reason: &str) -> Result<()> {
        self.note(table, reason, |damage| {
            damage.add(first, last);
            damage.pages.insert(page);
        })
    }

    /// Notes that the row is there, and its values are not.
    pub(super) fn skip_row(&self, table: &str, rowid: i64, reason: &str) -> Result<()> {
        self.note(table, reason, |damage| damage.add(rowid, rowid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_that_touch_are_one() {
        let mut damage = Damage { reason: "malformed".into(), ..Damage::default() };
        for (first, last) in [(10, 20), (40, 40), (21, 30), (15, 18), (50, i64::MAX)] {
            damage.add(first, last);
        }
        assert_eq!(damage.ranges, [(10, 30), (40, 40), (50, i64::MAX)]);
        damage.pages.insert(7);
        assert_eq!(damage.text(), "rowids 10 to 30, 40, from 50 on; page 7: malformed");
        damage.ranges.pop();
        assert_eq!(damage.text(), "rowids 10 to 30, 40 (at most 22 rows); page 7: malformed");
        (1..=10).for_each(|row| damage.add(row * 100, row * 100 + 1));
        assert!(damage.text().contains(", 600 to 601, and 4 more ranges within 700 to 1001 (at most 42 rows);"), "{}", damage.text());
    }
}
