//! What sessions are doing now.

use futures_util::FutureExt as _;

use crate::stats::{Growth, Reading, Stat};

pub const STAT: Stat = Stat {
    name: "activity",
    about: "what sessions do now: long transactions, idle in transaction",
    columns: &[
        "pid",
        "user",
        "database",
        "application",
        "client",
        "state",
        "wait",
        "transaction_seconds",
        "state_seconds",
        "finding",
        "remedy",
        "query",
    ],
    growth: Growth::NONE,
    read: |look| {
        async move {
            let mut reading = Reading::of(look.ask(include_str!("queries/activity.sql"), &[]).await?);
            look.note_hidden_sessions(&mut reading).await?;
            Ok(reading)
        }
        .boxed()
    },
};
