//! `verify`: is every value of the source in the target, and nothing else?
//!
//! Both sides are read whole, each in one state, and summed without regard to order; only where the sums differ are rows matched by key.

mod added;
mod defaults;
mod diff;
mod given;
mod objects;
mod own_tables;
mod promised;
mod rejects;
mod report;
mod scope;
mod shown;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use anyhow::{Context as _, Result};

use crate::digest::{Misfit, Sums};
use crate::model::{Event, Events, Phase, TableKind};
use crate::plan::{CopyMap, NameStyle};
use crate::postgres::{Address, TypeReader, read_sessions};
use crate::sides::{BUCKETS, Normaliser, Pair, Sides};
use crate::sqlite::Snapshot;
pub use objects::{missing_from_given, schema_objects};
pub use report::{
    AddedObject, ColumnDifference, Difference, DifferenceKind, MissingObject, ObjectsReport, Outcome, RoundedColumn, TableVerdict,
    VerifyReport, WrongNextValue,
};
use scope::{Asked, Scope};
pub use scope::{LeftOut, LeftOutPart};

/// What a comparison was told.
pub struct Job {
    /// Opened with as many readers as `jobs`.
    pub snapshot: Arc<Snapshot>,
    pub address: Address,
    /// How each table was copied; all of them into one schema.
    pub maps: Vec<CopyMap>,
    /// Which of the source's tables are meant.
    pub included: Included,
    /// Tables that the last run was told to leave out; any other of the source that has no map is a difference. None: only what has a map is meant.
    pub left_out: Option<HashSet<String>>,
    /// What the names of the source's views became.
    pub names: NameStyle,
    pub schema: String,
    /// Readers of either side.
    pub jobs: usize,
    pub sample: Sample,
    /// How many differences of a table are described.
    pub limit: usize,
    /// Rows that were set aside are differences too.
    pub strict: bool,
    /// The folder of rows that migrate has set aside, of all tables; else each map says its own.
    pub rejects: Option<PathBuf>,
    pub events: Events,
}

/// Says of a table of the source whether it is meant.
pub type Included = Arc<dyn Fn(&str) -> bool + Send + Sync>;

/// Which rows are compared: those whose key's digest is small enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample(u64);

impl Sample {
    pub const ALL: Sample = Sample(u64::MAX);

    pub fn percent(percent: f64) -> Self {
        Sample((percent / 100.0 * u64::MAX as f64) as u64)
    }

    fn has(self, key: u128) -> bool {
        key as u64 <= self.0
    }
}

