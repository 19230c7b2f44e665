//! What SQLite's expressions need to know of the target: each column's type, and how SQLite held the values behind it.

use crate::dialect::translate::{Catalog, Form, Relation, RelationColumn, Type};
use crate::model::{Affinity, Collation, Table, TableKind, TypeKind};
use crate::plan::build::Input;
use crate::plan::decision::{ColumnPlan, Plan, TablePlan};
use crate::plan::long_keys;
use crate::plan::profile::{ColumnProfile, Trait};

/// Every planned table, as the translator knows it.
pub fn catalog(input: &Input<'_>, plan: &Plan) -> Catalog {
    Catalog { relations: plan.tables.iter().map(|table| relation(input, table)).collect() }
}

/// One table, as the translator knows it. Columns that were added beside their source are not SQLite's, and are left out.
pub fn relation(input: &Input<'_>, plan: &TablePlan) -> Relation {
    let table = &input.source.tables[plan.source_index];
    let profile = &input.profiles[plan.source_index];
    let mut columns: Vec<RelationColumn> = Vec::new();
    for column in &plan.columns {
        if columns.iter().all(|known| known.source != column.source) {
            columns.push(relation_column(table, &profile.columns[column.source_index], plan, column));
        }
    }
    let is_left_out = |index: &usize| plan.columns.iter().all(|column| column.source_index != *index);
    let left_out = (0..table.columns.len()).filter(is_left_out).map(|index| table.columns[index].name.clone()).collect();
    let unwatched = plan.create.is_some() && !table.watched;
    let key = table.primary_key.as_ref().filter(|key| key.columns.iter().all(|column| !profile.columns[*column].has(Trait::Null)));
    let names = |columns: &[usize]| columns.iter().map(|column| table.columns[*column].name.clone()).collect();
    Relation {
        source: plan.source.clone(),
        target: plan.target.clone(),
        columns,
        primary_key: key.map(|key| names(&key.columns)).unwrap_or_default(),
        rowid_alias: table.rowid_alias.map(|column| table.columns[column].name.clone()),
        replaces_by: if unwatched { replaces_by(table) } else { None },
        unwatched,
        checked: !table.checks.is_empty(),
        left_out,
        full_text: is_full_text(table),
        long_keys: long_keys::of_table(input, plan, table),
    }
}

fn is_full_text(table: &Table) -> bool {
    let TableKind::Virtual { module, .. } = &table.kind else { return false };
    ["fts3", "fts4", "fts5"].iter().any(|name| module.eq_ignore_ascii_case(name))
}

/// The only key of a table that nobody watches; see [`Relation::replaces_by`].
fn replaces_by(table: &Table) -> Option<Vec<String>> {
    // An alias of the rowid has no index.
    let mut keys: Vec<Vec<usize>> = table.rowid_alias.iter().map(|alias| vec![*alias]).collect();
    for index in table.indexes.iter().filter(|index| index.unique) {
        let is_plain = index.predicate.is_none() && index.columns.iter().all(|column| column.collation == Collation::Binary);
        keys.push(index.columns.iter().map(|column| column.column.filter(|_| is_plain)).collect::<Option<_>>()?);
    }
    keys.dedup();
    let is_binary = |column: &usize| table.columns[*column].collation == Collation::Binary;
    match keys.as_slice() {
        [] => Some(Vec::new()),
        [key] if key.iter().all(is_binary) => Some(key.iter().map(|column| table.columns[*column].name.clone()).collect()),
        _ => None,
    }
}

fn relation_column(table: &Table, seen: &ColumnProfile, plan: &TablePlan, column: &ColumnPlan) -> RelationColumn {
    let source = &table.columns[column.source_index];
    let created = plan.create.as_ref().and_then(|create| create.columns.iter().find(|created| created.name == column.target));
    // Only REAL affinity makes REALs of the integers.
    let has_integers = column.column_type.kind == TypeKind::Float8 && source.affinity != Affinity::Real && seen.has(Trait::Integer);
    let kind = if has_integers { &TypeKind::NUMERIC } else { &column.column_type.kind };
    let form = if column.conversion.transform.is_none() { form(kind, seen, source.affinity) } else { Form::Other };
    // What was a number of its own in SQLite, and is one here.
    let of_numbers = matches!(kind, TypeKind::Numeric { .. }) && form == Form::Canonical;
    let whole = of_numbers && matches!(source.affinity, Affinity::Integer | Affinity::Numeric);
    let few_digits = matches!(kind, TypeKind::Numeric { limits: Some((..=15, 0..=4)) });
    RelationColumn {
        source: source.name.clone(),
        target: column.target.clone(),
        type_: translated_type(kind, &column.column_type.sql),
        affinity: Some(source.affinity),
        form,
        not_null: created.map_or(source.not_null, |created| created.not_null),
        collation: source.collation.clone(),
        generated: source.generated.is_some(),
        hidden: table.rowid_added && table.rowid_alias == Some(column.source_index),
        whole,
        prints: few_digits && whole,
        reach: seen.integers(),
        narrow: matches!(kind, TypeKind::Int2 | TypeKind::Int4),
        has_reals: seen.has(Trait::Real) && source.affinity != Affinity::Real,
    }
}

