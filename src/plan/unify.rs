//! A foreign key needs types on both sides that PostgreSQL can join: found where one holds the values of both exactly, else the key is lost,
//! and said. No row is set aside for the sake of a key.

use std::collections::HashMap;
use std::sync::Arc;

use crate::model::{ColumnType, TypeKind};
use crate::plan::build::Input;
use crate::plan::decision::{ColumnPlan, CreateColumn, Plan, TablePlan};
use crate::plan::objects::is_integer;
use crate::plan::profile::{ColumnProfile, Trait};

/// Changes derived columns until every foreign key joins its types, along chains of any length, or no exact type is left for it.
pub fn unify_foreign_keys(input: &Input<'_>, plan: &mut Plan) {
    let pairs = pairs(input, plan);
    // Each round changes a column for good: it narrows to bigint once at most, and from then on its rank only grows.
    let mut changed = true;
    while std::mem::take(&mut changed) {
        for (child, parent) in &pairs {
            changed |= narrow_to_integers(input, plan, *child, *parent);
        }
    }
    let mut changed = true;
    while std::mem::take(&mut changed) {
        for (child, parent) in &pairs {
            changed |= widen(input, plan, *child, *parent);
        }
    }
}

/// True where PostgreSQL can check a foreign key between columns of these types.
pub(super) fn can_reference(child: &TypeKind, parent: &TypeKind) -> bool {
    use TypeKind::{Float4, Float8, Numeric};
    match parent {
        _ if child == parent => true,
        // What PostgreSQL makes of a type that it alone knows, it says itself.
        TypeKind::Other | TypeKind::Enum { .. } => true,
        _ if matches!(child, TypeKind::Other | TypeKind::Enum { .. }) => true,
        parent if parent.is_text() => child.is_text(),
        parent if is_integer(parent) => is_integer(child),
        // Limits do not matter to a comparison.
        Numeric { .. } => is_integer(child) || matches!(child, Numeric { .. }),
        Float4 | Float8 => is_number(child),
        _ => false,
    }
}

