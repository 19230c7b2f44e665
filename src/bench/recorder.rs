//! What a worker measures: histograms that never keep a sample, a series of seconds, errors by their code.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::postgres::Refusal;

/// Latencies in nanoseconds, to three digits up to an hour.
#[derive(Clone, Debug)]
pub struct Latencies {
    histogram: Histogram<u64>,
    total_ns: u128,
    least_ns: u64,
    most_ns: u64,
}

const LONGEST_NS: u64 = 3_600_000_000_000;

impl Default for Latencies {
    fn default() -> Self {
        Latencies::with_digits(3)
    }
}

impl Latencies {
    fn with_digits(digits: u8) -> Self {
        // Starts small and grows to what it meets.
        let mut histogram = Histogram::new(digits).expect("one to five digits");
        histogram.auto(true);
        Latencies { histogram, total_ns: 0, least_ns: u64::MAX, most_ns: 0 }
    }

    pub fn record(&mut self, latency: Duration) {
        self.record_several(latency, 1);
    }

    fn record_several(&mut self, latency: Duration, count: u64) {
        let ns = u64::try_from(latency.as_nanos()).unwrap_or(LONGEST_NS).min(LONGEST_NS);
        self.histogram.record_n(ns, count).expect("a histogram that grows takes any value");
        self.total_ns += u128::from(ns) * u128::from(count);
        self.least_ns = self.least_ns.min(ns);
        self.most_ns = self.most_ns.max(ns);
    }

    pub fn add(&mut self, other: &Latencies) {
        self.histogram.add(&other.histogram).expect("a histogram that grows takes any other");
        self.total_ns += other.total_ns;
        self.least_ns = self.least_ns.min(other.least_ns);
        self.most_ns = self.most_ns.max(other.most_ns);
    }

    pub fn count(&self) -> u64 {
        self.histogram.len()
    }

    /// Milliseconds; none of nothing.
    pub fn quantile_ms(&self, quantile: f64) -> Option<f64> {
        // A bucket's upper end is never shown beyond what was met.
        (self.count() > 0).then(|| self.histogram.value_at_quantile(quantile).min(self.most_ns) as f64 / 1e6)
    }

    pub fn mean_ms(&self) -> Option<f64> {
        (self.count() > 0).then(|| self.total_ns as f64 / self.count() as f64 / 1e6)
    }

    pub fn min_ms(&self) -> Option<f64> {
        (self.count() > 0).then(|| self.least_ns as f64 / 1e6)
    }

    pub fn max_ms(&self) -> Option<f64> {
        (self.count() > 0).then(|| self.most_ns as f64 / 1e6)
    }
}

/// One script's or statement's share.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Of those that succeeded.
    pub latencies: Latencies,
    /// Those without an answer are among them.
    pub failures: u64,
    /// How long those had waited that were due and had no answer when the run was over: at least so long they would have taken.
    pub unanswered: Latencies,
}

impl Tally {
    /// With those that had no answer: who leaves them out hides the worst.
    pub fn all_latencies(&self) -> Latencies {
        let mut all = self.latencies.clone();
        all.add(&self.unanswered);
        all
    }

    fn add(&mut self, other: &Tally) {
        self.latencies.add(&other.latencies);
        self.failures += other.failures;
        self.unanswered.add(&other.unanswered);
    }
}

/// What became of the clients' own connections.
#[derive(Clone, Debug, Default)]
pub struct Connections {
    /// How often one broke.
    pub lost: u64,
    /// Attempts at a new one that failed; in the data layer, what failed for want of one.
    pub failed_attempts: u64,
    /// How long clients had none, or waited in vain for one, within the measured time, all of them added up.
    pub away: Duration,
    /// Clients that had none at the end.
    pub away_at_end: u64,
}

impl Connections {
    fn add(&mut self, other: &Connections) {
        self.lost += other.lost;
        self.failed_attempts += other.failed_attempts;
        self.away += other.away;
        self.away_at_end += other.away_at_end;
    }
}

/// The code under which transactions are counted that were due and never begun.
pub const NOT_SENT: &str = "not_sent";

/// That of transactions which were begun and had no answer when nobody waited any longer.
pub const UNFINISHED: &str = "unfinished";

/// How often an error came, and its words the first time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorCount {
    pub count: u64,
    pub message: String,
}

