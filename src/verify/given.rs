//! What a table's own schema lacks of the source's, or has in another form.

use crate::plan::{NUMBERED, ObjectKind};
use crate::postgres::{ColumnPromises, Shape};
use crate::verify::report::ObjectsReport;

/// What a column of a table's own schema lacks; that its expression is another is its application's matter.
pub fn given_promises(report: &mut ObjectsReport, (label, is_numbered): (&str, bool), expected: &ColumnPromises, actual: &ColumnPromises) {
    // The run has obeyed the type that was there.
    let is_text = |sql_type: &str| ["text", "character varying"].contains(&sql_type);
    let is_same = expected.sql_type == actual.sql_type || is_text(&expected.sql_type) && is_text(&actual.sql_type);
    if !is_same && !actual.sql_type.is_empty() {
        report.differ("type", label, format!("it is {}, and was {}", actual.sql_type, expected.sql_type));
    }
    if expected.not_null && !actual.not_null {
        report.miss(ObjectKind::NotNull.as_str(), label, "the column takes NULL");
    }
    let fills = actual.sequence || actual.default.is_some() || actual.generated.is_some();
    if expected.sequence && !fills {
        report.miss("identity", label, format!("no sequence fills the column{}", if is_numbered { NUMBERED } else { "" }));
    }
    if let Some(default) = expected.default.as_ref().filter(|_| !expected.sequence && !fills) {
        report.miss(ObjectKind::Default.as_str(), label, format!("there is none; in SQLite it is {default}"));
    }
    if let Some(expression) = expected.generated.as_ref().filter(|_| !fills) {
        report.miss(ObjectKind::Generated.as_str(), label, format!("nothing computes it; in SQLite it is {expression}"));
    }
}

/// True for a check that the column's type has seen to: `json_valid()` of a column that is json.
pub fn holds_always(expected: &Shape) -> bool {
    let shape = expected.shape.as_str();
    shape == "CHECK (true)" || shape.starts_with("CHECK (true OR ") || shape.ends_with(" OR true)")
}

/// Why the expected foreign key is not there, where one over the same columns to the same parent is, with other actions.
pub fn other_key(expected: &Shape, actual: &[Shape]) -> Option<String> {
    let head = |shape: &str| {
        let parent = shape.strip_prefix("FOREIGN KEY ").and_then(|_| shape.find(" REFERENCES "))?;
        shape[parent..].find(')').map(|end| shape[..parent + end].to_string())
    };
    let wanted = head(&expected.shape)?;
    let other = actual.iter().find(|shape| shape.relation == expected.relation && head(&shape.shape).as_ref() == Some(&wanted))?;
    Some(format!("it is {}, and in SQLite {}", other.shape, expected.shape))
}
