//! What was sampled, as Prometheus would keep it: series of points by family and labels; rates, instant values and quantiles by its very rules,
//! so that a rule means the same here and there.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

/// How long a point stands for what is now, when nothing newer came: Prometheus's lookback.
const LOOKBACK_MS: i64 = 300_000;

/// A family and the labels that tell its series apart.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Key {
    pub family: String,
    pub labels: BTreeMap<String, String>,
}

impl Key {
    pub fn new(family: &str, labels: &[(&str, &str)]) -> Self {
        let labels = labels.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        Key { family: family.to_string(), labels }
    }
}

/// One label that has to be (or not to be) of this value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selector {
    pub label: String,
    pub value: String,
    pub equal: bool,
}

impl Selector {
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        // As in Prometheus, a label that is not there is empty.
        let there = labels.get(&self.label).map_or("", String::as_str);
        (there == self.value) == self.equal
    }
}

/// A value of one series at the time of its sample.
#[derive(Clone, Debug, PartialEq)]
pub struct Point {
    pub key: Key,
    pub value: f64,
}

/// Milliseconds since 1970, and a value; NaN says that the series ended there.
type Dated = (i64, f64);

/// A series as it is kept in a file, where NaN has no place: None says that it ended there.
pub type Saved = (Key, Vec<(i64, Option<f64>)>);

/// All series, as far back as rules look.
#[derive(Clone, Debug, Default)]
pub struct Series {
    points: BTreeMap<Key, VecDeque<Dated>>,
    /// How far back, in milliseconds.
    keep_ms: i64,
}

impl Series {
    /// Keeps what rules with windows of up to `longest_window_ms` need.
    pub fn new(longest_window_ms: i64) -> Self {
        Series { points: BTreeMap::new(), keep_ms: longest_window_ms.max(LOOKBACK_MS) + 60_000 }
    }

    /// One sample of everything: a series that is neither in it nor among those that only were not asked has ended. What is not older than `gap_ms`
    /// is kept this time, too.
    pub fn append(&mut self, at: i64, sample: &[Point], not_asked: &[Key], gap_ms: i64) {
        let keep_ms = self.keep_ms.max(gap_ms);
        for point in sample {
            self.points.entry(point.key.clone()).or_default().push_back((at, point.value));
        }
        for (key, points) in &mut self.points {
            if points.back().is_some_and(|(last, value)| *last < at && !value.is_nan()) && !not_asked.contains(key) {
                points.push_back((at, f64::NAN));
            }
            while points.front().is_some_and(|(first, _)| *first < at - keep_ms) {
                points.pop_front();
            }
        }
        self.points.retain(|_, points| !points.is_empty());
    }

    /// The clock was set: all of it is by so much later than it seemed.
    pub fn shift(&mut self, by_ms: i64) {
        self.points.values_mut().flatten().for_each(|(at, _)| *at += by_ms);
    }

    /// A point of the past: for counters that are known to have been at 0 then.
    pub fn begin_at_zero(&mut self, at: i64, key: &Key) {
        let points = self.points.entry(key.clone()).or_default();
        if points.is_empty() {
            points.push_back((at, 0.0));
        }
    }

    pub fn knows(&self, key: &Key) -> bool {
        self.points.contains_key(key)
    }

    /// Everything, for a file.
    pub fn saved(&self) -> Vec<Saved> {
        let dated = |(at, value): &Dated| (*at, (!value.is_nan()).then_some(*value));
        self.points.iter().map(|(key, points)| (key.clone(), points.iter().map(dated).collect())).collect()
    }

    pub fn restore(&mut self, saved: Vec<Saved>) {
        for (key, points) in saved {
            self.points.insert(key, points.into_iter().map(|(at, value)| (at, value.unwrap_or(f64::NAN))).collect());
        }
    }

