//! What the data layer did in the window: lookups by layer, misses by cause, and how busy the pools were, over time.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::bench::instances::Instances;
use crate::store::{LayerStatus, MissesByCause, PoolStatus, Store, StoreStatus};

/// A ratio of fewer lookups says nothing.
pub const FEWEST_LOOKUPS: u64 = 100;

/// One layer of cache, in the window, all instances together.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CacheReport {
    pub lookups: u64,
    pub hits: u64,
    /// Null of fewer than 100 lookups.
    pub hit_ratio: Option<f64>,
    /// Without the lookups that missed because a write had just made the answer old: what is left is the cache's own doing.
    pub hit_ratio_undisturbed: Option<f64>,
    pub misses_by_cause: BTreeMap<String, u64>,
}

/// The pools of all instances.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PoolReport {
    /// Connections of one instance, at most.
    pub max: usize,
    /// Of the instance that had the most.
    pub peak_in_use: usize,
    /// The share of `max` in use, averaged over the window; of the busiest instance.
    pub utilization: Option<f64>,
    /// How often a connection was asked for.
    pub waits: u64,
    /// Until one was at hand; of the instance that waited longest.
    pub wait_ms_p50: Option<f64>,
    pub wait_ms_p99: Option<f64>,
    pub wait_ms_max: Option<f64>,
    /// Callers that were refused because too many waited.
    pub refused: u64,
}

/// How the instances fared with Redis. Without it they answer as well, more slowly: by these numbers it is known that a layer was measured with it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RedisReport {
    /// How often an instance lost it.
    pub lost: u64,
    /// Of the instances' measured time, the share in which they did not hear it; null of a time too short to have been looked at.
    pub away_ratio: Option<f64>,
    /// Instances that did not hear it at the end.
    pub away_at_end: u64,
}

#[derive(Clone, Debug)]
pub struct StoreReport {
    pub l1: CacheReport,
    pub l2: CacheReport,
    pub pool: PoolReport,
    /// None where there is none.
    pub redis: Option<RedisReport>,
    pub pending_writes: u64,
}

/// What a second looked like, for who watches.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct StoreNow {
    pub l1_hit_ratio: Option<f64>,
    pub l2_hit_ratio: Option<f64>,
    /// Connections of all instances.
    pub in_use: usize,
    pub max: usize,
    pub waiting: usize,
    /// Instances that do not hear Redis; 0 where there is none.
    pub without_redis: usize,
}

pub struct StoreWatch {
    stores: Vec<Store>,
    has_redis: bool,
    before: Option<Vec<StoreStatus>>,
    after: Option<Vec<StoreStatus>>,
    /// Connections in use of each instance, added up over all looks.
    in_use: Vec<u64>,
    /// Instances that did not hear Redis, added up over all looks.
    without_redis: u64,
    looks: u64,
    /// At the last tick.
    told: (LayerStatus, LayerStatus),
}

impl StoreWatch {
    /// How often the pools are looked at.
    pub const EVERY: Duration = Duration::from_millis(20);

    pub fn new(instances: &Instances) -> Self {
        let stores = instances.stores();
        StoreWatch {
            in_use: vec![0; stores.len()],
            without_redis: 0,
            stores,
            has_redis: instances.has_redis(),
            before: None,
            after: None,
            looks: 0,
            told: Default::default(),
        }
    }

    fn statuses(&self) -> Vec<StoreStatus> {
        self.stores.iter().map(Store::status).collect()
    }

    /// The window begins.
    pub fn begin(&mut self) {
        self.stores.iter().for_each(|store| store.pool().restart_peaks());
        self.before = Some(self.statuses());
    }

    /// The window is over; the first word counts.
    pub fn end(&mut self) {
        if self.before.is_some() && self.after.is_none() {
            self.after = Some(self.statuses());
        }
    }

    pub fn look(&mut self) {
        if self.before.is_none() || self.after.is_some() {
            return;
        }
        self.looks += 1;
        for (sum, store) in self.in_use.iter_mut().zip(&self.stores) {
            *sum += store.pool().in_use() as u64;
            self.without_redis += u64::from(!store.has_redis());
        }
    }

    /// Since this was last asked.
    pub fn now(&mut self) -> Option<StoreNow> {
        let statuses = self.statuses();
        let (l1, l2) = (sum(statuses.iter().map(StoreStatus::l1)), sum(statuses.iter().map(StoreStatus::l2)));
        let (of_l1, of_l2) = (l1.since(&self.told.0), l2.since(&self.told.1));
        self.told = (l1, l2);
        let pools = || statuses.iter().map(|status| &status.pool);
        Some(StoreNow {
            l1_hit_ratio: of_l1.hit_ratio,
            l2_hit_ratio: of_l2.hit_ratio,
            in_use: pools().map(|pool| pool.in_use).sum(),
            max: pools().map(|pool| pool.max).sum(),
            waiting: pools().map(|pool| pool.waiting).sum(),
            without_redis: statuses.iter().filter(|status| self.has_redis && !status.redis).count(),
        })
    }

