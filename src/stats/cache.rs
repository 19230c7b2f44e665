//! The caches of the data layer, over every live instance.

use anyhow::Result;
use futures_util::FutureExt as _;

use crate::model::Cell;
use crate::stats::{Around, Growth, Reading, Stat, Unavailable};
use crate::store::{Instance, LayerStatus};

pub const STAT: Stat = Stat {
    name: "cache",
    about: "the data layer's memory (L1) and Redis (L2): hits, and misses by cause, of every live instance",
    columns: &[
        "query",
        "layer",
        "instances",
        "lookups",
        "hits",
        "hit_ratio",
        "cold",
        "expired",
        "evicted",
        "invalidated",
        "unproven",
        "unavailable",
        "damaged",
        "worst_p99_ms",
    ],
    growth: Growth {
        key: &["query", "layer"],
        counters: &["lookups", "hits", "cold", "expired", "evicted", "invalidated", "unproven", "unavailable", "damaged"],
        ratios: &[("hit_ratio", "hits", &["lookups"])],
        whole_life: &["worst_p99_ms"],
    },
    read: |look| async move { of(look.around) }.boxed(),
};

/// What instances say; the server is not asked.
pub(super) fn of(around: &Around) -> Result<Reading> {
    let instances = match &around.instances {
        None => return Ok(Reading { notes: vec![NO_REDIS.to_string()], ..Reading::default() }),
        Some(instances) => instances.as_ref().map_err(Unavailable::clone)?,
    };
    let mut reading = Reading::default();
    if instances.is_empty() {
        let namespace = &around.namespace;
        reading.notes.push(format!("no instance of the data layer is alive under {namespace:?} in Redis (--namespace names another)"));
    }
    for instance in instances.iter().filter(|instance| !instance.redis) {
        reading.notes.push(format!("instance {} does not hear Redis: its memory is used for less than a second", instance.instance));
    }
    reading.rows = rows(instances);
    Ok(reading)
}

pub(super) const NO_REDIS: &str = "no Redis is named, so no instance of the data layer is seen: --redis redis://host:6379 or REDIS_URL";

/// A row for each query and layer that was asked at all, the most asked first.
fn rows(instances: &[Instance]) -> Vec<Vec<Cell>> {
    let mut sums: Vec<(&str, &str, i64, LayerStatus)> = Vec::new();
    for query in instances.iter().flat_map(|instance| &instance.queries) {
        for (layer, status) in [("l1", &query.l1), ("l2", &query.l2)] {
            if status.lookups == 0 {
                continue;
            }
            match sums.iter_mut().find(|(name, of, ..)| *name == query.query && *of == layer) {
                Some((.., count, sum)) => {
                    *count += 1;
                    // Counts are added; quantiles cannot be, and the worst stays.
                    let worst = [sum.latency.p99_ms, status.latency.p99_ms].into_iter().flatten().reduce(f64::max);
                    *sum = sum.plus(status);
                    sum.latency.p99_ms = worst;
                }
                None => sums.push((&query.query, layer, 1, status.clone())),
            }
        }
    }
    let asked = |query: &str| sums.iter().filter(|(name, ..)| *name == query).map(|(.., sum)| sum.lookups).max();
    let mut sorted: Vec<_> = sums.iter().collect();
    sorted.sort_by(|a, b| asked(b.0).cmp(&asked(a.0)).then(a.0.cmp(b.0)).then(a.1.cmp(b.1)));
    let int = |count: u64| Cell::Int(i64::try_from(count).unwrap_or(i64::MAX));
    sorted
        .into_iter()
        .map(|(query, layer, count, sum)| {
            let misses = sum.misses_by_cause;
            let ratio = (sum.lookups > 0).then(|| sum.hits as f64 / sum.lookups as f64);
            let mut row = vec![(*query).into(), (*layer).into(), Cell::Int(*count), int(sum.lookups), int(sum.hits), ratio.into()];
            let causes =
                [misses.cold, misses.expired, misses.evicted, misses.invalidated, misses.unproven, misses.unavailable, misses.damaged];
            row.extend(causes.map(int));
            row.push(sum.latency.p99_ms.into());
            row
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::InstanceQuery;

    #[test]
    fn instances_add_up_and_what_was_never_asked_has_no_row() {
        let layer = |lookups, hits| LayerStatus { lookups, hits, ..LayerStatus::default() };
        let query = |name: &str, l1, l2| InstanceQuery { query: name.to_string(), l1, l2, ..InstanceQuery::default() };
        let one = Instance {
            queries: vec![query("a", layer(10, 9), layer(1, 0)), query("b", layer(0, 0), layer(50, 50))],
            ..Instance::default()
        };
        let rows = rows(&[one.clone(), one]);
        let shown: Vec<String> = rows
            .iter()
            .map(|row| {
                format!("{:?} {:?} {:?} {:?}", row[0].text().unwrap(), row[1].text().unwrap(), row[3].number().unwrap(), row[5].number())
            })
            .collect();
        assert_eq!(shown, ["\"b\" \"l2\" 100.0 Some(1.0)", "\"a\" \"l1\" 20.0 Some(0.9)", "\"a\" \"l2\" 2.0 Some(0.0)"]);
    }
}
