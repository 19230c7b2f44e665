//! The state of the server in one look.

use futures_util::FutureExt as _;

use crate::postgres::Type;
use crate::stats::{Growth, Reading, Stat};

pub const STAT: Stat = Stat {
    name: "overview",
    about: "the state of the server in one look",
    columns: &[
        "database",
        "up_seconds",
        "size_bytes",
        "connections",
        "connections_most",
        "active",
        "idle_in_transaction",
        "waiting_for_locks",
        "longest_transaction_seconds",
        "cache_hit_ratio",
        "commits",
        "rollbacks",
        "rollback_ratio",
        "deadlocks",
        "temp_bytes",
        "dead_ratio",
        "wraparound_ratio",
        "invalid_indexes",
    ],
    growth: Growth {
        key: &["database"],
        counters: &["commits", "rollbacks", "deadlocks", "temp_bytes"],
        ratios: &[("rollback_ratio", "rollbacks", &["commits", "rollbacks"])],
        whole_life: &["cache_hit_ratio"],
    },
    read: |look| {
        async move {
            let answer = look.ask(include_str!("queries/overview.sql"), &[(&look.options.with_size, Type::BOOL)]).await?;
            let mut reading = Reading { since: look.since().await?, ..Reading::of(answer) };
            look.note_hidden_sessions(&mut reading).await?;
            Ok(reading)
        }
        .boxed()
    },
};
