//! What autovacuum has to do, who keeps it from that, and how far the end of transaction ids is.

use futures_util::FutureExt as _;

use crate::postgres::{Parameter, Type};
use crate::stats::{Growth, Reading, Stat};

pub const STAT: Stat = Stat {
    name: "vacuum",
    about: "distance to wraparound, who holds old rows back, dead rows against what starts autovacuum, vacuums under way",
    columns: &[
        "what",
        "name",
        "xid_age",
        "wraparound_ratio",
        "dead_est",
        "due_at",
        "due_ratio",
        "vacuumed_seconds",
        "phase",
        "progress_ratio",
        "pid",
        "user",
        "application",
        "state",
        "transaction_seconds",
        "remedy",
    ],
    growth: Growth::NONE,
    read: |look| {
        async move {
            look.see_sessions_anew().await?;
            let counting = look.counting().await?;
            let parameters: [Parameter<'_>; 2] = [(&look.options.limit, Type::INT8), (&counting.of_writes, Type::BOOL)];
            let mut reading = counting.of(Reading::of_limited(look.ask(include_str!("queries/vacuum.sql"), &parameters).await?));
            look.note_hidden_sessions(&mut reading).await?;
            let note = "of sessions those are named that have held old rows back for a minute, or for 10,000 transactions";
            reading.notes.push(note.to_string());
            // What is shown does not grow from then on.
            reading.since = None;
            counting.note_writes(&mut reading);
            Ok(reading)
        }
        .boxed()
    },
};