    /// None when the window never began.
    pub fn report(self) -> Option<StoreReport> {
        let (before, after) = (self.before?, self.after?);
        let of = |layer: fn(&StoreStatus) -> LayerStatus| {
            CacheReport::of(&sum(after.iter().zip(&before).map(|(after, before)| layer(after).since(&layer(before)))))
        };
        let busiest = self.in_use.iter().max().filter(|_| self.looks > 0).map(|sum| *sum as f64 / self.looks as f64);
        let pools = || after.iter().map(|status| &status.pool);
        let most = |value: fn(&PoolStatus) -> Option<f64>| pools().filter_map(value).max_by(f64::total_cmp);
        let max = pools().map(|pool| pool.max).max().unwrap_or_default();
        let grown = |count: fn(&StoreStatus) -> u64| -> u64 {
            after.iter().zip(&before).map(|(after, before)| count(after).saturating_sub(count(before))).sum()
        };
        Some(StoreReport {
            l1: of(StoreStatus::l1),
            l2: of(StoreStatus::l2),
            pool: PoolReport {
                max,
                peak_in_use: pools().map(|pool| pool.peak_in_use).max().unwrap_or_default(),
                utilization: busiest.filter(|_| max > 0).map(|busiest| busiest / max as f64),
                waits: pools().map(|pool| pool.waits).sum(),
                wait_ms_p50: most(|pool| pool.wait_ms_p50),
                wait_ms_p99: most(|pool| pool.wait_ms_p99),
                wait_ms_max: most(|pool| pool.wait_ms_max),
                refused: grown(|status| status.pool.refused),
            },
            redis: self.has_redis.then(|| RedisReport {
                lost: grown(|status| status.breaker_opened),
                away_ratio: match self.looks * after.len() as u64 {
                    0 => None,
                    looks => Some(self.without_redis as f64 / looks as f64),
                },
                away_at_end: after.iter().filter(|status| !status.redis).count() as u64,
            }),
            pending_writes: grown(|status| status.pending_writes),
        })
    }
}

fn sum(layers: impl Iterator<Item = LayerStatus>) -> LayerStatus {
    layers.fold(LayerStatus::default(), |sum, layer| sum.plus(&layer))
}

impl CacheReport {
    /// Of no lookup, with every cause.
    pub fn empty() -> Self {
        CacheReport::of(&LayerStatus::default())
    }

    fn of(layer: &LayerStatus) -> Self {
        let MissesByCause { cold, expired, evicted, invalidated, unproven, unavailable, damaged } = layer.misses_by_cause;
        let ratio = |lookups: u64| (lookups >= FEWEST_LOOKUPS).then(|| layer.hits as f64 / lookups as f64);
        let causes = [
            ("cold", cold),
            ("expired", expired),
            ("evicted", evicted),
            ("invalidated", invalidated),
            ("unproven", unproven),
            ("unavailable", unavailable),
            ("damaged", damaged),
        ];
        CacheReport {
            lookups: layer.lookups,
            hits: layer.hits,
            hit_ratio: ratio(layer.lookups),
            hit_ratio_undisturbed: ratio(layer.lookups - invalidated),
            misses_by_cause: causes.into_iter().map(|(cause, count)| (cause.to_string(), count)).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_of_few_lookups_is_not_known_and_writes_are_told_apart() {
        let status = |hits, invalidated, cold| {
            let lookups = hits + invalidated + cold;
            let misses_by_cause = MissesByCause { cold, invalidated, ..MissesByCause::default() };
            CacheReport::of(&LayerStatus { lookups, hits, misses_by_cause, ..LayerStatus::default() })
        };
        let report = status(90, 100, 10);
        assert_eq!((report.hit_ratio, report.hit_ratio_undisturbed), (Some(0.45), Some(0.9)));
        assert_eq!(report.misses_by_cause["invalidated"], 100);
        let few = status(90, 9, 0);
        assert_eq!((few.lookups, few.hit_ratio, few.hit_ratio_undisturbed), (99, None, None));
    }

    #[test]
    fn where_nobody_looked_nobody_knows_for_how_long_redis_was_away() {
        let watch = |looks| StoreWatch {
            stores: Vec::new(),
            has_redis: true,
            before: Some(vec![StoreStatus::default()]),
            after: Some(vec![StoreStatus::default()]),
            in_use: vec![0],
            without_redis: 1,
            looks,
            told: Default::default(),
        };
        let away = |looks| watch(looks).report().unwrap().redis.unwrap().away_ratio;
        assert_eq!((away(0), away(4)), (None, Some(0.25)));
    }
}