/// Compares both sides; changes neither.
pub async fn run(job: Job) -> Result<VerifyReport> {
    let started = Instant::now();
    (job.events)(Event::PhaseStarted(Phase::Verify));
    let sessions = read_sessions(&job.address, job.jobs.max(1)).await?;
    let target = sessions[0].schema(&job.schema).await?;
    let (snapshot, asked) = (Arc::clone(&job.snapshot), Asked::of(&job));
    let Scope { schema, pairs, absent, left_out } = tokio::task::spawn_blocking(move || Scope::of(&asked, &snapshot, &target)).await??;
    let mut sides = Sides::new(Arc::clone(&job.snapshot), Arc::new(schema), pairs, job.jobs, sessions);
    if sides.pairs.iter().any(Pair::has_foreign_types) {
        sides.types = Some(Arc::new(TypeReader::connect(&job.address).await?));
    }
    let mut sides = Arc::new(sides);

    let mut order: Vec<usize> = (0..sides.pairs.len()).collect();
    // Biggest first: the last reader should not start a large table alone.
    order.sort_by_key(|pair| std::cmp::Reverse(sides.pairs[*pair].span.unwrap_or(u64::MAX)));
    let rows = sides.pairs.iter().filter_map(|pair| pair.span).fold(0, u64::saturating_add);
    // Of both sides.
    (job.events)(Event::Total { phase: Phase::Verify, tables: order.len() as u64, rows: rows.saturating_mul(2), rows_done: 0 });
    let mut sums = sum(&sides, &order, &job).await?;
    let again: Vec<usize> = order.iter().copied().filter(|pair| needs_care(&sides.pairs[*pair], &sums[pair])).collect();
    if !again.is_empty() {
        let all = Arc::get_mut(&mut sides).context("a reader outlived its reading")?;
        again.iter().for_each(|pair| all.pairs[*pair].careful = true);
        sums.extend(sum(&sides, &again, &job).await?);
    }
    let mut rejects = read_rejects(&sides, &job).await?;
    let mut tables = Vec::new();
    for place in 0..sides.pairs.len() {
        let sums = sums.remove(&place).unwrap_or_else(|| PairSums::new(BUCKETS));
        tables.push(judge(&sides, place, &sums, rejects.remove(&place).unwrap_or_default(), &job).await?);
    }
    tables.extend(absent);
    // Those without a map come last.
    tables.sort_by_key(|verdict| job.maps.iter().position(|map| map.source == verdict.source).unwrap_or(usize::MAX));
    (job.events)(Event::PhaseEnded { phase: Phase::Verify, seconds: started.elapsed().as_secs_f64() });

    let differences_total = tables.iter().map(|table| table.differences_total).sum();
    let different = tables.iter().any(|table| table.identical == Some(false));
    let notes = notes(&sides, &job)?;
    Ok(VerifyReport {
        source: job.snapshot.path().display().to_string(),
        target: job.address.shown(),
        // What cannot be read cannot be compared.
        outcome: match (different, notes.is_empty() && job.sample == Sample::ALL && tables.iter().all(|table| table.identical.is_some())) {
            (true, _) => Outcome::Different,
            (false, true) => Outcome::Identical,
            (false, false) => Outcome::NoDifferenceFound,
        },
        seconds: started.elapsed().as_secs_f64(),
        differences_total,
        differences_exact: tables.iter().all(|table| table.differences_exact),
        source_changed: job.snapshot.source_changed(),
        notes,
        left_out,
        tables,
        schema_objects: None,
    })
}

/// What one reading of a table gave on the two sides.
struct PairSums {
    source: Sums,
    target: Sums,
    source_rows: u64,
    target_rows: u64,
    misfits: u64,
    /// The digests of their keys, with how often each is there; none where they are very many.
    misfit_keys: Option<HashMap<u128, u64>>,
    /// The first of them.
    examples: Vec<Difference>,
    /// By a column's place in the map, how many values were rounded as the mapping lets them.
    rounded: BTreeMap<usize, u64>,
}

/// Of how many misfits of a table the keys are held.
const MOST_MISFITS: usize = 250_000;

impl PairSums {
    fn new(buckets: usize) -> Self {
        PairSums {
            source: Sums::new(buckets),
            target: Sums::new(buckets),
            source_rows: 0,
            target_rows: 0,
            misfits: 0,
            misfit_keys: Some(HashMap::new()),
            examples: Vec::new(),
            rounded: BTreeMap::new(),
        }
    }

    /// The misfits by their keys: all of them, and those that no run has set aside; where the runs' rows are not known by key, of these none.
    fn misfits(&self, pair: &Pair, rejects: &rejects::Rejected) -> (diff::Misfits, bool) {
        let Some(keys) = self.misfit_keys.clone() else { return (diff::Misfits::default(), false) };
        // The files' rows are digested as PostgreSQL writes a type of its own, the source's only where a second reading was needed: such keys may
        // differ, and what does not fit in one reading may in the other.
        let known = pair.map.set_aside.and_then(|rows| rejects.misfits_of(rows)).filter(|_| !pair.has_foreign_types());
        let is_known = known.is_some();
        let beyond = |known: &HashMap<u128, u64>, (key, rows): (&u128, &u64)| {
            let new = rows.saturating_sub(known.get(key).copied().unwrap_or(0));
            (new > 0).then_some((*key, new))
        };
        let new = known.map_or_else(HashMap::new, |known| keys.iter().filter_map(|misfit| beyond(&known, misfit)).collect());
        (diff::Misfits { keys, new }, is_known)
    }
}

