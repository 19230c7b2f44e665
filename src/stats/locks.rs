//! Who waits for whom.

use futures_util::FutureExt as _;

use crate::stats::{Growth, Stat};

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
    read: |look| look.sessions(include_str!("queries/locks.sql")).boxed(),
};