    fn matching<'a>(&'a self, family: &'a str, selectors: &'a [Selector]) -> impl Iterator<Item = (&'a Key, &'a VecDeque<Dated>)> {
        let first = Key { family: family.to_string(), labels: BTreeMap::new() };
        self.points
            .range(first..)
            .take_while(move |(key, _)| key.family == family)
            .filter(move |(key, _)| selectors.iter().all(|selector| selector.matches(&key.labels)))
    }

    /// `family` as it is at `at`.
    pub fn instant(&self, family: &str, selectors: &[Selector], at: i64) -> Vec<(BTreeMap<String, String>, f64)> {
        let now = |points: &VecDeque<Dated>| {
            let (when, value) = points.iter().rev().find(|(when, _)| *when <= at)?;
            (*when >= at - LOOKBACK_MS && !value.is_nan()).then_some(*value)
        };
        self.matching(family, selectors).filter_map(|(key, points)| Some((key.labels.clone(), now(points)?))).collect()
    }

    /// `rate(family[window])`, per second.
    pub fn rate(&self, family: &str, selectors: &[Selector], at: i64, window_ms: i64) -> Vec<(BTreeMap<String, String>, f64)> {
        self.matching(family, selectors).filter_map(|(key, points)| Some((key.labels.clone(), rate(points, at, window_ms)?))).collect()
    }

    /// `sum(rate(family[window]))`; none when no series has two points in the window.
    pub fn sum_rate(&self, family: &str, selectors: &[Selector], at: i64, window_ms: i64) -> Option<f64> {
        let rates = self.rate(family, selectors, at, window_ms);
        (!rates.is_empty()).then(|| rates.iter().map(|(_, rate)| rate).sum())
    }

    /// `histogram_quantile(q, sum by (le) (rate(family[window])))`; NaN when nothing was counted.
    pub fn quantile(&self, q: f64, family: &str, selectors: &[Selector], at: i64, window_ms: i64) -> Option<f64> {
        let mut buckets: Vec<(f64, f64)> = Vec::new();
        for (labels, rate) in self.rate(family, selectors, at, window_ms) {
            let Some(bound) = labels.get("le").and_then(|le| if le == "+Inf" { Some(f64::INFINITY) } else { le.parse().ok() }) else {
                continue;
            };
            match buckets.iter_mut().find(|(there, _)| *there == bound) {
                Some((_, sum)) => *sum += rate,
                None => buckets.push((bound, rate)),
            }
        }
        buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
        (!buckets.is_empty()).then(|| bucket_quantile(q, &mut buckets))
    }
}

/// Prometheus's extrapolated rate: what grew between the first and the last point of the window (both ends belong to it), resets counted, stretched
/// to the window's edges where points come near them, but never to before a counter's 0.
fn rate(points: &VecDeque<Dated>, at: i64, window_ms: i64) -> Option<f64> {
    let start = at - window_ms;
    let begin = points.partition_point(|(when, _)| *when < start);
    let inside = || points.range(begin..).take_while(|(when, _)| *when <= at).filter(|(_, value)| !value.is_nan());
    let (first, last, count) = (inside().next()?, inside().last()?, inside().count());
    if count < 2 {
        return None;
    }
    let mut grown = last.1 - first.1;
    let mut before = first.1;
    for (_, value) in inside() {
        if *value < before {
            grown += before;
        }
        before = *value;
    }
    let seconds = |from: i64, to: i64| (to - from) as f64 / 1000.0;
    let (mut to_start, to_end, sampled) = (seconds(start, first.0), seconds(last.0, at), seconds(first.0, last.0));
    let between = sampled / (count - 1) as f64;
    if grown > 0.0 && first.1 >= 0.0 {
        to_start = to_start.min(sampled * (first.1 / grown));
    }
    let near = between * 1.1;
    let stretch = |gap: f64| if gap < near { gap } else { between / 2.0 };
    let factor = (sampled + stretch(to_start) + stretch(to_end)) / sampled / (window_ms as f64 / 1000.0);
    Some(grown * factor)
}

