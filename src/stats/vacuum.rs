//! What autovacuum has to do, who keeps it from that, and how far the end of transaction ids is.

use futures_util::FutureExt as _;

use crate::model::Cell;
use crate::postgres::{Parameter, Type};
use crate::stats::ending::of_prepared;
use crate::stats::{Growth, Reading, Stat};

pub const STAT: Stat = Stat {
    name: "vacuum",
    about: "distance to wraparound, who holds old rows back, what has to be frozen, dead rows against what starts autovacuum, vacuums under way",
    columns: &[
        "what",
        "name",
        "xid_age",
        "wraparound_ratio",
        "freeze_at",
        "freeze_ratio",
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
            let gaps = look.gaps("autovacuum").await?;
            let parameters: [Parameter<'_>; 3] =
                [(&look.options.limit, Type::INT8), (&counting.of_writes, Type::BOOL), (&gaps.is_empty(), Type::BOOL)];
            let mut reading = counting.of(Reading::of_lists(look.ask(include_str!("queries/vacuum.sql"), &parameters).await?));
            say_what_ends_prepared(&mut reading, &look.observer.server.database);
            look.say_who_may_end(&STAT, &mut reading.rows).await?;
            look.note_hidden_sessions(&mut reading).await?;
            // A standby's own setting says nothing: its primary cleans up.
            if counting.of_writes || !counting.is_on {
                let so = "no table is cleaned up by itself, or frozen before it has to be";
                reading.notes.extend(gaps.iter().map(|gap| gap.note(so)));
            }
            let has = |what: &str| reading.rows.iter().any(|row| row[WHAT].text() == Some(what));
            if has("to freeze") && has("held back by") {
                let note = "no row is frozen that is younger than the oldest of those who hold old rows back: end that first, then vacuum";
                reading.notes.push(note.to_string());
            }
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

/// Where columns stand.
const WHAT: usize = 0;
const NAME: usize = 1;
const USER: usize = 13;
const REMEDY: usize = 17;

fn say_what_ends_prepared(reading: &mut Reading, database: &str) {
    for row in reading.rows.iter_mut().filter(|row| row[WHAT].text() == Some("held back by")) {
        if let (Some(gid), Some(owner)) = (row[NAME].text().and_then(|name| name.strip_prefix("prepared transaction ")), row[USER].text()) {
            row[REMEDY] = Cell::Text(of_prepared(gid, database, owner));
        }
    }
}
