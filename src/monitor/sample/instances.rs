//! The instances of the data layer, by what each left in Redis some seconds ago.

use anyhow::Result;

use crate::model::{LATENCY_BOUNDS, sentence};
use crate::monitor::metric::Source;
use crate::monitor::sample::{InstanceFact, Part, PoolFact, Presence, SHORT_LIMIT};
use crate::stats::with_stack;
use crate::store::{Fleet, FleetPlace, Instance};

pub(super) struct Instances {
    place: Option<FleetPlace>,
    fleet: Option<Fleet>,
}

impl Instances {
    pub fn new(place: Option<FleetPlace>) -> Self {
        Instances { place, fleet: None }
    }

    pub async fn sample(&mut self, seconds: Option<f64>) -> Part {
        let Some(place) = &self.place else {
            return Part::of(Source::Instances, Presence::Absent("no Redis is named".to_string()));
        };
        let read = async {
            if self.fleet.is_none() {
                self.fleet = Some(Fleet::connect(place).await?);
            }
            match &mut self.fleet {
                Some(fleet) => fleet.instances().await,
                None => Ok(Vec::new()),
            }
        };
        let read: Result<Vec<Instance>> = match tokio::time::timeout(SHORT_LIMIT, read).await {
            Ok(read) => read,
            Err(_) => Err(anyhow::anyhow!("Redis did not answer within {} s", SHORT_LIMIT.as_secs())),
        };
        match read {
            Err(error) => {
                self.fleet = None;
                Part::of(Source::Instances, Presence::Failed(with_stack(&place.origin, sentence(&error))))
            }
            Ok(instances) if instances.is_empty() => {
                let why = format!("no instance is alive under {:?} in Redis", place.namespace);
                Part::of(Source::Instances, Presence::Absent(why))
            }
            Ok(instances) => part(&instances, seconds),
        }
    }
}

fn part(instances: &[Instance], seconds: Option<f64>) -> Part {
    let mut part = Part::of(Source::Instances, Presence::There);
    for instance in instances {
        let first = part.points.len();
        let name = instance.instance.as_str();
        let labels = [("app_instance", name)];
        if let Some(calls) = &instance.calls {
            for (bound, count) in LATENCY_BOUNDS.iter().zip(&calls.latency.at_most) {
                part.add("candlefish_query_duration_seconds_bucket", &[("app_instance", name), ("le", &bound.to_string())], *count as f64);
            }
            let count = calls.latency.count as f64;
            part.add("candlefish_query_duration_seconds_bucket", &[("app_instance", name), ("le", "+Inf")], count);
            part.add("candlefish_query_duration_seconds_count", &labels, count);
            part.add("candlefish_query_duration_seconds_sum", &labels, calls.latency.seconds);
            part.add("candlefish_query_failures_total", &labels, calls.failures as f64);
        }
        let (mut requests, mut answered) = (0, 0);
        let mut layers = [(0, 0); 2];
        for query in &instance.queries {
            // A query that keeps out of memory is looked up in Redis alone.
            requests += if query.l1.lookups > 0 { query.l1.lookups } else { query.l2.lookups };
            answered += query.l1.hits + query.l2.hits;
            for (sum, layer) in layers.iter_mut().zip([&query.l1, &query.l2]) {
                *sum = (sum.0 + layer.lookups, sum.1 + layer.hits);
            }
        }
        part.add("candlefish_cache_requests_total", &labels, requests as f64);
        part.add("candlefish_cache_answered_total", &labels, answered as f64);
        for (layer, (lookups, hits)) in ["l1", "l2"].into_iter().zip(layers) {
            part.add("candlefish_cache_lookups_total", &[("app_instance", name), ("layer", layer)], lookups as f64);
            part.add("candlefish_cache_hits_total", &[("app_instance", name), ("layer", layer)], hits as f64);
        }
        // Counters of an instance that is younger than the last sample were at 0 then.
        if seconds.is_some_and(|seconds| (instance.uptime_seconds as f64) < seconds) {
            let began: Vec<_> = part.points[first..].iter().map(|point| point.key.clone()).collect();
            part.began.extend(began);
        }
        let pool = &instance.pool;
        part.add("candlefish_pool_in_use", &labels, pool.in_use as f64);
        part.add("candlefish_pool_max", &labels, pool.max as f64);
        part.add("candlefish_pool_waiting", &labels, pool.waiting as f64);
        part.add("candlefish_resident_memory_bytes", &labels, instance.rss_bytes.map(|bytes| bytes as f64));
        part.facts.pools.push(PoolFact {
            name: format!("instance {name}"),
            in_use: pool.in_use as f64,
            most: Some(pool.max as f64),
            waiting: pool.waiting as f64,
        });
        part.facts.instances.push(InstanceFact {
            instance: name.to_string(),
            process: instance.process,
            uptime_seconds: instance.uptime_seconds,
            rss_bytes: instance.rss_bytes,
            hears_redis: instance.redis,
        });
    }
    part
}
