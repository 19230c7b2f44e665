//! Which rows differ: digests of the buckets that differ are read again and matched, then the values of the first few rows.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use anyhow::Result;
use serde_json::{Map, Value as Json};

use crate::digest::{Misfit, RowDigest, Sums, bucket_of};
use crate::postgres::Fields;
use crate::sides::Pair;
use crate::sides::{Sides, SourceRow, TargetRow};
use crate::verify::report::{ColumnDifference, Difference, DifferenceKind};
use crate::verify::{Sample, shown};

/// Rows of one side whose digests are held at once: 32 bytes each.
const ROWS_AT_ONCE: u64 = 600_000;
/// After so many readings of one table the rest is only known to be different.
const MOST_READINGS: usize = 16;

/// What was found in one table.
#[derive(Debug, Default)]
pub struct Found {
    pub total: u64,
    pub exact: bool,
    /// Rows that are missing because they stand in the rejects.
    pub rejected: u64,
    /// Rows of the target for which the source has one that cannot be there.
    pub changed_misfits: u64,
    /// Rows of the source that cannot be in the target, have none there, and were set aside by no run.
    pub new_misfits: u64,
    /// Rows of the target alone, where a run has kept the target's own.
    pub kept: u64,
    /// How many they are beyond those that the run has kept.
    pub beyond_kept: u64,
    pub differences: Vec<Difference>,
}

/// A row that differs, by its digests on the two sides.
#[derive(Clone, Copy)]
struct Finding {
    kind: DifferenceKind,
    source: Option<RowDigest>,
    target: Option<RowDigest>,
    /// The key of the source's row, which cannot be in the target.
    misfit: Option<u128>,
}

/// The source's rows that cannot be in the target, by the digests of their keys with how many have each, as far as they are known.
#[derive(Default)]
pub struct Misfits {
    pub keys: HashMap<u128, u64>,
    /// Those that no run has set aside, with how many rows have that key.
    pub new: HashMap<u128, u64>,
}

/// Finds the rows of `pair` that differ, given the sums of both sides; `refused` are rows that are known not to be there.
pub async fn find(
    sides: &Arc<Sides>,
    pair: usize,
    sums: (&Sums, &Sums),
    sample: Sample,
    mut refused: HashMap<RowDigest, u64>,
    mut misfits: Misfits,
    limit: usize,
) -> Result<Found> {
    let map = &sides.pairs[pair].map;
    let keeps = map.kept;
    let groups = groups(sums.0, sums.1);
    let mut found = Found { exact: groups.len() <= MOST_READINGS, ..Found::default() };
    let mut findings = Vec::new();
    let mut note = |finding: Finding, found: &mut Found| {
        found.total += 1;
        if findings.len() < limit {
            findings.push(finding);
        }
    };
    for group in groups.into_iter().take(MOST_READINGS) {
        let (mut source, mut target) = read_digests(sides, pair, Arc::new(group), sample).await?;
        drop_matches(&mut source, &mut target);
        source.retain(|digest| match refused.get_mut(digest).filter(|left| **left > 0) {
            Some(left) => {
                *left -= 1;
                found.rejected += 1;
                false
            }
            None => true,
        });
        match_keys(&source, &target, |finding| {
            let extra = finding.target.filter(|_| finding.kind == DifferenceKind::Extra).map(|digest| digest.key);
            let is_new = extra.is_some_and(|key| use_up(&mut misfits.new, key));
            match extra {
                Some(_) if keeps && !is_new => found.kept += 1,
                Some(key) if use_up(&mut misfits.keys, key) => {
                    found.changed_misfits += 1;
                    note(Finding { kind: DifferenceKind::Changed, misfit: Some(key), ..finding }, &mut found);
                }
                _ => note(finding, &mut found),
            }
        });
    }
    for key in misfits.new.into_iter().flat_map(|(key, rows)| std::iter::repeat_n(key, rows as usize)) {
        found.new_misfits += 1;
        note(Finding { kind: DifferenceKind::Missing, source: None, target: None, misfit: Some(key) }, &mut found);
    }
    found.beyond_kept = map.kept_rows.map_or(0, |before| found.kept.saturating_sub(before));
    found.total += found.beyond_kept;
    found.kept -= found.beyond_kept;
    found.differences = describe(sides, pair, &findings).await?;
    Ok(found)
}