/// Where the answer of a read came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answered {
    L1,
    L2,
    Database,
    /// A load that somebody else had begun.
    Coalesced,
    /// Kept past its time, and marked so.
    Stale,
}

/// What one worker has measured, or several together.
#[derive(Clone, Debug, Default)]
pub struct Record {
    pub scripts: Vec<Tally>,
    /// Empty unless per-statement latency was asked for.
    pub statements: Vec<Tally>,
    pub errors: BTreeMap<String, ErrorCount>,
    /// Transactions that were run again after a serialization failure or a deadlock.
    pub retries: u64,
    /// Reads by where their answers came from, in the order of [`Answered`].
    pub answered: [u64; 5],
    /// Due within the window, and never begun.
    pub not_sent: u64,
    /// Due within the warm-up, and not begun when it ended: nothing of it was measured.
    pub dropped_with_warmup: u64,
    /// How long after their due time transactions began.
    pub lag: Latencies,
    pub connections: Connections,
}

impl Record {
    pub fn new(scripts: usize, statements: usize) -> Self {
        Record { scripts: vec![Tally::default(); scripts], statements: vec![Tally::default(); statements], ..Record::default() }
    }

    fn failed(&mut self, code: &str, message: &str, count: u64) {
        match self.errors.get_mut(code) {
            Some(error) => error.count += count,
            None => drop(self.errors.insert(code.to_string(), ErrorCount { count, message: message.to_string() })),
        }
    }

    pub fn add(&mut self, other: &Record) {
        for (mine, others) in [(&mut self.scripts, &other.scripts), (&mut self.statements, &other.statements)] {
            mine.iter_mut().zip(others).for_each(|(mine, other)| mine.add(other));
        }
        other.errors.iter().for_each(|(code, error)| self.failed(code, &error.message, error.count));
        self.retries += other.retries;
        self.answered.iter_mut().zip(&other.answered).for_each(|(mine, other)| *mine += other);
        self.not_sent += other.not_sent;
        self.dropped_with_warmup += other.dropped_with_warmup;
        self.lag.add(&other.lag);
        self.connections.add(&other.connections);
    }

    /// The scripts that are chosen, as one.
    pub fn tally(&self, chosen: impl Fn(usize) -> bool) -> Tally {
        let mut all = Tally::default();
        self.scripts.iter().enumerate().filter(|(script, _)| chosen(*script)).for_each(|(_, tally)| all.add(tally));
        all
    }
}

/// One second of a run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Second {
    pub second: u64,
    pub transactions: u64,
    pub errors: u64,
    pub p50_ms: Option<f64>,
    pub p95_ms: Option<f64>,
    pub p99_ms: Option<f64>,
}

/// The seconds of a run, put together from all workers. Old ones are kept as their numbers alone.
#[derive(Debug, Default)]
pub struct Series {
    seconds: Mutex<Seconds>,
}

#[derive(Debug, Default)]
struct Seconds {
    closed: Vec<Second>,
    open: BTreeMap<u64, Bucket>,
}

#[derive(Clone, Debug)]
struct Bucket {
    latencies: Latencies,
    errors: u64,
}

impl Default for Bucket {
    fn default() -> Self {
        Bucket { latencies: Latencies::with_digits(2), errors: 0 }
    }
}

/// No worker holds back a second for longer.
const KEPT_OPEN: u64 = 5;

impl Series {
    fn add(&self, second: u64, bucket: &Bucket) {
        let mut seconds = lock(&self.seconds);
        let open = seconds.open.entry(second).or_default();
        open.latencies.add(&bucket.latencies);
        open.errors += bucket.errors;
        while let Some((&first, _)) = seconds.open.first_key_value()
            && first + KEPT_OPEN < second
        {
            seconds.close_first();
        }
    }

    /// Every second so far, and so many at least; those without a transaction are there too.
    pub fn seconds(&self, at_least: u64) -> Vec<Second> {
        let seconds = lock(&self.seconds);
        let mut all = seconds.closed.clone();
        for (second, bucket) in &seconds.open {
            push(&mut all, bucket.summary(*second));
        }
        fill(&mut all, at_least);
        all
    }

