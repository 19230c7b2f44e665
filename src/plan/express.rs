//! What SQLite's expressions need to know of the target: each column's type, and how SQLite held the values behind it.

use crate::dialect::translate::{Catalog, Form, Relation, RelationColumn, Type};
use crate::model::{Table, TypeKind};
use crate::plan::build::Input;
use crate::plan::decision::{ColumnPlan, Plan, TablePlan};
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
    let key = table.primary_key.as_ref().filter(|key| key.columns.iter().all(|column| !profile.columns[*column].has(Trait::Null)));
    let names = |columns: &[usize]| columns.iter().map(|column| table.columns[*column].name.clone()).collect();
    Relation {
        source: plan.source.clone(),
        target: plan.target.clone(),
        columns,
        primary_key: key.map(|key| names(&key.columns)).unwrap_or_default(),
        rowid_alias: table.rowid_alias.map(|column| table.columns[column].name.clone()),
    }
}

fn relation_column(table: &Table, seen: &ColumnProfile, plan: &TablePlan, column: &ColumnPlan) -> RelationColumn {
    let source = &table.columns[column.source_index];
    let created = plan.create.as_ref().and_then(|create| create.columns.iter().find(|created| created.name == column.target));
    RelationColumn {
        source: source.name.clone(),
        target: column.target.clone(),
        type_: translated_type(&column.column_type.kind, &column.column_type.sql),
        affinity: Some(source.affinity),
        form: if column.conversion.transform.is_none() { form(&column.column_type.kind, seen) } else { Form::Other },
        not_null: created.map_or(source.not_null, |created| created.not_null),
        collation: source.collation.clone(),
        generated: source.generated.is_some(),
    }
}

pub fn translated_type(kind: &TypeKind, sql: &str) -> Type {
    match kind {
        TypeKind::Bool => Type::Boolean,
        TypeKind::Int2 | TypeKind::Int4 | TypeKind::Int8 => Type::Integer,
        TypeKind::Float4 | TypeKind::Float8 => Type::Float,
        TypeKind::Numeric { .. } => Type::Numeric,
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
fn form(kind: &TypeKind, seen: &ColumnProfile) -> Form {
    let only = |class: Trait| seen.count(class) == seen.values();
    let canonical = match kind {
        TypeKind::Bool | TypeKind::Int2 | TypeKind::Int4 | TypeKind::Int8 => only(Trait::Integer),
        TypeKind::Float4 | TypeKind::Float8 => only(Trait::Real),
        // A decimal that SQLite keeps as INTEGER divides and prints as one.
        TypeKind::Numeric { .. } => only(Trait::Real),
        TypeKind::Text { .. } => only(Trait::Text),
        TypeKind::Bytea => only(Trait::Blob),
        TypeKind::Date => only(Trait::Date),
        TypeKind::Time | TypeKind::Timestamp if seen.count(Trait::OwnSpelling) == seen.values() => true,
        TypeKind::Time | TypeKind::Timestamp | TypeKind::TimestampTz => return if only(Trait::Text) { Form::Text } else { Form::Other },
        TypeKind::Uuid => only(Trait::Uuid),
        TypeKind::Json => only(Trait::Text),
        // jsonb prints with spaces of its own.
        TypeKind::Jsonb | TypeKind::Char { .. } | TypeKind::Enum { .. } | TypeKind::Other => seen.values() == 0,
    };
    if canonical { Form::Canonical } else { Form::Other }
}
