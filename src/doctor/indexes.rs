//! Indexes that are broken, and those that only cost.

use anyhow::Result;
use futures_util::FutureExt as _;

use crate::doctor::{Check, Found, Patient, few};

/// Name (or table) and remedy of each finding of these kinds.
async fn findings(patient: &Patient<'_>, kinds: &[&str]) -> Result<Vec<(String, String, String)>> {
    let sheet = patient.sheet("indexes").await?;
    let column = |name: &str| sheet.position(name);
    let (Some(finding), Some(table), Some(index), Some(ddl)) = (column("finding"), column("table"), column("index"), column("ddl")) else {
        return Ok(Vec::new());
    };
    let rows = sheet.rows.iter().flatten().filter(|row| row[finding].text().is_some_and(|kind| kinds.contains(&kind)));
    Ok(rows
        .map(|row| {
            let text = |at: usize| row[at].text().unwrap_or_default().to_string();
            let name = row[index].text().or(row[table].text()).unwrap_or_default().to_string();
            (text(finding), name, text(ddl))
        })
        .collect())
}

pub const INVALID: Check = Check {
    name: "invalid-indexes",
    about: "every index that is written is also read",
    run: |patient| {
        async move {
            let found = findings(patient, &["invalid"]).await?;
            let names: Vec<&str> = found.iter().map(|(_, name, _)| name.as_str()).collect();
            Ok(match found.first() {
                None => Found::ok("0", "no build of an index has failed"),
                Some((.., ddl)) => Found::error(
                    few(&names),
                    "a build failed: these are written, never read, and keep no promise of uniqueness",
                    format!("{ddl}; (`candlefish stats indexes` has them all)"),
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
                None => Found::ok(value, "indexes and foreign keys go together"),
                Some((.., ddl)) => Found::warning(
                    value,
                    "each index costs every write; a foreign key without one makes deletes read whole tables",
                    format!("{ddl}; (`candlefish stats indexes` has them all)"),
                ),
            })
        }
        .boxed()
    },
};