    /// The last `count` whole seconds before `second`, as one: for progress.
    pub fn last(&self, second: u64, count: u64) -> Second {
        let seconds = lock(&self.seconds);
        let mut last = Bucket::default();
        for (_, bucket) in seconds.open.range(second.saturating_sub(count)..second) {
            last.latencies.add(&bucket.latencies);
            last.errors += bucket.errors;
        }
        last.summary(second)
    }
}

impl Seconds {
    fn close_first(&mut self) {
        if let Some((second, bucket)) = self.open.pop_first() {
            push(&mut self.closed, bucket.summary(second));
        }
    }
}

/// Adds a second, and the silent ones before it. One that comes again, after it was closed, adds its counts.
fn push(all: &mut Vec<Second>, second: Second) {
    if let Some(there) = usize::try_from(second.second).ok().and_then(|at| all.get_mut(at)) {
        there.transactions += second.transactions;
        there.errors += second.errors;
        return;
    }
    fill(all, second.second);
    all.push(second);
}

/// Silent seconds, up to so many.
fn fill(all: &mut Vec<Second>, count: u64) {
    while (all.len() as u64) < count {
        all.push(Second { second: all.len() as u64, transactions: 0, errors: 0, p50_ms: None, p95_ms: None, p99_ms: None });
    }
}

impl Bucket {
    fn summary(&self, second: u64) -> Second {
        Second {
            second,
            transactions: self.latencies.count(),
            errors: self.errors,
            p50_ms: self.latencies.quantile_ms(0.5),
            p95_ms: self.latencies.quantile_ms(0.95),
            p99_ms: self.latencies.quantile_ms(0.99),
        }
    }
}

/// A worker's pen: every client of its thread writes with it.
#[derive(Debug)]
pub struct Recorder {
    pub record: Record,
    series: Arc<Series>,
    measured_from: Instant,
    /// When the last one that succeeded had its answer.
    pub last_answer: Option<Instant>,
    second: u64,
    bucket: Bucket,
    /// The clients without a connection, and since when.
    away: BTreeMap<usize, Instant>,
}

impl Recorder {
    pub fn new(record: Record, series: Arc<Series>, measured_from: Instant) -> Self {
        Recorder { record, series, measured_from, last_answer: None, second: 0, bucket: Bucket::default(), away: BTreeMap::new() }
    }

    /// A transaction that ended at `ended`; `latency` is from when it was due.
    pub fn succeeded(&mut self, script: usize, latency: Duration, ended: Instant) {
        self.record.scripts[script].latencies.record(latency);
        self.last_answer = self.last_answer.max(Some(ended));
        self.turn_to(ended);
        self.bucket.latencies.record(latency);
    }

    pub fn failed(&mut self, script: usize, refusal: &Refusal, ended: Instant) {
        self.failed_several(script, refusal, 1, ended);
    }

    pub fn failed_several(&mut self, script: usize, refusal: &Refusal, count: u64, ended: Instant) {
        self.record.scripts[script].failures += count;
        self.record.failed(&refusal.code, &refusal.message, count);
        self.turn_to(ended);
        self.bucket.errors += count;
    }

    /// Transactions that were due at `due` and had no answer when nobody waited any longer. They failed, and they took that long at least.
    pub fn unanswered(&mut self, script: usize, refusal: &Refusal, count: u64, due: Instant, until: Instant) {
        self.record.scripts[script].unanswered.record_several(until.saturating_duration_since(due), count);
        self.failed_several(script, refusal, count, due);
    }

    /// This client has lost its connection.
    pub fn lost(&mut self, client: usize, now: Instant) {
        self.record.connections.lost += 1;
        self.away.insert(client, now);
    }

    /// It had nobody to ask.
    pub fn without(&mut self, from: Instant, to: Instant) {
        self.record.connections.away += to.saturating_duration_since(from.max(self.measured_from));
    }

    /// It has another one.
    pub fn found(&mut self, client: usize, now: Instant) {
        if let Some(since) = self.away.remove(&client) {
            self.without(since, now);
        }
    }

    /// The measured time is over.
    pub fn end(mut self, now: Instant) -> Record {
        self.hand_on();
        self.record.connections.away_at_end = self.away.len() as u64;
        for client in self.away.keys().copied().collect::<Vec<_>>() {
            self.found(client, now);
        }
        self.record
    }

