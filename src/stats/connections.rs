//! Who is connected, what they do, and how near the limits that is.

use futures_util::FutureExt as _;

use crate::stats::{Growth, Reading, Stat};

pub const STAT: Stat = Stat {
    name: "connections",
    about: "sessions by state, wait and client, against the limits",
    columns: &["scope", "name", "connections", "most", "used_ratio", "longest_seconds"],
    growth: Growth::NONE,
    read: |look| {
        async move {
            let mut reading = Reading::of(look.ask(include_str!("queries/connections.sql"), &[]).await?);
            look.note_hidden_sessions(&mut reading).await?;
            Ok(reading)
        }
        .boxed()
    },
};
