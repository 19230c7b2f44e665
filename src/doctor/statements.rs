//! pg_stat_statements: without it nobody knows which statements cost the most.

use futures_util::FutureExt as _;

use crate::doctor::{Check, Found};
use crate::model::Cell;
use crate::stats::GRANT;

pub const STATEMENTS: Check = Check {
    name: "pg-stat-statements",
    about: "pg_stat_statements is preloaded, installed and up to date",
    run: |patient| {
        async move {
            let sheet = patient.sheet_or_why("slow-queries").await?;
            if sheet.passing {
                return Ok(Found::lacking(&sheet.notes));
            }
            if !sheet.is_available() {
                let (why, remedy) = (sheet.notes.first().cloned().unwrap_or_default(), sheet.notes.get(1).cloned().unwrap_or_default());
                return Ok(Found::warning("unavailable", why, remedy));
            }
            let answer = patient.observer.ask(include_str!("queries/extension_version.sql"), &[]).await?;
            let text = |column: &str| answer.value(0, column).and_then(Cell::text).unwrap_or_default().to_string();
            let (installed, newest) = (text("installed"), text("newest"));
            if installed != newest {
                let why = format!("the server has {newest}, and this database still has {installed}: newer columns are missing");
                return Ok(Found::warning(installed, why, "ALTER EXTENSION pg_stat_statements UPDATE"));
            }
            let query = sheet.position("query");
            let is_hidden = |row: &Vec<Cell>| query.is_some_and(|at| row[at].is_null());
            if sheet.rows.iter().flatten().any(is_hidden) {
                let others = sheet.notes.iter().filter(|note| !note.contains("hidden from this one")).map(|note| format!("; {note}"));
                let why = format!("the texts of other users' statements are hidden from this one{}", others.collect::<String>());
                return Ok(Found::warning(installed, why, GRANT));
            }
            Ok(match sheet.notes.first() {
                Some(note) => Found::warning(installed, note.clone(), "See `candlefish stats slow-queries`."),
                None => Found::ok(installed, "it counts, and its texts can be read"),
            })
        }
        .boxed()
    },
};
