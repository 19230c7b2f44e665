//! What a table has beyond the source's schema. Whoever has added it knows why; it may refuse rows that SQLite takes, or change them, and so it is said.

use crate::postgres::{ColumnPromises, SchemaObjects, Shape, TriggerShape};
use crate::verify::report::{AddedObject, ObjectsReport};

/// Both sides of a comparison, of which one table is looked at.
pub struct Sides<'a> {
    pub expected: &'a SchemaObjects,
    pub actual: &'a SchemaObjects,
    /// The expected triggers, as the target's would say them.
    pub triggers: &'a [Shape],
}

/// Notes what `table` has and should not; `source` is what the source calls it.
pub fn note(report: &mut ObjectsReport, source: &str, table: &str, sides: &Sides<'_>) {
    let mut add = |kind: &str, name: &str, definition: String, restricts: bool| {
        report.added.push(AddedObject { kind: kind.into(), object: format!("{source}.{name}"), definition, restricts });
    };
    let Sides { expected, actual, triggers } = sides;
    let mut columns: Vec<(&String, &ColumnPromises)> =
        actual.columns.iter().filter(|((of, _), _)| of == table).map(|((_, name), column)| (name, column)).collect();
    columns.sort_unstable_by_key(|(name, _)| *name);
    for (name, column) in columns {
        match expected.columns.get(&(table.to_string(), name.clone())) {
            None => {
                let is_filled = column.default.is_some() || column.generated.is_some() || column.sequence;
                let not_null = if column.not_null { " NOT NULL" } else { "" };
                add("column", name, format!("{}{not_null}", column.sql_type), column.not_null && !is_filled);
            }
            Some(wanted) => {
                if column.not_null && !wanted.not_null {
                    add("not null", name, "NOT NULL".into(), true);
                }
                if let (Some(expression), None) = (&column.generated, &wanted.generated) {
                    add("generated", name, format!("GENERATED ALWAYS AS ({expression})"), true);
                }
                match (&column.default, column.sequence, wanted.sequence) {
                    (_, true, false) => add("identity", name, "a sequence fills it".into(), column.always_drawn),
                    (Some(default), false, false) if wanted.default.is_none() => add("default", name, format!("DEFAULT {default}"), true),
                    _ => {}
                }
            }
        }
    }
    let is_new = |known: &[Shape], shape: &Shape| {
        shape.relation == table && !known.iter().any(|other| (&other.relation, &other.shape) == (&shape.relation, &shape.shape))
    };
    let constraints: Vec<&Shape> = actual.constraints.iter().filter(|constraint| is_new(&expected.constraints, constraint)).collect();
    for constraint in &constraints {
        let kind = match constraint.shape.split_whitespace().next() {
            Some("FOREIGN") => "foreign key",
            Some("EXCLUDE") => "exclusion",
            _ => "check",
        };
        add(kind, &constraint.name, constraint.shape.clone(), true);
    }
    for index in actual.indexes.iter().filter(|index| index.table == table) {
        let alike = || expected.indexes.iter().filter(|known| known.table == table && known.shape == index.shape);
        // An exclusion's index is said with it.
        let is_said = constraints.iter().any(|constraint| constraint.name == index.name);
        if is_said || alike().any(|known| known.unique || !index.unique) {
            continue;
        }
        let on = index.shape.split_once(" USING ").map_or(index.shape.as_str(), |(_, rest)| rest);
        add(if index.unique { "unique" } else { "index" }, &index.name, on.to_string(), index.unique);
    }
    for TriggerShape { shape, .. } in actual.triggers.iter().filter(|trigger| is_new(triggers, &trigger.shape)) {
        add("trigger", &shape.name, shape.shape.lines().next().unwrap_or_default().trim().to_string(), true);
    }
}
