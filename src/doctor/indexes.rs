//! Indexes that are broken, and those that only cost.

use anyhow::{Context as _, Result};
use futures_util::FutureExt as _;

use crate::doctor::{Check, Found, Patient, Unseen, few};

/// What was found, and where nobody could look.
struct Looked {
    /// Kind, name (or table) and remedy of each finding.
    found: Vec<(String, String, String)>,
    unseen: Unseen,
}

/// The findings of these kinds.
async fn look(patient: &Patient<'_>, kinds: &[&str]) -> Result<Looked> {
    let sheet = patient.indexes.get_or_try_init(|| patient.sheet("indexes")).await?;
    let column = |name: &str| sheet.position(name).with_context(|| format!("the statistic indexes has no column {name}"));
    let (finding, table, index, ddl) = (column("finding")?, column("table")?, column("index")?, column("ddl")?);
    let rows = sheet.rows.iter().flatten().filter(|row| row[finding].text().is_some_and(|kind| kinds.contains(&kind)));
    let found = rows.map(|row| {
        let text = |at: usize| row[at].text().unwrap_or_default().to_string();
        let name = row[index].text().or(row[table].text()).unwrap_or_default().to_string();
        (text(finding), name, text(ddl))
    });
    let unseen = Unseen(sheet.skipped.iter().map(|skipped| skipped.table.clone()).collect());
    Ok(Looked { found: found.collect(), unseen })
}

pub const INVALID: Check = Check {
    name: "invalid-indexes",
    about: "every index that is written is also read",
    run: |patient| {
        async move {
            let Looked { found, unseen } = look(patient, &["invalid"]).await?;
            let names: Vec<&str> = found.iter().map(|(_, name, _)| name.as_str()).collect();
            Ok(unseen.judge(match found.first() {
                None => Found::ok("0", "no build of an index has failed"),
                Some((.., ddl)) => Found::error(
                    few(&names),
                    "a build failed: these are written, never read, and keep no promise of uniqueness",
                    format!("{ddl};\n-- `candlefish stats indexes` has them all"),
                ),
            }))
        }
        .boxed()
    },
};

pub const SUPERFLUOUS: Check = Check {
    name: "indexes",
    about: "no index is twice there, and every foreign key has one",
    run: |patient| {
        async move {
            let Looked { found, unseen } = look(patient, &["duplicate", "redundant", "missing"]).await?;
            let count = |kind: &str| found.iter().filter(|(there, ..)| there == kind).count();
            let value = format!("{} duplicate, {} redundant, {} missing", count("duplicate"), count("redundant"), count("missing"));
            Ok(unseen.judge(match found.first() {
                None => Found::ok(value, "indexes and foreign keys go together"),
                Some((.., ddl)) => Found::warning(
                    value,
                    "each index costs every write; a foreign key without one makes deletes read whole tables",
                    format!("{ddl};\n-- `candlefish stats indexes` has them all"),
                ),
            }))
        }
        .boxed()
    },
};
