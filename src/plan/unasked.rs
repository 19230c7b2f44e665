//! Types that a mapping names and that no server was asked about: what is said of them must not sound as if one had been.

use crate::dialect::translate::{OPAQUE, OTHER_TYPE};
use crate::model::{Name, TypeKind};
use crate::plan::mapping::type_from_sql;
use crate::plan::rounding::Rounding;
use crate::plan::{Plan, Warning};

/// Types of every server that candlefish takes as they are; others it knows by what they round.
const BUILTIN: [&str; 19] = [
    "bit",
    "bit varying",
    "varbit",
    "bpchar",
    "int4range",
    "int8range",
    "numrange",
    "int4multirange",
    "int8multirange",
    "nummultirange",
    "jsonpath",
    "macaddr",
    "pg_lsn",
    "pg_snapshot",
    "refcursor",
    "regclass",
    "tsquery",
    "txid_snapshot",
    "tid",
];

fn is_builtin(sql: &str) -> bool {
    let element = sql.trim().trim_end_matches(['[', ']', ' ']).to_lowercase();
    let name = element.split('(').next().unwrap_or_default().trim();
    type_from_sql(&element).kind != TypeKind::Other || Rounding::of(&element).is_some() || BUILTIN.contains(&name)
}

/// Names the columns of such types, and says of what they keep from being written why it is so.
pub fn say(plan: &mut Plan) {
    let columns = plan.tables.iter().flat_map(|table| table.columns.iter().map(move |column| (table.source.as_str(), column)));
    let unasked: Vec<(String, Name, String)> = columns
        .filter(|(_, column)| column.column_type.kind == TypeKind::Other && !is_builtin(&column.column_type.sql))
        .map(|(table, column)| (format!("{table}.{}", column.source), column.target.clone(), column.column_type.sql.to_string()))
        .collect();
    let mend = |object: &str, reason: &mut String| {
        if unasked.iter().any(|(label, name, _)| object == label || reason.contains(&name.to_string())) {
            *reason = reason.replace(OPAQUE, "has a type that no server was asked about");
            *reason = reason.replace(OTHER_TYPE, "of whose type no server was asked");
        }
    };
    plan.warnings.iter_mut().for_each(|warning| mend(&warning.object, &mut warning.message));
    plan.todo.iter_mut().for_each(|todo| mend(&todo.object, &mut todo.reason));
    plan.warnings.extend(unasked.iter().map(|(label, _, sql)| {
        let message = format!(
            "is {sql}, as the mapping says: no server was asked what that is, and a default, a check, an index over an expression or a view that would have to \
             know it is in todo.sql (migrate with the mapping asks, and makes them where it is a domain over a type that it knows)"
        );
        Warning::note("type_not_asked", label, message)
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_every_server_has_needs_no_asking() {
        for known in ["inet", "interval day to hour", "money", "bit(3)", "bit varying(5)", "int4range", "varchar(3)[]", "TSVECTOR", "xml"] {
            assert!(is_builtin(known), "{known}");
        }
        for unknown in ["mail", "app.mail", "\"Mail\"", "mail[]", "vector(3)"] {
            assert!(!is_builtin(unknown), "{unknown}");
        }
    }
}
