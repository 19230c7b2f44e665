//! What the events of a run add up to.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use crate::model::{Event, Phase};

/// Where a run is.
pub struct Count {
    /// The phase that was started last, and when.
    pub phase: Option<Phase>,
    pub phase_since: Instant,
    /// The phases that count rows.
    pub work: BTreeMap<Phase, Work>,
    busy: BTreeMap<(Phase, String), Busy>,
    objects: BTreeMap<String, Instant>,
    pub objects_made: u64,
}

/// A phase that counts rows.
pub struct Work {
    pub tables: u64,
    pub tables_done: u64,
    pub rows: u64,
    pub rows_done: u64,
    pub bytes: u64,
    pub ended: bool,
    rate: Rate,
}

/// A table that is being worked on.
pub struct Busy {
    pub rows: u64,
    pub rows_done: u64,
    since: Instant,
    advanced: Instant,
    /// Its end will be told as well.
    told: bool,
}

/// What is over sooner is not worth a line that flickers.
const WORTH_A_LINE: Duration = Duration::from_millis(300);
/// A table of which nothing was heard for so long is done, where its end is not told.
const SILENT: Duration = Duration::from_millis(800);

impl Count {
    pub fn new(now: Instant) -> Self {
        Count { phase: None, phase_since: now, work: BTreeMap::new(), busy: BTreeMap::new(), objects: BTreeMap::new(), objects_made: 0 }
    }

    pub fn add(&mut self, event: &Event, now: Instant) {
        match event {
            Event::PhaseStarted(phase) => {
                self.phase = Some(*phase);
                self.phase_since = now;
            }
            Event::PhaseEnded { phase, .. } => {
                if let Some(work) = self.work.get_mut(phase) {
                    work.ended = true;
                }
                self.busy.retain(|(of, _), _| of != phase);
            }
            Event::Total { phase, tables, rows, rows_done } => {
                let rate = Rate::new(now);
                let (rows, rows_done) = (*rows, *rows_done);
                let work = Work { tables: *tables, tables_done: 0, rows, rows_done, bytes: 0, ended: false, rate };
                self.work.insert(*phase, work);
            }
            Event::TableStarted { phase, table, rows } => {
                self.busy.insert((*phase, table.clone()), Busy::new(*rows, now, true));
            }
            Event::TableAdvanced { phase, table, rows, bytes } => {
                if let Some(work) = self.work.get_mut(phase) {
                    work.rows_done += rows;
                    work.bytes += bytes;
                }
                let key = (*phase, table.clone());
                let busy = self.busy.entry(key).or_insert_with(|| Busy::new(0, now, false));
                busy.rows_done += rows;
                busy.advanced = now;
            }
            Event::TableEnded { phase, table, .. } => {
                self.busy.remove(&(*phase, table.clone()));
                if let Some(work) = self.work.get_mut(phase) {
                    work.tables_done += 1;
                }
            }
            Event::ObjectStarted(object) => {
                self.objects.insert(object.clone(), now);
            }
            Event::ObjectEnded(object) => {
                self.objects.remove(object);
                self.objects_made += 1;
            }
            Event::Note(_) | Event::Warning(_) => {}
        }
    }

    /// What a person waits for: the copy while rows are missing, else what began last.
    pub fn current(&self) -> Option<Phase> {
        let copying = self.work.get(&Phase::Copy).is_some_and(|copy| !copy.ended && copy.rows_done < copy.rows);
        if copying { Some(Phase::Copy) } else { self.phase }
    }

    /// Tables that are busy for long enough to be named, with their phase.
    pub fn busy(&self, now: Instant) -> impl Iterator<Item = (Phase, &str, &Busy)> {
        let worth = move |busy: &Busy| now - busy.since >= WORTH_A_LINE && (busy.told || now - busy.advanced < SILENT);
        self.busy.iter().filter(move |(_, busy)| worth(busy)).map(|((phase, table), busy)| (*phase, table.as_str(), busy))
    }

    /// Indexes, keys, … that are being made for long enough to be named, with for how long.
    pub fn objects(&self, now: Instant) -> impl Iterator<Item = (&str, Duration)> {
        self.objects.iter().map(move |(object, since)| (object.as_str(), now - *since)).filter(|(_, time)| *time >= WORTH_A_LINE)
    }
}

impl Busy {
    fn new(rows: u64, now: Instant, told: bool) -> Self {
        Busy { rows, rows_done: 0, since: now, advanced: now, told }
    }
}

impl Work {
    /// Rows and bytes a second of the last seconds, and how long the rest will take at that rate.
    pub fn pace(&mut self, now: Instant) -> (f64, f64, Option<Duration>) {
        let (rows, bytes) = self.rate.of(self.rows_done, self.bytes, now);
        let left = self.rows.saturating_sub(self.rows_done);
        let eta = (rows > 0.0 && left > 0).then(|| Duration::try_from_secs_f64(left as f64 / rows).ok()).flatten();
        (rows, bytes, eta)
    }
}

/// A pace over the last seconds: an average of the whole run would hide that it has become slow.
struct Rate {
    /// When, and the rows and bytes until then.
    marks: VecDeque<(Instant, u64, u64)>,
    begun: Instant,
}

const WINDOW: Duration = Duration::from_secs(8);
const BETWEEN_MARKS: Duration = Duration::from_millis(400);

impl Rate {
    fn new(now: Instant) -> Self {
        Rate { marks: VecDeque::new(), begun: now }
    }

    fn of(&mut self, rows: u64, bytes: u64, now: Instant) -> (f64, f64) {
        if self.marks.back().is_none_or(|(last, ..)| now - *last >= BETWEEN_MARKS) {
            self.marks.push_back((now, rows, bytes));
        }
        while self.marks.len() > 2 && self.marks.front().is_some_and(|(first, ..)| now - *first > WINDOW) {
            self.marks.pop_front();
        }
        let Some((since, rows_then, bytes_then)) = self.marks.front().copied() else { return (0.0, 0.0) };
        let seconds = (now - since).as_secs_f64();
        // One moment is no pace; nor is the first half second.
        if seconds < 0.2 || now - self.begun < BETWEEN_MARKS {
            return (0.0, 0.0);
        }
        ((rows - rows_then) as f64 / seconds, (bytes - bytes_then) as f64 / seconds)
    }
}