/// Takes one row of the key; false where none is left, and a further row of the target stands for itself.
fn use_up(rows: &mut HashMap<u128, u64>, key: u128) -> bool {
    rows.get_mut(&key).filter(|left| **left > 0).map(|left| *left -= 1).is_some()
}

/// The buckets that differ, in groups that fit into memory.
fn groups(source: &Sums, target: &Sums) -> Vec<HashSet<usize>> {
    let mut groups: Vec<HashSet<usize>> = Vec::new();
    let mut rows = u64::MAX;
    for (place, (a, b)) in source.buckets.iter().zip(&target.buckets).enumerate().filter(|(_, (a, b))| a != b) {
        let more = a.rows.max(b.rows);
        if rows.saturating_add(more) > ROWS_AT_ONCE {
            groups.push(HashSet::new());
            rows = 0;
        }
        rows += more;
        groups.last_mut().expect("one was just pushed").insert(place);
    }
    groups
}

async fn read_digests(
    sides: &Arc<Sides>,
    pair: usize,
    group: Arc<HashSet<usize>>,
    sample: Sample,
) -> Result<(Vec<RowDigest>, Vec<RowDigest>)> {
    let buckets = sides.pairs[pair].buckets;
    let wanted = move |digest: &RowDigest| sample.has(digest.key) && group.contains(&bucket_of(digest.key, buckets));
    let in_target = wanted.clone();
    let pairs = [pair];
    let source = sides.read_source(&pairs, true, move |rows: &mut Vec<RowDigest>, _, row| {
        rows.extend(row.digest.ok().filter(&wanted));
        Ok(())
    });
    let target = sides.read_target(&pairs, true, move |rows: &mut Vec<RowDigest>, _, row| {
        rows.extend(Some(row.digest).filter(&in_target));
        Ok(())
    });
    let (source, target) = tokio::try_join!(source, target)?;
    let sorted = |parts: Vec<(usize, Vec<RowDigest>)>| {
        let mut rows: Vec<RowDigest> = parts.into_iter().flat_map(|(_, rows)| rows).collect();
        rows.sort_unstable();
        rows
    };
    Ok((sorted(source), sorted(target)))
}

/// Takes out of two sorted lists what is in both, as often as it is.
fn drop_matches(source: &mut Vec<RowDigest>, target: &mut Vec<RowDigest>) {
    let (mut only_source, mut only_target) = (Vec::new(), Vec::new());
    let (mut a, mut b) = (source.iter().peekable(), target.iter().peekable());
    loop {
        match (a.peek(), b.peek()) {
            (Some(x), Some(y)) if x == y => {
                a.next();
                b.next();
            }
            (Some(x), Some(y)) if x > y => only_target.extend(b.next()),
            (None, Some(_)) => only_target.extend(b.next()),
            (Some(_), _) => only_source.extend(a.next()),
            (None, None) => break,
        }
    }
    (*source, *target) = (only_source, only_target);
}

/// Rows with the same key are one changed row; the rest are missing or extra. Both lists are sorted.
fn match_keys(source: &[RowDigest], target: &[RowDigest], mut each: impl FnMut(Finding)) {
    let (mut a, mut b) = (source.iter().peekable(), target.iter().peekable());
    loop {
        let (source, target) = match (a.peek(), b.peek()) {
            (None, None) => return,
            (Some(x), Some(y)) if x.key == y.key => (a.next(), b.next()),
            (Some(x), Some(y)) if x.key > y.key => (None, b.next()),
            (None, Some(_)) => (None, b.next()),
            (Some(_), _) => (a.next(), None),
        };
        let kind = match (source, target) {
            (Some(_), Some(_)) => DifferenceKind::Changed,
            (Some(_), None) => DifferenceKind::Missing,
            _ => DifferenceKind::Extra,
        };
        each(Finding { kind, source: source.copied(), target: target.copied(), misfit: None });
    }
}

