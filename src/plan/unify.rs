//! A foreign key needs one type on both sides: the wider of the two.

use std::collections::HashMap;

use crate::model::{ColumnType, TypeKind};
use crate::plan::build::Input;
use crate::plan::decision::Plan;
use crate::plan::objects::is_integer;

/// Widens derived columns until every foreign key joins equal types, along chains of any length.
pub fn unify_foreign_keys(input: &Input<'_>, plan: &mut Plan) {
    let pairs = pairs(input, plan);
    // Types only grow wider, through at most five steps a column.
    let mut changed = true;
    while changed {
        changed = false;
        for (child, parent) in &pairs {
            let child_type = plan.tables[child.0].columns[child.1].column_type.clone();
            let parent_type = plan.tables[parent.0].columns[parent.1].column_type.clone();
            if let Some(common) = common(&child_type.kind, &parent_type.kind) {
                changed |= set(plan, *child, &common, input.options.collate_c, "the type of the key that it references");
                changed |= set(plan, *parent, &common, input.options.collate_c, "the type of a foreign key that references it");
            }
        }
    }
}

type Place = (usize, usize);

/// The place of each table plan, by its source's name in lower case.
pub(super) fn by_source(plan: &Plan) -> HashMap<String, usize> {
    plan.tables.iter().enumerate().map(|(place, table)| (table.source.to_ascii_lowercase(), place)).collect()
}

/// The columns that foreign keys join, as (table plan, column plan).
fn pairs(input: &Input<'_>, plan: &Plan) -> Vec<(Place, Place)> {
    let places = by_source(plan);
    let mut pairs = Vec::new();
    for (child_index, child) in plan.tables.iter().enumerate() {
        let table = &input.source.tables[child.source_index];
        for key in &table.foreign_keys {
            let Some(&parent_index) = places.get(&key.parent.to_ascii_lowercase()) else { continue };
            let parent_table = &input.source.tables[plan.tables[parent_index].source_index];
            let parent_columns: Vec<usize> = if key.parent_columns.is_empty() {
                parent_table.primary_key.as_ref().map(|key| key.columns.clone()).unwrap_or_default()
            } else {
                key.parent_columns.iter().filter_map(|name| parent_table.column_index(name)).collect()
            };
            for (name, parent_column) in key.columns.iter().zip(parent_columns) {
                let child_place = child.columns.iter().position(|column| column.source.eq_ignore_ascii_case(name));
                let parent_place = plan.tables[parent_index].columns.iter().position(|column| column.source_index == parent_column);
                if let (Some(child_place), Some(parent_place)) = (child_place, parent_place) {
                    pairs.push(((child_index, child_place), (parent_index, parent_place)));
                }
            }
        }
    }
    pairs
}

/// The type that holds the values of both; none when they are equal already for PostgreSQL.
fn common(a: &TypeKind, b: &TypeKind) -> Option<TypeKind> {
    use TypeKind::*;
    let rank = |kind: &TypeKind| match kind {
        Bool => 0,
        Int2 => 1,
        Int4 => 2,
        Int8 => 3,
        Float4 | Float8 => 4,
        Numeric { .. } => 5,
        Bytea => 8,
        _ => 7,
    };
    if a == b || (a.is_text() && b.is_text()) {
        return None;
    }
    let (low, high) = if rank(a) <= rank(b) { (a, b) } else { (b, a) };
    match (low, high) {
        // PostgreSQL compares integers of every width with each other, and with numeric.
        (Int2 | Int4 | Int8, Int2 | Int4 | Int8) => None,
        (Bool | Int2 | Int4 | Int8 | Float4 | Float8 | Numeric { .. }, Numeric { .. } | Int2 | Int4 | Int8) => Some(high.clone()),
        (_, Float4 | Float8) => Some(Float8),
        (_, Bytea) => Some(Bytea),
        _ => Some(TypeKind::TEXT),
    }
}

fn set(plan: &mut Plan, place: Place, kind: &TypeKind, collate_c: bool, reason: &str) -> bool {
    let table = &mut plan.tables[place.0];
    // A type that was given is obeyed, not changed.
    let Some(create) = &mut table.create else { return false };
    let column = &mut table.columns[place.1];
    if column.column_type.kind == *kind || column.reason == "as the mapping says" || !column.conversion.transform.is_none() {
        return false;
    }
    column.column_type = ColumnType::new(kind.clone());
    column.conversion.kind = kind.clone();
    column.reason = if column.reason.is_empty() { reason.to_string() } else { format!("{}; {reason}", column.reason) };
    for created in create.columns.iter_mut().filter(|created| created.name == column.target) {
        created.column_type = column.column_type.clone();
        created.identity &= is_integer(kind);
        created.collate_c = collate_c && kind.is_text();
    }
    true
}