/// What one piece of a table gives.
#[derive(Default)]
struct Part {
    sums: Option<Sums>,
    rows: u64,
    misfits: u64,
    misfit_keys: Vec<u128>,
    examples: Vec<Difference>,
    rounded: BTreeMap<usize, u64>,
}

impl Part {
    fn sums(&mut self, pair: &Pair) -> &mut Sums {
        self.sums.get_or_insert_with(|| Sums::new(pair.buckets))
    }

    /// Counts a misfit, and holds its key while there is room among those that all the table's pieces hold.
    fn misfit(&mut self, key: u128, held: &AtomicUsize) {
        self.misfits += 1;
        if held.fetch_add(1, Ordering::Relaxed) < MOST_MISFITS {
            self.misfit_keys.push(key);
        }
    }
}

/// After so many rows a reader says how far it is.
const SAY_EVERY: u64 = 16_384;

async fn sum(sides: &Arc<Sides>, pairs: &[usize], job: &Job) -> Result<HashMap<usize, PairSums>> {
    let (sample, limit) = (job.sample, job.limit);
    let (source_read, target_read) = (advance(&job.events), advance(&job.events));
    let held: Vec<AtomicUsize> = sides.schema.tables.iter().map(|_| AtomicUsize::new(0)).collect();
    let source = sides.read_source(pairs, true, move |part: &mut Part, pair, row| {
        part.rows += 1;
        match row.digest {
            Ok(digest) if sample.has(digest.key) => {
                part.sums(pair).add(digest);
                row.digester.rounded().iter().for_each(|column| *part.rounded.entry(*column).or_default() += 1);
            }
            Ok(_) => {}
            Err(misfit) => {
                part.misfit(misfit.key, &held[pair.source]);
                if part.examples.len() < limit {
                    part.examples.push(set_aside(pair, row.row, misfit));
                }
            }
        }
        source_read(pair, part.rows);
        Ok(())
    });
    let target = sides.read_target(pairs, true, move |part: &mut Part, pair, row| {
        part.rows += 1;
        if sample.has(row.digest.key) {
            part.sums(pair).add(row.digest);
        }
        target_read(pair, part.rows);
        Ok(())
    });
    let (source, target) = tokio::try_join!(source, target)?;
    let mut all: HashMap<usize, PairSums> = pairs.iter().map(|pair| (*pair, PairSums::new(sides.pairs[*pair].buckets))).collect();
    for (pair, part) in source {
        let sums = all.get_mut(&pair).context("only these pairs are read")?;
        sums.source_rows += part.rows;
        sums.misfits += part.misfits;
        let all_held = part.misfit_keys.len() as u64 == part.misfits;
        sums.misfit_keys = sums.misfit_keys.take().filter(|_| all_held);
        if let Some(keys) = &mut sums.misfit_keys {
            part.misfit_keys.into_iter().for_each(|key| *keys.entry(key).or_default() += 1);
        }
        sums.examples.extend(part.examples);
        part.rounded.into_iter().for_each(|(column, values)| *sums.rounded.entry(column).or_default() += values);
        part.sums.iter().for_each(|part| sums.source.merge(part));
        (job.events)(advanced(&sides.pairs[pair], part.rows % SAY_EVERY));
    }
    for (pair, part) in target {
        let sums = all.get_mut(&pair).context("only these pairs are read")?;
        sums.target_rows += part.rows;
        (job.events)(advanced(&sides.pairs[pair], part.rows % SAY_EVERY));
        part.sums.iter().for_each(|part| sums.target.merge(part));
    }
    Ok(all)
}

/// Says after every so many rows that they have been read.
fn advance(events: &Events) -> impl Fn(&Pair, u64) + Send + Sync + 'static {
    let events = Arc::clone(events);
    move |pair, rows| {
        if rows.is_multiple_of(SAY_EVERY) {
            events(advanced(pair, SAY_EVERY));
        }
    }
}

