//! Who is connected, what they do, and how near the limits that is.

use futures_util::FutureExt as _;

use crate::stats::{Growth, Stat};

pub const STAT: Stat = Stat {
    name: "connections",
    about: "sessions by state, wait and client, against the limits",
    columns: &["scope", "name", "connections", "most", "used_ratio", "longest_seconds"],
    growth: Growth::NONE,
    read: |look| look.sessions(include_str!("queries/connections.sql")).boxed(),
};
