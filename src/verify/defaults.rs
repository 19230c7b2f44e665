//! Defaults of tables that have their own schema: which of them give another value than SQLite's.

use std::collections::HashSet;

use anyhow::Result;

use crate::plan::{OTHER_DEFAULT, ObjectKind};
use crate::postgres::{ColumnPromises, SchemaObjects, Transaction};
use crate::verify::report::ObjectsReport;

/// Which of the defaults that both sides write differently give the same value. Nothing of it stays, and nothing is written: not even a sequence is
/// drawn from. What is now is the same in both; SQLite's has whole seconds.
pub async fn same_defaults(
    transaction: &Transaction<'_>,
    expected: &SchemaObjects,
    actual: &SchemaObjects,
) -> Result<HashSet<(String, String)>> {
    let mut same = HashSet::new();
    transaction.batch_execute("SET LOCAL transaction_read_only = on").await?;
    for (place, wanted) in expected.columns.iter().filter(|(_, wanted)| !wanted.sequence) {
        let Some(found) = actual.columns.get(place).filter(|found| !found.sequence) else { continue };
        let (Some(ours), Some(theirs)) = (&wanted.default, &found.default) else { continue };
        if ours == theirs {
            continue;
        }
        let value = |default: &str| match found.sql_type.starts_with("timestamp") {
            true => format!("date_trunc('second', ({default})::{})", found.sql_type),
            false => format!("({default})::{}", found.sql_type),
        };
        // Not every type has an equality.
        for cast in ["", "::text"] {
            transaction.batch_execute("SAVEPOINT value").await?;
            let question = format!("SELECT ({}){cast} IS NOT DISTINCT FROM ({}){cast}", value(ours), value(theirs));
            match transaction.query_one(&question, &[]).await {
                Ok(row) => {
                    if row.get(0) {
                        same.insert(place.clone());
                    }
                    break;
                }
                Err(error) if error.as_db_error().is_some() => transaction.batch_execute("ROLLBACK TO SAVEPOINT value").await?,
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(same)
}

/// A default of a table's own schema that gives another value than SQLite's.
pub fn given_default(report: &mut ObjectsReport, label: &str, expected: &ColumnPromises, actual: &ColumnPromises) {
    let (Some(ours), Some(theirs)) = (&expected.default, &actual.default) else { return };
    if ours != theirs && !expected.sequence && !actual.sequence {
        report.miss(ObjectKind::Default.as_str(), label, format!("{OTHER_DEFAULT}{theirs}, and in SQLite {ours}"));
    }
}
