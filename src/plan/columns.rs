//! Defaults and generated columns of a derived table, in its CREATE TABLE.

use std::sync::Arc;

use crate::dialect::translate::{self, Default};
use crate::model::Table;
use crate::plan::build::{Input, cannot};
use crate::plan::decision::{ObjectKind, Plan, Warning};
use crate::plan::{defaults, express, views};

/// Puts every default and generated column that has an exact form into the table's CREATE TABLE.
pub fn plan_columns(input: &Input<'_>, plan: &mut Plan, index: usize) {
    let relation = express::relation(input, &plan.tables[index]);
    let table = &input.source.tables[plan.tables[index].source_index];
    let Some(mut create) = plan.tables[index].create.take() else { return };
    for created in &mut create.columns {
        let column = &table.columns[created.source_index];
        let label = format!("{}.{}", table.name, column.name);
        let type_ = express::translated_type(&created.column_type.kind, &created.column_type.sql);
        if let Some(generated) = &column.generated {
            if let Some(other) = another_generated(table, created.source_index, &generated.expression) {
                let reason = format!("is a plain column with SQLite's values: it reads the generated column {other:?}");
                cannot(plan, ObjectKind::Generated, label, reason, format!("GENERATED ALWAYS AS ({})", generated.expression));
                continue;
            }
            let result = relation.column(&column.name).filter(|known| known.target == created.name);
            match result.map(|result| translate::generated(&generated.expression, &relation, result)) {
                Some(Ok(translated)) => {
                    views::note_differences(plan, "generated_differs", &label, &translated.notes);
                    Arc::make_mut(created).generated = Some(translated.sql);
                    for planned in plan.tables[index].columns.iter_mut().filter(|planned| planned.target == created.name) {
                        Arc::make_mut(planned).computed = true;
                    }
                    if !generated.stored {
                        plan.warnings.push(Warning::note("generated_stored", &label, "is VIRTUAL in SQLite and STORED in PostgreSQL"));
                    }
                }
                Some(Err(error)) => {
                    let reason = format!("is a plain column with SQLite's values: {}", error.reason);
                    cannot(plan, ObjectKind::Generated, label, reason, format!("GENERATED ALWAYS AS ({})", generated.expression));
                }
                None => {}
            }
        } else if let Some(default) = &column.default {
            if created.identity {
                let message = format!("has no DEFAULT {default}: it is the rowid, which SQLite numbers whatever its default says");
                plan.warnings.push(Warning::note("default_of_rowid", &label, message));
                continue;
            }
            let reason = match translate::default_value(default, &type_) {
                Ok(Default::None) => continue,
                Ok(Default::Sql(sql)) if defaults::has_room(&created.column_type.kind, default) => {
                    Arc::make_mut(created).default = Some(sql);
                    continue;
                }
                Ok(Default::Sql(_)) => format!("{} has no room for it", created.column_type.sql),
                Err(error) => error.reason,
            };
            cannot(plan, ObjectKind::Default, label, format!("has no DEFAULT {default}: {reason}"), format!("DEFAULT {default}"));
        }
    }
    plan.tables[index].create = Some(create);
}

/// PostgreSQL's generated columns do not read each other.
fn another_generated<'a>(table: &'a Table, index: usize, expression: &str) -> Option<&'a str> {
    let read = translate::columns_read(expression);
    let others = table.columns.iter().enumerate().filter(|(other, column)| *other != index && column.generated.is_some());
    others.map(|(_, column)| column.name.as_str()).find(|name| read.iter().any(|read| read.eq_ignore_ascii_case(name)))
}
