//! What the store counts: per query and per layer, exactly; times in HDR histograms.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::LATENCY_BOUNDS;

/// Durations, to three digits, up to an hour. Recording locks for some nanoseconds.
pub(super) struct Histogram(Mutex<hdrhistogram::Histogram<u64>>);

/// A histogram in numbers; None where nothing was recorded.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Latency {
    pub count: u64,
    pub mean_ms: Option<f64>,
    pub p50_ms: Option<f64>,
    pub p95_ms: Option<f64>,
    pub p99_ms: Option<f64>,
    pub max_ms: Option<f64>,
}

impl Default for Histogram {
    fn default() -> Self {
        Histogram(Mutex::new(hdrhistogram::Histogram::new(3).expect("three digits are within its limits")))
    }
}

impl Histogram {
    /// To two digits, up to a tenth of a second: made once in its full size, so that recording never allocates.
    pub fn of_hits() -> Self {
        Histogram(Mutex::new(hdrhistogram::Histogram::new_with_max(100_000_000, 2).expect("two digits are within its limits")))
    }

    pub fn record(&self, duration: Duration) {
        self.record_for(duration, 1);
    }

    /// One that stands for so many.
    pub fn record_for(&self, duration: Duration, count: u64) {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX).min(3_600_000_000_000);
        let mut histogram = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        // One of a fixed size does not grow to it.
        if histogram.record_n(nanos, count).is_err() {
            histogram.saturating_record_n(nanos, count);
        }
    }

    /// As Prometheus counts: how many took at most each of [`LATENCY_BOUNDS`].
    pub fn buckets(&self) -> Buckets {
        let histogram = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let below = |bound: f64| histogram.count_between(0, (bound * 1e9) as u64);
        Buckets {
            count: histogram.len(),
            seconds: if histogram.is_empty() { 0.0 } else { histogram.mean() * histogram.len() as f64 / 1e9 },
            at_most: LATENCY_BOUNDS.iter().map(|bound| below(*bound)).collect(),
        }
    }

    pub fn clear(&self) {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).reset();
    }

    pub fn summary(&self) -> Latency {
        let histogram = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let known = |nanos: f64| (!histogram.is_empty()).then_some(nanos / 1e6);
        Latency {
            count: histogram.len(),
            mean_ms: known(histogram.mean()),
            p50_ms: known(histogram.value_at_quantile(0.50) as f64),
            p95_ms: known(histogram.value_at_quantile(0.95) as f64),
            p99_ms: known(histogram.value_at_quantile(0.99) as f64),
            max_ms: known(histogram.max() as f64),
        }
    }
}

/// Durations as cumulative counts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Buckets {
    pub count: u64,
    /// The sum of all.
    pub seconds: f64,
    /// One for each of [`LATENCY_BOUNDS`].
    pub at_most: Vec<u64>,
}

/// What callers of a store saw, whichever layer answered.
#[derive(Default)]
pub(super) struct CallMetrics {
    /// From the call to its answer or its failure. Of hits in memory one in 128 is timed, and stands for all.
    pub latency: Histogram,
    /// Calls that failed for good.
    pub failures: AtomicU64,
}

impl CallMetrics {
    pub fn record<T, E>(&self, began: std::time::Instant, outcome: &Result<T, E>) {
        self.latency.record(began.elapsed());
        self.failures.fetch_add(u64::from(outcome.is_err()), Ordering::Relaxed);
    }

    pub fn status(&self) -> CallStatus {
        CallStatus { latency: self.latency.buckets(), failures: self.failures.load(Ordering::Relaxed) }
    }
}

/// What callers of a store saw since it was opened.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct CallStatus {
    pub latency: Buckets,
    pub failures: u64,
}

/// Why a layer had no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Miss {
    /// It never had one, as far as is known.
    Cold,
    Expired,
    Evicted,
    /// A tag has changed, or the epoch.
    Invalidated,
    /// Nobody can say whether it still holds: the instance has not heard from Redis, or from the outbox, for too long.
    Unproven,
    /// Redis did not answer in time, or is given a rest.
    Unavailable,
    /// What Redis had was not whole, or of another shape.
    Damaged,
}

const MISSES: usize = 7;

/// A counter for many threads: each counts in a place of its own.
#[derive(Default)]
pub(super) struct Counter([Padded; 8]);

#[derive(Default)]
#[repr(align(128))]
struct Padded(AtomicU64);

thread_local! {
    static PLACE: usize = {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        NEXT.fetch_add(1, Ordering::Relaxed) % 8
    };
}

impl Counter {
    /// Counts one; the count of this thread's place before it.
    pub fn count(&self) -> u64 {
        self.0[PLACE.with(|place| *place)].0.fetch_add(1, Ordering::Relaxed)
    }

    pub fn get(&self) -> u64 {
        self.0.iter().map(|place| place.0.load(Ordering::Relaxed)).sum()
    }
}

impl Default for QueryMetrics {
    fn default() -> Self {
        let l1 = LayerMetrics { latency: Histogram::of_hits(), ..LayerMetrics::default() };
        QueryMetrics {
            l1,
            l2: LayerMetrics::default(),
            database: Histogram::default(),
            coalesced: AtomicU64::default(),
            stale: AtomicU64::default(),
            refreshed_ahead: AtomicU64::default(),
            not_stored: AtomicU64::default(),
            errors: AtomicU64::default(),
            retries: AtomicU64::default(),
            pending_writes: AtomicU64::default(),
        }
    }
}

