//! Indexes that cost more than they give, and those that are missing.

use futures_util::FutureExt as _;

use crate::model::Cell;
use crate::postgres::Type;
use crate::stats::tables::note_locked;
use crate::stats::{Growth, Reading, Stat};

pub const STAT: Stat = Stat {
    name: "indexes",
    about: "invalid, duplicate, redundant, unused and missing indexes, each with the statement that mends it",
    columns: &["finding", "table", "index", "reason", "size_bytes", "scans", "ddl"],
    growth: Growth::NONE,
    read: |look| {
        async move {
            let answer = look.ask(include_str!("queries/indexes.sql"), &[(&look.options.min_size, Type::INT8)]).await?;
            let mut reading = Reading::of(answer);
            let since = look.ask(include_str!("queries/since.sql"), &[]).await?;
            reading.since = since.value(0, "since").and_then(Cell::text).map(str::to_string);
            let is_unused = |row: &Vec<Cell>| row[0].text() == Some("unused");
            if reading.rows.iter().any(is_unused) {
                let days = since.value(0, "age_seconds").and_then(Cell::number).unwrap_or_default() / 86_400.0;
                let since = reading.since.clone().unwrap_or_else(|| "the server's start, or longer ago".to_string());
                let long = if days < 1.0 { format!("{:.1} hours", days * 24.0) } else { format!("{days:.1} days") };
                reading.notes.push(format!("scans are counted since {since}: {long}"));
                if days < 30.0 {
                    reading.notes.push("that is short: an index that one report a month needs looks unused".to_string());
                }
                reading.notes.push("only this server's scans are counted: look at its standbys, too, before an index goes".to_string());
            }
            note_locked(look, &mut reading).await?;
            Ok(reading)
        }
        .boxed()
    },
};
