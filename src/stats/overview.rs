//! The state of the server in one look.

use futures_util::FutureExt as _;

use crate::postgres::{Parameter, Type};
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
            let counting = look.counting().await?;
            let parameters: [Parameter<'_>; 2] = [(&look.options.with_size, Type::BOOL), (&counting.is_on, Type::BOOL)];
            let mut reading = counting.of(Reading::of(look.ask(include_str!("queries/overview.sql"), &parameters).await?));
            if let (Some(looking), Some(row)) = (look.looking, reading.rows.first_mut()) {
                let (commits, rollbacks) = looking.transactions(look.observer).await?;
                looking.take_away(&STAT, row, "commits", commits);
                looking.take_away(&STAT, row, "rollbacks", rollbacks);
            }
            look.note_hidden_sessions(&mut reading).await?;
            Ok(reading)
        }
        .boxed()
    },
};
