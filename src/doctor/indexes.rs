//! Indexes that are broken, and those that only cost.

use anyhow::{Context as _, Result};
use futures_util::FutureExt as _;

use crate::doctor::{Check, Found, Patient, few};
use crate::stats::locked_tables;

/// Kind, name (or table) and remedy of each finding of these kinds.
async fn findings(patient: &Patient<'_>, kinds: &[&str]) -> Result<Vec<(String, String, String)>> {
    let sheet = patient.indexes.get_or_try_init(|| patient.sheet("indexes")).await?;
    let column = |name: &str| sheet.position(name).with_context(|| format!("the statistic indexes has no column {name}"));
    let (finding, table, index, ddl) = (column("finding")?, column("table")?, column("index")?, column("ddl")?);
    let rows = sheet.rows.iter().flatten().filter(|row| row[finding].text().is_some_and(|kind| kinds.contains(&kind)));
    Ok(rows
        .map(|row| {
            let text = |at: usize| row[at].text().unwrap_or_default().to_string();
            let name = row[index].text().or(row[table].text()).unwrap_or_default().to_string();
            (text(finding), name, text(ddl))
        })
        .collect())
}

/// What is said when nothing was found: health, unless some were not looked at.
async fn nothing_found(patient: &Patient<'_>, healthy: Found) -> Result<Found> {
    let locked = locked_tables(patient.observer).await?;
    let names: Vec<&str> = locked.iter().map(|(table, _)| table.as_str()).collect();
    if names.is_empty() {
        return Ok(healthy);
    }
    let why = format!("{} locked exclusively, and not looked at; of the others none was found", are(&names));
    Ok(Found::unknown(why, "Ask again; `candlefish stats locks` says who locks them."))
}

fn are(names: &[&str]) -> String {
    format!("{} {}", few(names), if names.len() == 1 { "is" } else { "are" })
}

pub const INVALID: Check = Check {
    name: "invalid-indexes",
    about: "every index that is written is also read",
    run: |patient| {
        async move {
            let found = findings(patient, &["invalid"]).await?;
            let names: Vec<&str> = found.iter().map(|(_, name, _)| name.as_str()).collect();
            Ok(match found.first() {
                None => nothing_found(patient, Found::ok("0", "no build of an index has failed")).await?,
                Some((.., ddl)) => Found::error(
                    few(&names),
                    "a build failed: these are written, never read, and keep no promise of uniqueness",
                    format!("{ddl};\n-- `candlefish stats indexes` has them all"),
                ),
            })
        }
        .boxed()
    },
};

pub const SUPERFLUOUS: Check = Check {
    name: "indexes",
    about: "no index is twice there, and every foreign key has one",
    run: |patient| {
        async move {
            let found = findings(patient, &["duplicate", "redundant", "missing"]).await?;
            let count = |kind: &str| found.iter().filter(|(there, ..)| there == kind).count();
            let value = format!("{} duplicate, {} redundant, {} missing", count("duplicate"), count("redundant"), count("missing"));
            Ok(match found.first() {
                None => nothing_found(patient, Found::ok(value, "indexes and foreign keys go together")).await?,
                Some((.., ddl)) => Found::warning(
                    value,
                    "each index costs every write; a foreign key without one makes deletes read whole tables",
                    format!("{ddl};\n-- `candlefish stats indexes` has them all"),
                ),
            })
        }
        .boxed()
    },
};
