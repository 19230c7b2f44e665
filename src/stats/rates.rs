//! What happened between two samples: counters become rates, ratios are those of the interval, and a reset is noticed.

use std::collections::HashMap;
use std::time::Duration;

use crate::model::Cell;
use crate::stats::{Column, Growth, Sheet, Stat};

/// The sample before, with when it was taken.
#[derive(Debug, Default)]
pub struct Rates {
    before: Option<Sheet>,
}

impl Rates {
    /// The sheet with the rates since the last one that was given here; the first has none, and answers nothing.
    pub fn since_last(&mut self, stat: &Stat, now: Sheet, elapsed: Duration) -> Option<Sheet> {
        let before = self.before.replace(now.clone());
        let before = before?;
        Some(between(&stat.growth, before, now, elapsed.as_secs_f64()))
    }
}

fn between(growth: &Growth, before: Sheet, mut now: Sheet, seconds: f64) -> Sheet {
    let (Some(old), Some(rows)) = (before.rows, &mut now.rows) else { return now };
    if growth.counters.is_empty() {
        return now;
    }
    let at = |name: &str| now.columns.iter().position(|column| column.name == name);
    let key: Vec<usize> = growth.key.iter().filter_map(|name| at(name)).collect();
    let counters: Vec<usize> = growth.counters.iter().filter_map(|name| at(name)).collect();
    let old: HashMap<String, Vec<Cell>> = told_apart(old, &key, &counters).into_iter().map(|row| (name(&row, &key), row)).collect();
    *rows = told_apart(std::mem::take(rows), &key, &counters);
    // What had grown past its old count again would pass for growth.
    let mut was_reset = before.since != now.since && now.since.is_some();
    let all_anew = was_reset;
    for row in rows.iter_mut() {
        let old = old.get(&name(row, &key));
        let fell = |old: &[Cell]| counters.iter().any(|&column| row[column].number() < old[column].number() && !row[column].is_null());
        let shrank = all_anew || old.is_some_and(|old| fell(old));
        // A sum of hidden ones also falls when one of them goes.
        was_reset |= shrank && !is_sum(row, &key);
        let mut grown: Vec<Option<f64>> = Vec::with_capacity(counters.len());
        for &column in &counters {
            let (new, old) = (row[column].number(), old.map_or((!is_sum(row, &key)).then_some(0.0), |old| old[column].number()));
            // A row that was not there before, or was reset, has grown from 0; but how long ago it began is not known.
            grown.push(if shrank { None } else { new.zip(old).map(|(new, old)| new - old) });
        }
        let grown_of = |name: &str| counters.iter().position(|&column| Some(column) == at(name)).and_then(|index| grown[index]);
        for (column, of, over) in growth.ratios {
            let sum: Option<f64> = over.iter().map(|name| grown_of(name)).sum();
            let ratio = grown_of(of).zip(sum).filter(|(_, sum)| *sum > 0.0).map(|(of, sum)| of / sum);
            if let Some(column) = at(column) {
                row[column] = ratio.into();
            }
        }
        for (index, &column) in counters.iter().enumerate() {
            row[column] = grown[index].filter(|_| seconds > 0.0).map(|grown| grown / seconds).into();
        }
    }
    let whole_life: Vec<usize> = growth.whole_life.iter().filter_map(|name| at(name)).collect();
    for (position, column) in now.columns.iter_mut().enumerate() {
        if counters.contains(&position) {
            *column = Column::per_second(&column.name);
        }
    }
    for position in whole_life.into_iter().rev() {
        now.columns.remove(position);
        rows.iter_mut().for_each(|row| drop(row.remove(position)));
    }
    if was_reset {
        now.notes.push("the statistics were reset between the two samples: what fell has no rate".to_string());
    }
    now
}

fn name(row: &[Cell], key: &[usize]) -> String {
    format!("{:?}", key.iter().map(|&column| &row[column]).collect::<Vec<_>>())
}

/// What is hidden from this user has no name of its own.
fn is_sum(row: &[Cell], key: &[usize]) -> bool {
    key.iter().any(|&column| row[column].is_null())
}