    /// Hands on the second that has passed; called now and then, so that it is not held back while nothing happens.
    pub fn turn_to(&mut self, now: Instant) {
        let second = now.saturating_duration_since(self.measured_from).as_secs();
        if second != self.second {
            self.hand_on();
            self.second = second;
        }
    }

    fn hand_on(&mut self) {
        if self.bucket.latencies.count() > 0 || self.bucket.errors > 0 {
            self.series.add(self.second, &self.bucket);
            self.bucket = Bucket::default();
        }
    }
}

/// A worker that panicked has left whole numbers behind.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_right_to_three_digits_and_never_beyond_the_most() {
        let mut latencies = Latencies::default();
        assert_eq!((latencies.quantile_ms(0.5), latencies.mean_ms(), latencies.min_ms()), (None, None, None));
        for us in 1..=1000 {
            latencies.record(Duration::from_micros(us));
        }
        assert!((latencies.quantile_ms(0.5).unwrap() - 0.5).abs() < 0.001);
        assert!((latencies.quantile_ms(0.99).unwrap() - 0.99).abs() < 0.001);
        assert_eq!((latencies.min_ms(), latencies.max_ms(), latencies.mean_ms()), (Some(0.001), Some(1.0), Some(0.5005)));
        assert_eq!(latencies.quantile_ms(1.0), Some(1.0));
        latencies.record(Duration::from_secs(100_000));
        assert_eq!(latencies.max_ms(), Some(3_600_000.0));
    }

    #[test]
    fn what_had_no_answer_failed_and_took_as_long_as_it_was_waited_for() {
        let (series, start, second) = (Arc::new(Series::default()), Instant::now(), Duration::from_secs(1));
        let mut recorder = Recorder::new(Record::new(1, 0), Arc::clone(&series), start);
        recorder.succeeded(0, Duration::from_millis(1), start + second);
        let refusal = Refusal { code: NOT_SENT.into(), message: "due".into(), broken: false };
        recorder.unanswered(0, &refusal, 3, start + second, start + 5 * second);
        recorder.lost(4, start + second);
        recorder.lost(5, start + second);
        recorder.found(4, start + 2 * second);
        let record = recorder.end(start + 5 * second);
        let tally = record.tally(|_| true);
        assert_eq!((tally.latencies.count(), tally.failures, record.errors[NOT_SENT].count), (1, 3, 3));
        assert!(tally.all_latencies().quantile_ms(0.5).is_some_and(|p50| (p50 - 4000.0).abs() < 4.0));
        assert_eq!(series.seconds(0)[1].errors, 3);
        let connections = &record.connections;
        assert_eq!((connections.lost, connections.away_at_end, connections.away), (2, 1, 5 * second));
    }

    #[test]
    fn a_series_has_every_second_silent_ones_too() {
        let (series, start) = (Arc::new(Series::default()), Instant::now());
        let mut recorder = Recorder::new(Record::new(1, 0), Arc::clone(&series), start);
        let ms = Duration::from_millis;
        recorder.succeeded(0, ms(2), start + ms(100));
        recorder.succeeded(0, ms(4), start + ms(900));
        let refusal = Refusal { code: "40001".into(), message: "could not serialize".into(), broken: false };
        recorder.failed(0, &refusal, start + ms(3500));
        recorder.hand_on();
        assert_eq!(series.seconds(6).iter().map(|second| second.transactions).collect::<Vec<_>>(), [2, 0, 0, 0, 0, 0]);
        let seconds = series.seconds(2);
        let counts: Vec<(u64, u64, u64)> = seconds.iter().map(|second| (second.second, second.transactions, second.errors)).collect();
        assert_eq!(counts, [(0, 2, 0), (1, 0, 0), (2, 0, 0), (3, 0, 1)]);
        assert!(seconds[0].p99_ms.is_some_and(|p99| (p99 - 4.0).abs() < 0.1) && seconds[1].p50_ms.is_none());
        assert_eq!(recorder.record.errors["40001"].count, 1);
        // A long run keeps a few histograms and many numbers.
        for second in 4..100 {
            recorder.succeeded(0, ms(1), start + Duration::from_secs(second));
        }
        recorder.hand_on();
        assert!(lock(&series.seconds).open.len() <= KEPT_OPEN as usize + 1);
        assert_eq!(series.seconds(0).iter().map(|second| second.transactions).sum::<u64>(), 98);
    }
}
