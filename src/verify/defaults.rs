//! Defaults of tables that have their own schema: which of them give another value than SQLite's.

use std::collections::HashSet;

use anyhow::Result;

use crate::plan::ObjectKind;
use crate::postgres::{ColumnPromises, SchemaObjects, Transaction};
use crate::verify::report::ObjectsReport;

/// Seconds: a time that is no further from now is now.
const MOMENT: u32 = 300;

/// Which of the defaults that both sides write differently give the same value. Nothing of it stays, and nothing is written: not even a sequence is
/// drawn from. What is now is the same in both: SQLite's has whole seconds, and a transaction's is that of its beginning.
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
        let sql_type = &found.sql_type;
        let (ours, theirs) = (format!("({ours})::{sql_type}"), format!("({theirs})::{sql_type}"));
        let now = format!(
            "coalesce(greatest(abs(extract(epoch FROM {ours} - {theirs})), abs(extract(epoch FROM {theirs} - now()::{sql_type}))) < {MOMENT}, false)"
        );
        let is_now = if sql_type.starts_with("timestamp") { now } else { "false".to_string() };
        // Not every type has an equality.
        for cast in ["", "::text"] {
            transaction.batch_execute("SAVEPOINT value").await?;
            let question = format!("SELECT CASE WHEN ({ours}){cast} IS NOT DISTINCT FROM ({theirs}){cast} THEN true ELSE {is_now} END");
            match transaction.query_one(&question, &[]).await {
                Ok(row) => {
                    transaction.batch_execute("RELEASE SAVEPOINT value").await?;
                    if row.get(0) {
                        same.insert(place.clone());
                    }
                    break;
                }
                Err(error) if error.as_db_error().is_some() => {
                    transaction.batch_execute("ROLLBACK TO SAVEPOINT value; RELEASE SAVEPOINT value").await?;
                }
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
        report.differ(ObjectKind::Default.as_str(), label, format!("it is {theirs}, and in SQLite {ours}"));
    }
}
