//! Standbys and slots.

use futures_util::FutureExt as _;

use crate::model::Cell;
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
            let is_paused = |row: &Vec<Cell>| row[3].text().is_some_and(|state| state.ends_with("replay paused"));
            if reading.rows.iter().any(|row| row[0].text() == Some("this standby") && is_paused(row)) {
                let note = "replay is paused: what this standby answers grows older, until SELECT pg_wal_replay_resume() as a superuser";
                reading.notes.push(note.to_string());
            }
            Ok(reading)
        }
        .boxed()
    },
};
