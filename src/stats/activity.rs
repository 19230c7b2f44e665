//! What sessions are doing now.

use futures_util::FutureExt as _;

use crate::stats::{Growth, Stat};

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
            let mut reading = look.sessions(include_str!("queries/activity.sql")).await?;
            look.say_who_may_end(&STAT, &mut reading.rows).await?;
            Ok(reading)
        }
        .boxed()
    },
};