/// A row by its key, as a person knows it from SQLite: the SQL of `id 5, part a`. Without a key, by its place.
pub fn key_text(table: &Table, plan: &TablePlan) -> String {
    let named = |column: &usize| {
        let target = &plan.columns.iter().find(|planned| planned.source_index == *column)?.target;
        Some(format!("'{} ' || coalesce({target}::text, 'NULL')", table.columns[*column].name.replace('\'', "''")))
    };
    let key = table.primary_key.iter().flat_map(|key| &key.columns).map(named).collect::<Option<Vec<String>>>();
    key.filter(|key| !key.is_empty()).map_or("'at ' || ctid::text".to_string(), |key| key.join(" || ', ' || "))
}

pub fn translated_type(kind: &TypeKind, sql: &str) -> Type {
    match kind {
        TypeKind::Bool => Type::Boolean,
        TypeKind::Int2 | TypeKind::Int4 | TypeKind::Int8 => Type::Integer,
        TypeKind::Float4 | TypeKind::Float8 => Type::Float,
        TypeKind::Numeric { .. } => Type::Numeric,
        // Without a length it keeps blanks at the end, and compares without them all the same.
        TypeKind::Text { .. } if sql.trim_matches('"') == "bpchar" => Type::Other(sql.to_string()),
        TypeKind::Text { .. } => Type::Text,
        TypeKind::Bytea => Type::Bytea,
        TypeKind::Date => Type::Date,
        TypeKind::Time => Type::Time,
        TypeKind::Timestamp => Type::Timestamp,
        TypeKind::TimestampTz => Type::TimestampTz,
        TypeKind::Uuid => Type::Uuid,
        TypeKind::Json => Type::Json,
        TypeKind::Jsonb => Type::Jsonb,
        TypeKind::Char { .. } | TypeKind::Enum { .. } | TypeKind::Other => Type::Other(sql.to_string()),
    }
}

/// How SQLite held the values, as the profile saw every one of them.
fn form(kind: &TypeKind, seen: &ColumnProfile, affinity: Affinity) -> Form {
    let only = |class: Trait| seen.count(class) == seen.values();
    let is_numeric = matches!(affinity, Affinity::Integer | Affinity::Numeric | Affinity::Real);
    let canonical = match kind {
        TypeKind::Bool | TypeKind::Int2 | TypeKind::Int4 | TypeKind::Int8 => only(Trait::Integer),
        TypeKind::Float4 | TypeKind::Float8 => only(Trait::Real),
        // INTEGER or REAL, row by row: the translator counts on no more.
        TypeKind::Numeric { .. } => {
            seen.count(Trait::Real) + seen.count(Trait::Integer) == seen.values() && !seen.has(Trait::IntegerBeyondDouble)
        }
        TypeKind::Text { .. } if is_numeric && seen.has(Trait::Integer) && !seen.has(Trait::Real) && !seen.has(Trait::Blob) => {
            return Form::Mixed;
        }
        TypeKind::Text { .. } => only(Trait::Text),
        TypeKind::Bytea => only(Trait::Blob),
        TypeKind::Date => only(Trait::Date),
        TypeKind::Time | TypeKind::Timestamp if seen.count(Trait::OwnSpelling) == seen.values() => true,
        TypeKind::Time | TypeKind::Timestamp | TypeKind::TimestampTz if !only(Trait::Text) => return Form::Other,
        // The form of a text that is not known for a time is not known either.
        TypeKind::Time | TypeKind::Timestamp | TypeKind::TimestampTz => {
            let known = [Trait::Date, Trait::Time, Trait::Naive, Trait::Zoned].iter().map(|shape| seen.count(*shape)).sum::<u64>();
            return if known == seen.values() && seen.spelled_alike() { Form::Uniform } else { Form::Text };
        }
        TypeKind::Uuid => only(Trait::Uuid),
        TypeKind::Json => only(Trait::Text),
        // jsonb prints with spaces of its own, whatever comes.
        TypeKind::Jsonb => false,
        TypeKind::Char { .. } | TypeKind::Enum { .. } | TypeKind::Other => seen.values() == 0,
    };
    if canonical { Form::Canonical } else { Form::Other }
}