/// Rows that cannot be told apart (a user's hidden statements) become one, which has counted what they have together.
fn told_apart(rows: Vec<Vec<Cell>>, key: &[usize], counters: &[usize]) -> Vec<Vec<Cell>> {
    let mut sums: HashMap<String, usize> = HashMap::new();
    let mut apart: Vec<Vec<Cell>> = Vec::with_capacity(rows.len());
    for row in rows {
        if is_sum(&row, key) {
            if let Some(&at) = sums.get(&name(&row, key)) {
                for &column in counters {
                    let sum = apart[at][column].number().zip(row[column].number()).map(|(sum, more)| sum + more);
                    apart[at][column] = sum.into();
                }
                continue;
            }
            sums.insert(name(&row, key), apart.len());
        }
        apart.push(row);
    }
    apart
}

#[cfg(test)]
mod tests {
    use super::*;

    const GROWTH: Growth =
        Growth { key: &["what"], counters: &["hits", "reads"], ratios: &[("hit_ratio", "hits", &["hits", "reads"])], whole_life: &[] };

    fn sheet(since: Option<&str>, rows: &[(&str, i64, i64)]) -> Sheet {
        let ratio = |hits: i64, reads: i64| Cell::Real(hits as f64 / (hits + reads) as f64);
        Sheet {
            stat: "cache-hit",
            server_version: Some("15".to_string()),
            since: since.map(str::to_string),
            rows: Some(
                rows.iter()
                    .map(|(what, hits, reads)| vec![(*what).into(), Cell::Int(*hits), Cell::Int(*reads), ratio(*hits, *reads)])
                    .collect(),
            ),
            columns: ["what", "hits", "reads", "hit_ratio"].map(Column::new).to_vec(),
            notes: Vec::new(),
            skipped: Vec::new(),
            left_out: crate::stats::LeftOut::default(),
            passing: false,
        }
    }

    #[test]
    fn counters_become_rates_and_ratios_are_of_the_interval() {
        let now = between(&GROWTH, sheet(None, &[("a", 1000, 1000), ("b", 5, 5)]), sheet(None, &[("a", 1090, 1010), ("b", 5, 5)]), 2.0);
        assert_eq!(now.columns[1], Column::per_second("hits"));
        let rows = now.rows.unwrap();
        assert_eq!(rows[0][1..], [Cell::Real(45.0), Cell::Real(5.0), Cell::Real(0.9)]);
        // Nothing was read: the ratio is unknown, and no 0 or 100.
        assert_eq!(rows[1][1..], [Cell::Real(0.0), Cell::Real(0.0), Cell::Null]);
        assert_eq!(now.notes, [""; 0]);
    }

    #[test]
    fn what_is_hidden_is_one_sum_and_no_reset() {
        let hidden = |rows: &[(i64, i64)]| {
            let mut sheet = sheet(None, &rows.iter().map(|(hits, reads)| ("", *hits, *reads)).collect::<Vec<_>>());
            sheet.rows.iter_mut().flatten().for_each(|row| row[0] = Cell::Null);
            sheet
        };
        let now = between(&GROWTH, hidden(&[(1000, 10), (50, 5)]), hidden(&[(1008, 10), (52, 5)]), 2.0);
        assert_eq!(now.rows.unwrap(), [[Cell::Null, Cell::Real(5.0), Cell::Real(0.0), Cell::Real(1.0)]]);
        assert_eq!(now.notes, [""; 0]);
        let now = between(&GROWTH, hidden(&[(1000, 10), (50, 5)]), hidden(&[(60, 5)]), 2.0);
        assert_eq!((now.rows.unwrap(), now.notes.len()), (vec![vec![Cell::Null; 4]], 0));
    }

    #[test]
    fn a_reset_is_noticed_and_gives_no_negative_rate() {
        let now = between(&GROWTH, sheet(Some("2026-01-01"), &[("a", 1000, 10)]), sheet(Some("2026-01-02"), &[("a", 7, 1)]), 1.0);
        assert_eq!(now.rows.unwrap()[0][1..], [Cell::Null, Cell::Null, Cell::Null]);
        assert_eq!(now.notes.len(), 1);
        // The first reset of all, and what has grown past where it was.
        let now = between(&GROWTH, sheet(None, &[("a", 1000, 10)]), sheet(Some("2026-01-02"), &[("a", 5000, 11), ("b", 7, 1)]), 1.0);
        assert!(now.rows.unwrap().iter().all(|row| row[1..] == [Cell::Null, Cell::Null, Cell::Null]) && now.notes.len() == 1);
    }
}
