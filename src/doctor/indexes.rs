//! Indexes that are broken, and those that only cost.

use anyhow::{Context as _, Result};
use futures_util::FutureExt as _;

use crate::doctor::{Check, Found, Patient, Unseen, few};

/// What was found, and where nobody could look.
struct Looked {
    found: Vec<Finding>,
    unseen: Unseen,
}

struct Finding {
    kind: String,
    /// The index's, or its table's.
    name: String,
    /// One word, as the statistic has it.
    cause: String,
    remedy: String,
}

/// The findings of these kinds.
async fn look(patient: &Patient<'_>, kinds: &[&str]) -> Result<Looked> {
    let sheet = patient.indexes.get_or_try_init(|| patient.sheet("indexes")).await?;
    let column = |name: &str| sheet.position(name).with_context(|| format!("the statistic indexes has no column {name}"));
    let (finding, table, index, cause, ddl) = (column("finding")?, column("table")?, column("index")?, column("cause")?, column("ddl")?);
    let rows = sheet.rows.iter().flatten().filter(|row| row[finding].text().is_some_and(|kind| kinds.contains(&kind)));
    let found = rows.map(|row| {
        let text = |at: usize| row[at].text().unwrap_or_default().to_string();
        let name = row[index].text().or(row[table].text()).unwrap_or_default().to_string();
        Finding { kind: text(finding), name, cause: text(cause), remedy: text(ddl) }
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
            Ok(unseen.judge(judge_invalid(&found)))
        }
        .boxed()
    },
};

/// Of a partitioned table's index no build has failed: it waits for its partitions'.
fn judge_invalid(found: &[Finding]) -> Found {
    let (waiting, failed): (Vec<&Finding>, Vec<&Finding>) = found.iter().partition(|one| one.cause == "partitions_lack_it");
    let names = few(&found.iter().map(|one| one.name.as_str()).collect::<Vec<_>>());
    let remedy = |one: &Finding| {
        let first =
            if one.cause == "unique_build_failed" { "-- it is UNIQUE: there may be duplicates, which have to go first\n" } else { "" };
        format!("{first}{};\n-- `candlefish stats indexes` has them all", one.remedy)
    };
    match (failed.first(), waiting.first()) {
        (None, None) => Found::ok("0", "no build of an index has failed"),
        (None, Some(one)) => Found::warning(
            names,
            "of partitioned tables: not every partition has one to ATTACH, so these promise nothing of the whole",
            remedy(one),
        ),
        (Some(one), waiting) => {
            let others = if waiting.is_some() { "; of those of partitioned tables not every partition has one" } else { "" };
            let why = "a build failed: these are written, never read, and keep no promise of uniqueness";
            Found::error(names, format!("{why}{others}"), remedy(one))
        }
    }
}

pub const SUPERFLUOUS: Check = Check {
    name: "indexes",
    about: "no index is twice there, and every foreign key has one",
    run: |patient| {
        async move {
            let Looked { found, unseen } = look(patient, &["duplicate", "redundant", "missing"]).await?;
            let count = |kind: &str| found.iter().filter(|one| one.kind == kind).count();
            let value = format!("{} duplicate, {} redundant, {} missing", count("duplicate"), count("redundant"), count("missing"));
            Ok(unseen.judge(match found.first() {
                None => Found::ok(value, "indexes and foreign keys go together"),
                Some(Finding { remedy: ddl, cause, .. }) => {
                    let blocks = if cause == "foreign_key_of_partitioned" { "-- it blocks writes until it is done\n" } else { "" };
                    Found::warning(
                        value,
                        "each index costs every write; a foreign key without one makes deletes read whole tables",
                        format!("{blocks}{ddl};\n-- `candlefish stats indexes` has them all"),
                    )
                }
            }))
        }
        .boxed()
    },
};
