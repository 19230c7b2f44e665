//! Standbys and slots.

use futures_util::FutureExt as _;

use crate::stats::{GRANT, Growth, Reading, Stat};

pub const STAT: Stat = Stat {
    name: "replication",
    about: "standbys and how far they are behind, slots and the WAL they hold back",
    columns: &["kind", "name", "client", "state", "sync", "lag_bytes", "lag_seconds", "retained_bytes"],
    growth: Growth::NONE,
    read: |look| {
        async move {
            let mut reading = Reading::of(look.ask(include_str!("queries/replication.sql"), &[]).await?);
            if !look.observer.server.sees_all && reading.rows.iter().any(|row| row[0].text() == Some("standby") && row[3].is_null()) {
                reading.notes.push(format!("how far standbys are is hidden from this user: {GRANT}"));
            }
            Ok(reading)
        }
        .boxed()
    },
};