/// A row's values as a person reads them, and a digest of each; in the layout's order.
struct Captured {
    values: Vec<Json>,
    columns: Vec<u128>,
    /// The place of the value that does not fit, and after which there are no digests.
    misfit: Option<usize>,
}

type Rows = HashMap<RowDigest, Captured>;

/// Rows of the source, and those that cannot be in the target by their keys.
#[derive(Default)]
struct SourceRows {
    rows: Rows,
    misfits: HashMap<u128, Captured>,
}

/// Reads the values of the rows that were found.
async fn describe(sides: &Arc<Sides>, pair: usize, findings: &[Finding]) -> Result<Vec<Difference>> {
    if findings.is_empty() {
        return Ok(Vec::new());
    }
    let in_source: HashSet<RowDigest> = findings.iter().filter_map(|finding| finding.source).collect();
    let in_target: HashSet<RowDigest> = findings.iter().filter_map(|finding| finding.target).collect();
    let misfits: HashSet<u128> = findings.iter().filter_map(|finding| finding.misfit).collect();
    let pairs = [pair];
    let source = sides.read_source(&pairs, true, move |read: &mut SourceRows, pair, row| {
        let capture = |misfit| Captured { values: source_values(pair, row), columns: row.digester.columns(), misfit };
        match row.digest {
            Ok(digest) if in_source.contains(&digest) => {
                read.rows.entry(digest).or_insert_with(|| capture(None));
            }
            Err(Misfit { column, key }) if misfits.contains(&key) => {
                let place = pair.layout.columns.iter().position(|index| *index == column);
                read.misfits.entry(key).or_insert_with(|| capture(place));
            }
            _ => {}
        }
        Ok(())
    });
    let target = sides.read_target(&pairs, true, move |rows: &mut Rows, pair, row| {
        if in_target.contains(&row.digest) {
            rows.entry(row.digest).or_insert_with(|| Captured {
                values: target_values(pair, row),
                columns: row.digester.columns(),
                misfit: None,
            });
        }
        Ok(())
    });
    let (source, target) = tokio::try_join!(source, target)?;
    let mut in_source = SourceRows::default();
    for (_, part) in source {
        in_source.rows.extend(part.rows);
        in_source.misfits.extend(part.misfits);
    }
    let in_target: Rows = target.into_iter().flat_map(|(_, rows)| rows).collect();
    let pair = &sides.pairs[pair];
    let describe = |finding: &Finding| {
        let misfit = || finding.misfit.and_then(|key| in_source.misfits.get(&key));
        let source = finding.source.and_then(|digest| in_source.rows.get(&digest)).or_else(misfit);
        let target = finding.target.and_then(|digest| in_target.get(&digest));
        difference(pair, finding.kind, source, target)
    };
    let mut differences: Vec<Difference> = findings.iter().filter_map(describe).collect();
    differences.sort_by(|a, b| compare_keys(&a.key, &b.key).then(a.kind.cmp(&b.kind)));
    Ok(differences)
}

fn source_values(pair: &Pair, row: &SourceRow<'_, '_>) -> Vec<Json> {
    pair.layout.columns.iter().map(|index| shown::source(row.row.value(*index))).collect()
}

fn target_values(pair: &Pair, row: &TargetRow<'_>) -> Vec<Json> {
    let kinds = pair.layout.columns.iter().map(|index| &pair.map.columns[*index].conversion.kind);
    kinds.zip(Fields::of(row.row)).map(|(kind, field)| shown::target(kind, field)).collect()
}