/// Prometheus's `bucketQuantile`: linear within a bucket.
fn bucket_quantile(q: f64, buckets: &mut [(f64, f64)]) -> f64 {
    if buckets.len() < 2 || buckets.last().is_none_or(|(bound, _)| bound.is_finite()) {
        return f64::NAN;
    }
    let mut most = f64::NEG_INFINITY;
    for (_, count) in buckets.iter_mut() {
        most = most.max(*count);
        *count = most;
    }
    let total = buckets[buckets.len() - 1].1;
    if total == 0.0 {
        return f64::NAN;
    }
    let mut rank = q * total;
    let at = buckets[..buckets.len() - 1].partition_point(|(_, count)| *count < rank);
    if at == buckets.len() - 1 {
        return buckets[at - 1].0;
    }
    let (end, mut count) = buckets[at];
    let mut start = 0.0;
    if at > 0 {
        start = buckets[at - 1].0;
        count -= buckets[at - 1].1;
        rank -= buckets[at - 1].1;
    }
    start + (end - start) * (rank / count)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(values: &[f64]) -> Series {
        let mut series = Series::new(300_000);
        for (tick, value) in values.iter().enumerate() {
            let sample = if value.is_nan() { vec![] } else { vec![Point { key: Key::new("c", &[("i", "1")]), value: *value }] };
            series.append(tick as i64 * 15_000, &sample, &[], 0);
        }
        series
    }

    #[test]
    fn a_gap_is_kept_until_the_next_sample() {
        let mut series = series(&[0.0, 10.0, 20.0]);
        let point = |value| [Point { key: Key::new("c", &[("i", "1")]), value }];
        let day = 86_400_000;
        series.append(day, &point(30.0), &[], day);
        assert_eq!(series.points.values().next().unwrap().len(), 4);
        series.append(day + 15_000, &point(40.0), &[], 15_000);
        assert_eq!(series.points.values().next().unwrap().len(), 2);
    }

    #[test]
    fn a_rate_counts_resets_and_stretches_as_prometheus_does() {
        // A full window needs no stretching: 40 in 60 s.
        let full = series(&[0.0, 10.0, 20.0, 30.0, 40.0]);
        assert_eq!(full.sum_rate("c", &[], 60_000, 60_000), Some(40.0 / 60.0));
        // A reset: 30 + 5.
        assert_eq!(series(&[10.0, 30.0, 40.0, 5.0]).sum_rate("c", &[], 45_000, 45_000), Some(35.0 / 45.0));
        // Half of a window: a counter that began at 0 is not stretched to before that.
        assert_eq!(series(&[0.0, 30.0]).sum_rate("c", &[], 15_000, 60_000), Some(30.0 / 60.0));
        // One that did not begin at 0 is, by half an interval where the edge is far.
        assert_eq!(series(&[100.0, 130.0]).sum_rate("c", &[], 15_000, 60_000), Some(30.0 * 1.5 / 60.0));
        assert_eq!(series(&[100.0]).sum_rate("c", &[], 0, 60_000), None);
        assert_eq!(full.sum_rate("c", &[Selector { label: "i".into(), value: "2".into(), equal: true }], 60_000, 60_000), None);
    }

    #[test]
    fn a_series_that_is_not_sampled_has_ended_and_rates_go_over_the_gap() {
        let gap = series(&[1.0, f64::NAN, f64::NAN, 4.0]);
        assert_eq!(gap.instant("c", &[], 30_000), []);
        assert_eq!(gap.instant("c", &[], 45_000).len(), 1);
        assert_eq!(gap.sum_rate("c", &[], 45_000, 45_000), Some(3.0 / 45.0));
        let mut again = Series::new(0);
        again.restore(gap.saved());
        assert_eq!(again.sum_rate("c", &[], 45_000, 45_000), Some(3.0 / 45.0));
    }

    #[test]
    fn a_quantile_is_linear_in_its_bucket_and_exact_at_its_bounds() {
        let of = |q, counts: [f64; 4]| {
            let mut buckets = [(0.02, counts[0]), (0.05, counts[1]), (0.1, counts[2]), (f64::INFINITY, counts[3])];
            bucket_quantile(q, &mut buckets)
        };
        assert_eq!(of(0.95, [0.0, 95.0, 100.0, 100.0]), 0.05);
        assert_eq!(of(0.5, [0.0, 100.0, 100.0, 100.0]), 0.035);
        assert_eq!(of(0.99, [0.0, 0.0, 0.0, 10.0]), 0.1);
        assert!(of(0.5, [0.0; 4]).is_nan());
    }
}