fn advanced(pair: &Pair, rows: u64) -> Event {
    Event::TableAdvanced { phase: Phase::Verify, table: pair.map.source.clone(), rows, bytes: 0 }
}

/// A row that could not be in PostgreSQL, as a difference.
fn set_aside(pair: &Pair, row: &crate::sqlite::Row<'_>, misfit: Misfit) -> Difference {
    let values: Vec<_> = pair.layout.columns.iter().map(|index| shown::source(row.value(*index))).collect();
    let mut value = shown::source(row.value(misfit.column));
    shown::cut_one(&mut value);
    Difference {
        key: diff::key(pair, &values),
        kind: DifferenceKind::Missing,
        columns: vec![ColumnDifference {
            column: pair.map.columns[misfit.column].source.clone(),
            source: value,
            target: serde_json::Value::Null,
        }],
    }
}

/// Texts of a type that only PostgreSQL can read may differ only in how they are written.
fn needs_care(pair: &Pair, sums: &PairSums) -> bool {
    pair.has_foreign_types() && sums.source != sums.target
}

async fn read_rejects(sides: &Arc<Sides>, job: &Job) -> Result<HashMap<usize, rejects::Rejected>> {
    let mut folders: HashMap<PathBuf, Vec<usize>> = HashMap::new();
    for (place, pair) in sides.pairs.iter().enumerate() {
        if let Some(folder) = job.rejects.as_ref().or(pair.map.rejects.as_ref()) {
            folders.entry(folder.clone()).or_default().push(place);
        }
    }
    let sides = Arc::clone(sides);
    let runtime = tokio::runtime::Handle::current();
    let read = move || {
        let mut normaliser = Normaliser::new(sides.types.clone(), runtime);
        let mut all = HashMap::new();
        for (folder, places) in folders {
            all.extend(rejects::read(&folder, &sides.pairs, &places, &mut normaliser)?);
        }
        Ok(all)
    };
    tokio::task::spawn_blocking(read).await?
}