fn is_number(kind: &TypeKind) -> bool {
    is_integer(kind) || matches!(kind, TypeKind::Float4 | TypeKind::Float8 | TypeKind::Numeric { .. })
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

/// What references integers is made of integers, whatever it was declared, unless one of its values is none.
fn narrow_to_integers(input: &Input<'_>, plan: &mut Plan, child: Place, parent: Place) -> bool {
    let kind = |plan: &Plan, place: Place| plan.tables[place.0].columns[place.1].column_type.kind.clone();
    let narrows = is_integer(&kind(plan, parent))
        && !is_integer(&kind(plan, child))
        && is_free(plan, child)
        && holds(&TypeKind::Int8, seen(input, plan, child));
    if narrows {
        set(input, plan, child, &TypeKind::Int8, "the type of the key that it references");
    }
    narrows
}

/// The narrowest type that holds the values of both, where their own cannot be joined.
fn widen(input: &Input<'_>, plan: &mut Plan, child: Place, parent: Place) -> bool {
    let kind = |place: Place| &plan.tables[place.0].columns[place.1].column_type.kind;
    let (child_kind, parent_kind) = (kind(child).clone(), kind(parent).clone());
    // A double takes a large integer for another.
    let is_exact = !matches!(parent_kind, TypeKind::Float4 | TypeKind::Float8) || !is_integer(&child_kind);
    if is_exact && can_reference(&child_kind, &parent_kind) {
        return false;
    }
    let serves = |place: Place, wide: &TypeKind| {
        let own = kind(place);
        own == wide || (rank(wide) > rank(own) && is_free(plan, place) && holds(wide, seen(input, plan, place)))
    };
    // Numbers that reference ids stay numbers, and the ids are given out: a key that some stray value breaks is the lesser loss.
    let of_ids = is_number(&child_kind) && is_number(&parent_kind) && (gives_ids(plan, child) || gives_ids(plan, parent));
    let candidates = [TypeKind::Int8, TypeKind::Float8, TypeKind::NUMERIC, TypeKind::TEXT, TypeKind::Bytea];
    let candidates = candidates.into_iter().filter(|wide| !of_ids || is_integer(wide));
    let Some(wide) = candidates.into_iter().find(|wide| serves(child, wide) && serves(parent, wide)) else { return false };
    for (place, own, reason) in [
        (child, &child_kind, "the type of the key that it references"),
        (parent, &parent_kind, "the type of a foreign key that references it"),
    ] {
        if *own != wide {
            set(input, plan, place, &wide, reason);
        }
    }
    true
}

/// Every type holds what those of a lower rank hold, as far as [`holds`] says so of the values.
fn rank(kind: &TypeKind) -> u8 {
    match kind {
        TypeKind::Bool => 0,
        TypeKind::Int2 => 1,
        TypeKind::Int4 => 2,
        TypeKind::Int8 => 3,
        TypeKind::Float4 => 4,
        TypeKind::Float8 => 5,
        TypeKind::Numeric { limits: Some(_) } => 6,
        TypeKind::Numeric { limits: None } => 7,
        TypeKind::Text { max_chars: None } => 9,
        TypeKind::Bytea => 10,
        _ => 8,
    }
}

/// True where every value of a column has an exact form in the type.
fn holds(kind: &TypeKind, seen: &ColumnProfile) -> bool {
    let none = |traits: &[Trait]| traits.iter().all(|of| !seen.has(*of));
    match kind {
        TypeKind::Int8 => none(&[Trait::Text, Trait::Blob, Trait::RealFraction, Trait::RealInfinite, Trait::RealMinusZero]),
        TypeKind::Float8 => none(&[Trait::Text, Trait::Blob, Trait::IntegerBeyondDouble]),
        TypeKind::Numeric { .. } => none(&[Trait::Text, Trait::Blob, Trait::RealInfinite, Trait::RealMinusZero]),
        TypeKind::Text { .. } => none(&[Trait::Blob]) && !seen.has_bad_text(),
        _ => true,
    }
}

/// A type that was given is obeyed, not changed.
fn is_free(plan: &Plan, place: Place) -> bool {
    let table = &plan.tables[place.0];
    let column = &table.columns[place.1];
    table.create.is_some()
        && column.why.as_ref().is_none_or(|why| why.reason != "as the mapping says")
        && column.conversion.transform.is_none()
}

fn gives_ids(plan: &Plan, place: Place) -> bool {
    let table = &plan.tables[place.0];
    created(table, &table.columns[place.1]).is_some_and(|created| created.identity)
}

fn created<'a>(table: &'a TablePlan, column: &ColumnPlan) -> Option<&'a CreateColumn> {
    table.create.as_ref()?.columns.iter().map(Arc::as_ref).find(|created| created.name == column.target)
}

fn seen<'a>(input: &'a Input<'_>, plan: &Plan, place: Place) -> &'a ColumnProfile {
    let table = &plan.tables[place.0];
    &input.profiles[table.source_index].columns[table.columns[place.1].source_index]
}

fn set(input: &Input<'_>, plan: &mut Plan, place: Place, kind: &TypeKind, reason: &str) {
    let table = &mut plan.tables[place.0];
    let column = Arc::make_mut(&mut table.columns[place.1]);
    column.column_type = ColumnType::new(kind.clone());
    column.conversion.kind = kind.clone();
    let why = column.why.get_or_insert_default();
    why.reason = if why.reason.is_empty() { reason.to_string() } else { format!("{}; {reason}", why.reason) };
    for created in table.create.iter_mut().flat_map(|create| &mut create.columns).filter(|created| created.name == column.target) {
        let created = Arc::make_mut(created);
        created.column_type = column.column_type.clone();
        created.identity &= is_integer(kind);
        created.collate_c = input.options.collate_c && kind.is_text();
    }
}
