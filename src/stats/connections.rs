//! Who is connected, what they do, and how near the limits that is.

use futures_util::FutureExt as _;

use crate::postgres::Type;
use crate::stats::{Growth, Reading, Stat};

pub const STAT: Stat = Stat {
    name: "connections",
    about: "sessions by state, wait and client, against the limits",
    columns: &["scope", "name", "connections", "most", "used_ratio", "longest_seconds"],
    growth: Growth::NONE,
    read: |look| {
        async move {
            look.see_sessions_anew().await?;
            let answer = look.ask(include_str!("queries/connections.sql"), &[(&look.options.limit, Type::INT8)]).await?;
            let mut reading = Reading::of_limited(answer);
            look.note_hidden_sessions(&mut reading).await?;
            Ok(reading)
        }
        .boxed()
    },
};