/// The verdict on one table; where its sums differ, with the rows that do.
async fn judge(sides: &Arc<Sides>, place: usize, sums: &PairSums, rejects: rejects::Rejected, job: &Job) -> Result<TableVerdict> {
    let pair = &sides.pairs[place];
    let mut verdict = TableVerdict {
        source: pair.map.source.clone(),
        target: Some(pair.target.to_string()),
        source_rows: Some(sums.source_rows),
        target_rows: Some(sums.target_rows),
        rows_set_aside: sums.misfits,
        rows_in_rejects: job.rejects.as_ref().or(pair.map.rejects.as_ref()).map(|_| rejects.rows),
        source_digest: Some(sums.source.to_string()),
        target_digest: Some(sums.target.to_string()),
        differences_exact: true,
        differences_total: pair.problems.len() as u64,
        told_by_problems: pair.problems.len() as u64,
        problems: pair.problems.clone(),
        ..TableVerdict::default()
    };
    // A sample may agree where the rows' number does not: then every row is looked at.
    let as_many = sums.source_rows - sums.misfits == sums.target_rows;
    let whole;
    let (sums, sample) = if as_many || job.sample == Sample::ALL {
        (sums, job.sample)
    } else {
        let all = Job { sample: Sample::ALL, ..job.clone_settings() };
        whole = sum(sides, &[place], &all).await?.remove(&place).context("the pair was read")?;
        (&whole, Sample::ALL)
    };
    let (misfits, are_known) = sums.misfits(pair, &rejects);
    // Under `strict` all of them are differences.
    let misfits = diff::Misfits { new: if job.strict { HashMap::new() } else { misfits.new }, ..misfits };
    let mut found = diff::Found { exact: true, ..diff::Found::default() };
    if sums.source != sums.target || !misfits.new.is_empty() {
        found = diff::find(sides, place, (&sums.source, &sums.target), sample, rejects.refused, misfits, job.limit).await?;
    }
    verdict.rows_set_aside = sums.misfits - found.changed_misfits - found.new_misfits + found.rejected;
    verdict.rows_kept = found.kept;
    let column = |(column, values): (&usize, &u64)| RoundedColumn { column: pair.map.columns[*column].source.clone(), values: *values };
    verdict.rounded = sums.rounded.iter().map(column).collect();
    verdict.differences_total += found.total;
    verdict.differences_exact = found.exact;
    verdict.differences = found.differences;
    if found.beyond_kept > 0 {
        let (rows, kept) = (found.kept + found.beyond_kept, found.kept);
        verdict.problems.push(format!("{rows} rows are in PostgreSQL alone, where the run has kept {kept}"));
        verdict.told_by_problems += found.beyond_kept;
    }
    // A row that fits nowhere is set aside when a run has done that; one that came later, or was changed so, is missing.
    let mut new_misfits = found.new_misfits;
    if !are_known && !job.strict {
        new_misfits = pair.map.set_aside.map_or(0, |rows| verdict.rows_set_aside.saturating_sub(rows));
        verdict.rows_set_aside -= new_misfits;
        verdict.differences_total += new_misfits;
        verdict.told_by_problems += new_misfits;
    }
    if new_misfits > 0 {
        let (rows, them) = if new_misfits == 1 { ("1 row".to_string(), "it") } else { (format!("{new_misfits} rows"), "them") };
        verdict.problems.push(format!("{rows} of the source cannot be in PostgreSQL, and no run has set {them} aside"));
    }
    if job.strict {
        verdict.differences_total += verdict.rows_set_aside;
        let described = |example: &&Difference| verdict.differences.iter().all(|difference| difference.key != example.key);
        let others: Vec<Difference> = sums.examples.iter().filter(described).cloned().collect();
        verdict.differences.extend(others);
        verdict.differences.truncate(job.limit);
    }
    // Of a huge table that holds more than the source's rows, not all may have been matched.
    let is_whole = job.sample == Sample::ALL && verdict.differences_exact;
    verdict.identical = match (verdict.differences_total, is_whole) {
        (0, true) => Some(true),
        (0, false) => None,
        _ => Some(false),
    };
    (job.events)(Event::TableEnded {
        phase: Phase::Verify,
        table: verdict.source.clone(),
        rows_written: sums.target_rows,
        rows_rejected: verdict.rows_set_aside,
    });
    Ok(verdict)
}

impl Job {
    fn clone_settings(&self) -> Job {
        Job {
            snapshot: Arc::clone(&self.snapshot),
            address: self.address.clone(),
            maps: Vec::new(),
            included: Arc::clone(&self.included),
            left_out: None,
            schema: self.schema.clone(),
            rejects: None,
            events: Arc::clone(&self.events),
            ..*self
        }
    }
}

/// What of the source could not be read, and so not be compared.
fn notes(sides: &Sides, job: &Job) -> Result<Vec<String>> {
    // Some are read all the same, and only not all of their definition.
    let is_read = |name: &str| sides.schema.tables.iter().any(|table| table.kind != TableKind::Unreadable && table.name == name);
    let unreadable = sides.schema.unreadable.iter().filter(|(object, _)| !is_read(object) && (job.included)(object));
    let mut notes: Vec<String> =
        unreadable.map(|(table, reason)| format!("table {table:?} was not compared: it cannot be read: {reason}")).collect();
    for (table, damage) in job.snapshot.damage()? {
        notes.push(format!("table {table:?} is damaged, and only what can be read was compared; not {}", damage.text()));
    }
    Ok(notes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pieces_of_a_table_hold_so_many_keys_of_misfits_together() {
        let (mut one, mut other, held) = (Part::default(), Part::default(), AtomicUsize::new(0));
        (0..MOST_MISFITS as u128 - 1).for_each(|key| one.misfit(key, &held));
        (0..3).for_each(|key| other.misfit(key, &held));
        assert_eq!((one.misfit_keys.len(), other.misfit_keys.len(), other.misfits), (MOST_MISFITS - 1, 1, 3));
    }
}