/// The counts of one query.
pub(super) struct QueryMetrics {
    pub l1: LayerMetrics,
    pub l2: LayerMetrics,
    /// Statements that ran in the database.
    pub database: Histogram,
    /// Callers that got the answer of somebody else's load.
    pub coalesced: AtomicU64,
    pub stale: AtomicU64,
    pub refreshed_ahead: AtomicU64,
    /// Loads that were not kept because something was invalidated meanwhile.
    pub not_stored: AtomicU64,
    pub errors: AtomicU64,
    pub retries: AtomicU64,
    pub pending_writes: AtomicU64,
}

#[derive(Default)]
pub(super) struct LayerMetrics {
    pub hits: Counter,
    misses: [AtomicU64; MISSES],
    /// Times of hits; of L1's, one in a hundred and twenty-eight.
    pub latency: Histogram,
}

impl LayerMetrics {
    pub fn miss(&self, cause: Miss) {
        self.misses[cause as usize].fetch_add(1, Ordering::Relaxed);
    }

    fn status(&self) -> LayerStatus {
        let misses = |cause: Miss| self.misses[cause as usize].load(Ordering::Relaxed);
        let hits = self.hits.get();
        let missed: u64 = self.misses.iter().map(|count| count.load(Ordering::Relaxed)).sum();
        LayerStatus {
            lookups: hits + missed,
            hits,
            hit_ratio: (hits + missed > 0).then(|| hits as f64 / (hits + missed) as f64),
            misses_by_cause: MissesByCause {
                cold: misses(Miss::Cold),
                expired: misses(Miss::Expired),
                evicted: misses(Miss::Evicted),
                invalidated: misses(Miss::Invalidated),
                unproven: misses(Miss::Unproven),
                unavailable: misses(Miss::Unavailable),
                damaged: misses(Miss::Damaged),
            },
            latency: self.latency.summary(),
        }
    }
}

/// One layer's counts since the store was opened. `hit_ratio` is of this layer's own lookups.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LayerStatus {
    pub lookups: u64,
    pub hits: u64,
    pub hit_ratio: Option<f64>,
    pub misses_by_cause: MissesByCause,
    /// Of hits. L1's are a sample: one in 128.
    pub latency: Latency,
}

impl LayerStatus {
    /// What was counted after `earlier`, which this layer said of itself before; without times.
    pub fn since(&self, earlier: &LayerStatus) -> LayerStatus {
        self.with(earlier, u64::saturating_sub)
    }

    /// Both together; without times.
    pub fn plus(&self, other: &LayerStatus) -> LayerStatus {
        self.with(other, |one, other| one + other)
    }

    fn with(&self, other: &LayerStatus, of: impl Fn(u64, u64) -> u64) -> LayerStatus {
        let (lookups, hits) = (of(self.lookups, other.lookups), of(self.hits, other.hits));
        let (here, there) = (&self.misses_by_cause, &other.misses_by_cause);
        LayerStatus {
            lookups,
            hits,
            hit_ratio: (lookups > 0).then(|| hits as f64 / lookups as f64),
            misses_by_cause: MissesByCause {
                cold: of(here.cold, there.cold),
                expired: of(here.expired, there.expired),
                evicted: of(here.evicted, there.evicted),
                invalidated: of(here.invalidated, there.invalidated),
                unproven: of(here.unproven, there.unproven),
                unavailable: of(here.unavailable, there.unavailable),
                damaged: of(here.damaged, there.damaged),
            },
            latency: Latency::default(),
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MissesByCause {
    pub cold: u64,
    pub expired: u64,
    pub evicted: u64,
    pub invalidated: u64,
    pub unproven: u64,
    pub unavailable: u64,
    pub damaged: u64,
}

/// One query's counts since the store was opened.
#[derive(Clone, Debug, Serialize)]
pub struct QueryStatus {
    pub query: &'static str,
    pub l1: LayerStatus,
    pub l2: LayerStatus,
    pub database: Latency,
    pub coalesced: u64,
    pub stale: u64,
    pub refreshed_ahead: u64,
    pub not_stored: u64,
    pub errors: u64,
    pub retries: u64,
    pub pending_writes: u64,
}

impl QueryMetrics {
    pub fn status(&self, query: &'static str) -> QueryStatus {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        QueryStatus {
            query,
            l1: self.l1.status(),
            l2: self.l2.status(),
            database: self.database.summary(),
            coalesced: count(&self.coalesced),
            stale: count(&self.stale),
            refreshed_ahead: count(&self.refreshed_ahead),
            not_stored: count(&self.not_stored),
            errors: count(&self.errors),
            retries: count(&self.retries),
            pending_writes: count(&self.pending_writes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_cumulative_and_one_may_stand_for_many() {
        let calls = CallMetrics::default();
        calls.latency.record_for(Duration::from_micros(300), 128);
        calls.latency.record(Duration::from_millis(30));
        let buckets = calls.status().latency;
        assert_eq!((buckets.count, buckets.at_most[0], buckets.at_most[5], buckets.at_most[6]), (129, 128, 128, 129));
        assert!((buckets.seconds - (128.0 * 0.0003 + 0.03)).abs() < 0.0005, "{}", buckets.seconds);
    }

    #[test]
    fn unknown_is_null_and_ratios_are_of_the_layer_itself() {
        let metrics = QueryMetrics::default();
        let empty = serde_json::to_value(metrics.status("q")).unwrap();
        assert!(empty["l1"]["hit_ratio"].is_null() && empty["database"]["p99_ms"].is_null());
        for _ in 0..3 {
            metrics.l1.hits.count();
        }
        metrics.l1.miss(Miss::Evicted);
        metrics.database.record(Duration::from_millis(2));
        let status = metrics.status("q");
        assert_eq!((status.l1.lookups, status.l1.hit_ratio, status.l1.misses_by_cause.evicted), (4, Some(0.75), 1));
        assert!((status.database.p50_ms.unwrap() - 2.0).abs() < 0.01);
        assert_eq!(status.l2.hit_ratio, None);
    }
}
