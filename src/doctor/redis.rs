//! Redis: a cache that is full has to throw out, and not to refuse.

use futures_util::FutureExt as _;

use crate::doctor::{Check, Found, as_set};
use crate::model::sentence;
use crate::stats::redis_remedy;

pub const POLICY: Check = Check {
    name: "redis-policy",
    about: "Redis has a limit, and throws out what is used least when it is full",
    run: |patient| {
        async move {
            let facts = match &patient.surroundings.redis {
                None => return Ok(Found::not_named("no Redis of this server is named (--redis)")),
                Some((origin, Err(error))) => return Ok(Found::error("unreachable", sentence(error), redis_remedy(origin))),
                Some((_, Ok(facts))) => facts,
            };
            let value = format!("Redis {}, maxmemory = {}, {}", facts.version, as_set(facts.maxmemory as f64).to_lowercase(), facts.policy);
            Ok(if facts.maxmemory == 0 {
                Found::warning(
                    value,
                    "without a limit it grows until the system ends it",
                    "CONFIG SET maxmemory 1gb; CONFIG SET maxmemory-policy allkeys-lru (and both in redis.conf)",
                )
            } else if facts.policy == "noeviction" {
                Found::error(
                    value,
                    "full, it refuses every write: nothing new is cached, and no invalidation is heard",
                    "CONFIG SET maxmemory-policy allkeys-lru (and in redis.conf)",
                )
            } else {
                Found::ok(value, "full, it throws out")
            })
        }
        .boxed()
    },
};
