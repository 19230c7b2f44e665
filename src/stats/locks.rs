//! Who waits for whom.

use futures_util::FutureExt as _;

use crate::stats::{Growth, Reading, Stat};

pub const STAT: Stat = Stat {
    name: "locks",
    about: "who waits for whom, as a tree with its root cause",
    columns: &[
        "tree",
        "depth",
        "pid",
        "blocked_by",
        "blocks",
        "user",
        "application",
        "client",
        "state",
        "wait",
        "transaction_seconds",
        "state_seconds",
        "remedy",
        "query",
    ],
    growth: Growth::NONE,
    read: |look| {
        async move {
            let mut reading = Reading::of(look.ask(include_str!("queries/locks.sql"), &[]).await?);
            look.note_hidden_sessions(&mut reading).await?;
            Ok(reading)
        }
        .boxed()
    },
};
