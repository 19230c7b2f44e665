//! What a schema promises beyond its rows, read from the catalog in a form that two schemas can be compared by: without names of their own.

use std::collections::HashMap;

use anyhow::{Context as _, Result};
use tokio_postgres::{GenericClient, Row};

use crate::model::{Name, QualifiedName};
use crate::postgres::sql_failure;

/// Keys, indexes, constraints, views, triggers and the columns' promises of one schema.
#[derive(Clone, Debug, Default)]
pub struct SchemaObjects {
    /// By table and column.
    pub columns: HashMap<(String, String), ColumnPromises>,
    pub indexes: Vec<IndexShape>,
    pub constraints: Vec<Shape>,
    /// They stand on no relation.
    pub views: Vec<Shape>,
    pub triggers: Vec<Shape>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ColumnPromises {
    /// As `format_type` writes it.
    pub sql_type: String,
    pub not_null: bool,
    pub default: Option<String>,
    pub generated: Option<String>,
    /// Identity, or a default that draws from a sequence.
    pub sequence: bool,
    /// GENERATED ALWAYS AS IDENTITY: it takes no value from a statement.
    pub always_drawn: bool,
    pub collated_c: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexShape {
    pub table: String,
    pub name: String,
    pub primary: bool,
    pub unique: bool,
    pub valid: bool,
    /// The table, the method, the columns and the predicate.
    pub shape: String,
}

/// An object by its definition in PostgreSQL's own words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape {
    pub relation: String,
    pub name: String,
    pub shape: String,
}

/// Whose objects are read.
#[derive(Clone, Copy, Debug)]
pub enum Place<'a> {
    Schema(&'a Name),
    /// The session's own temporary schema.
    Temporary,
}

/// Reads the objects of a place. The session's `search_path` must begin with it: what it does not find there, PostgreSQL writes with its schema.
pub async fn read_objects(client: &impl GenericClient, place: Place<'_>) -> Result<SchemaObjects> {
    read(client, place).await.map_err(sql_failure).context("read the schema objects of the target")
}

async fn read(client: &impl GenericClient, place: Place<'_>) -> Result<SchemaObjects> {
    let schema: Option<u32> = match place {
        Place::Schema(name) => client.query_opt("SELECT oid FROM pg_namespace WHERE nspname = $1", &[&name.as_str()]).await?,
        Place::Temporary => client.query_opt("SELECT pg_my_temp_schema()", &[]).await?,
    }
    .map(|row| row.get(0));
    let mut objects = SchemaObjects::default();
    let Some(schema) = schema else { return Ok(objects) };
    for row in client.query(include_str!("queries/object_columns.sql"), &[&schema]).await? {
        let promises = ColumnPromises {
            not_null: row.get(2),
            default: row.get(3),
            generated: row.get(4),
            sequence: row.get(5),
            collated_c: row.get(6),
            sql_type: row.get(7),
            always_drawn: row.get(8),
        };
        objects.columns.insert((row.get(0), row.get(1)), promises);
    }
    for row in client.query(include_str!("queries/object_indexes.sql"), &[&schema]).await? {
        objects.indexes.push(IndexShape {
            table: row.get(0),
            name: row.get(1),
            primary: row.get(2),
            unique: row.get(3),
            valid: row.get(4),
            shape: row.get(5),
        });
    }
    let shape = |row: &Row| Shape { relation: row.get(0), name: row.get(1), shape: row.get(2) };
    objects.constraints = client.query(include_str!("queries/object_constraints.sql"), &[&schema]).await?.iter().map(shape).collect();
    objects.triggers = client.query(include_str!("queries/object_triggers.sql"), &[&schema]).await?.iter().map(shape).collect();
    let view = |row: &Row| Shape { relation: String::new(), name: row.get(0), shape: row.get(1) };
    objects.views = client.query(include_str!("queries/object_views.sql"), &[&schema]).await?.iter().map(view).collect();
    Ok(objects)
}

/// The value that a column's own sequence gives next; none for a column without one. Asking draws nothing from it.
pub async fn next_value(client: &impl GenericClient, table: &QualifiedName, column: &Name) -> Result<Option<i64>> {
    let of_column = client.query_opt(include_str!("queries/column_sequence.sql"), &[&table.to_string(), &column.as_str()]).await?;
    let Some(sequence) = of_column.and_then(|row| row.get::<_, Option<String>>(0)) else { return Ok(None) };
    // The name is PostgreSQL's own, quoted where it must be.
    let sql = format!("SELECT s.last_value, s.is_called, p.seqincrement FROM {sequence} s, pg_sequence p WHERE p.seqrelid = s.tableoid");
    let row = client.query_one(&sql, &[]).await.with_context(|| format!("read the sequence of {table}.{column}"))?;
    let (last, is_called, step): (i64, bool, i64) = (row.get(0), row.get(1), row.get(2));
    Ok(Some(if is_called { last.saturating_add(step) } else { last }))
}
