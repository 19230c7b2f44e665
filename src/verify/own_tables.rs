//! Tables that a run made, against what it made them: each as a table, and column by column.

use crate::plan::ObjectKind;
use crate::postgres::{ColumnPromises, OddTable};
use crate::verify::report::ObjectsReport;

/// A table that a run made, and somebody made another of.
pub(super) fn odd_table(report: &mut ObjectsReport, source: &str, odd: &OddTable) {
    if odd.unlogged {
        report.differ("table", source, "it is UNLOGGED: a crash of the server empties it");
    }
    if odd.row_security {
        report.differ("table", source, "row level security is in force: whom its policies do not let see rows, it has none for");
    }
    for rule in &odd.rules {
        report.differ("table", source, format!("the rule {rule:?} changes what statements do to it"));
    }
}

/// Type, NOT NULL, default, generated values and identity of one column.
pub(super) fn promises(report: &mut ObjectsReport, label: &str, expected: &ColumnPromises, actual: &ColumnPromises) {
    if expected.sql_type != actual.sql_type {
        report.differ("type", label, format!("it is {}, and should be {}", actual.sql_type, expected.sql_type));
    } else if expected.collated_c && !actual.collated_c {
        report.differ("collation", label, "it is not \"C\", by which SQLite sorts");
    }
    let asked = [true, expected.not_null, expected.default.is_some(), expected.generated.is_some(), expected.sequence];
    report.compared += asked.iter().filter(|asked| **asked).count() as u64;
    if expected.not_null && !actual.not_null {
        report.miss(ObjectKind::NotNull.as_str(), label, "the column takes NULL");
    }
    let is_other = |wanted: &Option<String>, found: &Option<String>| match (wanted, found) {
        (Some(wanted), None) => Some((format!("there is none; it should be {wanted}"), false)),
        (Some(wanted), Some(found)) if wanted != found => Some((format!("it is {found}, and should be {wanted}"), true)),
        _ => None,
    };
    if expected.sequence {
        if !actual.sequence {
            report.miss("identity", label, "no sequence fills the column");
        } else if actual.always_drawn {
            report.differ("identity", label, "it is GENERATED ALWAYS, and takes no id that a statement gives");
        }
    } else if let Some(lack) = is_other(&expected.default, &actual.default) {
        report.lack(ObjectKind::Default.as_str(), label, lack);
    }
    if let Some(lack) = is_other(&expected.generated, &actual.generated) {
        report.lack(ObjectKind::Generated.as_str(), label, lack);
    }
}