fn difference(pair: &Pair, kind: DifferenceKind, source: Option<&Captured>, target: Option<&Captured>) -> Option<Difference> {
    let columns = match (source, target) {
        (Some(source), Some(target)) => (0..pair.layout.columns.len())
            .filter(|place| match source.misfit {
                Some(misfit) if *place >= misfit => *place == misfit,
                _ => source.columns.get(*place) != target.columns.get(*place),
            })
            .filter_map(|place| {
                let (mut a, mut b) = (source.values.get(place)?.clone(), target.values.get(place)?.clone());
                shown::cut(&mut a, &mut b);
                Some(ColumnDifference { column: pair.column(place).to_string(), source: a, target: b })
            })
            .collect(),
        (Some(Captured { misfit: Some(place), values, .. }), None) => {
            let mut value = values.get(*place)?.clone();
            shown::cut_one(&mut value);
            vec![ColumnDifference { column: pair.column(*place).to_string(), source: value, target: Json::Null }]
        }
        _ => Vec::new(),
    };
    Some(Difference { key: key(pair, &source.or(target)?.values), kind, columns })
}

/// The key's values by the source's names; of every column in a table without a key.
pub fn key(pair: &Pair, values: &[Json]) -> Map<String, Json> {
    let length = if pair.layout.key == 0 { values.len() } else { pair.layout.key };
    let value = |place: usize| {
        let mut value = values[place].clone();
        shown::cut_one(&mut value);
        (pair.column(place).to_string(), value)
    };
    (0..length).map(value).collect()
}

impl Pair {
    /// The source's name of the column at this place in the layout.
    fn column(&self, place: usize) -> &str {
        &self.map.columns[self.layout.columns[place]].source
    }
}

/// Numbers by size, all else by their text.
fn compare_keys(a: &Map<String, Json>, b: &Map<String, Json>) -> std::cmp::Ordering {
    let compare = |(a, b): (&Json, &Json)| match (a.as_i64(), b.as_i64()) {
        (Some(a), Some(b)) => a.cmp(&b),
        _ => a.to_string().cmp(&b.to_string()),
    };
    a.values().zip(b.values()).map(compare).find(|order| order.is_ne()).unwrap_or(std::cmp::Ordering::Equal)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(key: u128, row: u128) -> RowDigest {
        RowDigest { key, row }
    }

    #[test]
    fn rows_match_as_often_as_they_stand_and_keys_pair_the_rest() {
        let mut source = vec![digest(1, 1), digest(2, 2), digest(2, 2), digest(3, 3), digest(4, 4)];
        let mut target = vec![digest(1, 1), digest(2, 2), digest(3, 30), digest(5, 5)];
        drop_matches(&mut source, &mut target);
        assert_eq!(source, [digest(2, 2), digest(3, 3), digest(4, 4)]);
        assert_eq!(target, [digest(3, 30), digest(5, 5)]);
        let mut kinds = Vec::new();
        match_keys(&source, &target, |finding| kinds.push((finding.kind, finding.source.or(finding.target).map(|digest| digest.key))));
        use DifferenceKind::{Changed, Extra, Missing};
        assert_eq!(kinds, [(Missing, Some(2)), (Changed, Some(3)), (Missing, Some(4)), (Extra, Some(5))]);
    }

    #[test]
    fn only_buckets_that_differ_are_read_again_and_only_so_many_rows_at_once() {
        let (mut source, mut target) = (Sums::new(4), Sums::new(4));
        for (place, rows) in [(0, 10), (1, 400_000), (2, 400_000), (3, 5)] {
            source.buckets[place].rows = rows;
            target.buckets[place].rows = rows;
        }
        assert!(groups(&source, &target).is_empty());
        (1..4).for_each(|place| source.buckets[place].sum = 1);
        assert_eq!(groups(&source, &target), [HashSet::from([1]), HashSet::from([2, 3])]);
    }
}
