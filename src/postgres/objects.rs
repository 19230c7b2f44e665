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
    pub odd_tables: Vec<OddTable>,
    pub constraints: Vec<Shape>,
    /// They stand on no relation.
    pub views: Vec<Shape>,
    pub triggers: Vec<TriggerShape>,
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
    /// Its key may be broken until the transaction ends.
    pub deferrable: bool,
}

/// A table that does not keep what it is given as a plain one does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OddTable {
    pub table: String,
    pub unlogged: bool,
    pub row_security: bool,
    /// The names of its rules.
    pub rules: Vec<String>,
}

/// An object by its definition in PostgreSQL's own words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape {
    pub relation: String,
    pub name: String,
    pub shape: String,
    /// A constraint that rows from before it may break.
    pub not_valid: bool,
}

/// A trigger, and when it fires.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TriggerShape {
    pub shape: Shape,
    /// `pg_trigger.tgtype`.
    moment: i16,
}

impl TriggerShape {
    /// True for one that fires at the moment of each event that the other fires at, be it for a row or for all of them.
    pub fn fires_with(&self, other: &TriggerShape) -> bool {
        // Of the bits 2 and 64 are BEFORE and INSTEAD OF, AFTER has none; 4, 8, 16 and 32 are INSERT, DELETE, UPDATE and TRUNCATE.
        let (when, events) = (2 | 64, 4 | 8 | 16 | 32);
        self.shape.relation == other.shape.relation
            && self.moment & when == other.moment & when
            && other.moment & events & !self.moment == 0
    }
}

/// Whose objects are read.
#[derive(Clone, Copy, Debug)]
pub enum Place<'a> {
    Schema(&'a Name),
    /// The session's own temporary schema.
    Temporary,
}

/// Reads the objects of a place. The session's `search_path` must begin with it, before the catalog where they have names in common: what it does not find
/// there, PostgreSQL writes with its schema.
pub async fn read_objects(client: &impl GenericClient, place: Place<'_>) -> Result<SchemaObjects> {
    read(client, place).await.map_err(sql_failure).context("read the schema objects of the target")
}

/// Whether a table or view of the schema is called as one of PostgreSQL's own, which is found before it unless the `search_path` says otherwise.
pub async fn has_names_of_catalog(client: &impl GenericClient, schema: &Name) -> Result<bool> {
    let row = client.query_one(include_str!("queries/names_of_catalog.sql"), &[&schema.as_str()]).await;
    Ok(row.map_err(|error| sql_failure(error.into())).context("look for names of the catalog")?.get(0))
}

async fn read(client: &impl GenericClient, place: Place<'_>) -> Result<SchemaObjects> {
    let schema: Option<u32> = match place {
        Place::Schema(name) => client.query_opt("SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = $1", &[&name.as_str()]).await?,
        Place::Temporary => client.query_opt("SELECT pg_catalog.pg_my_temp_schema()", &[]).await?,
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
            deferrable: row.get(6),
        });
    }
    let odd = |row: &Row| OddTable { table: row.get(0), unlogged: row.get(1), row_security: row.get(2), rules: row.get(3) };
    objects.odd_tables = client.query(include_str!("queries/object_tables.sql"), &[&schema]).await?.iter().map(odd).collect();
    let shape = |row: &Row| Shape { relation: row.get(0), name: row.get(1), shape: row.get(2), not_valid: false };
    let constraint = |row: &Row| Shape { not_valid: row.get(3), ..shape(row) };
    objects.constraints = client.query(include_str!("queries/object_constraints.sql"), &[&schema]).await?.iter().map(constraint).collect();
    let trigger = |row: &Row| TriggerShape { shape: shape(row), moment: row.get(3) };
    objects.triggers = client.query(include_str!("queries/object_triggers.sql"), &[&schema]).await?.iter().map(trigger).collect();
    let view = |row: &Row| Shape { relation: String::new(), name: row.get(0), shape: row.get(1), not_valid: false };
    objects.views = client.query(include_str!("queries/object_views.sql"), &[&schema]).await?.iter().map(view).collect();
    Ok(objects)
}

/// The sequence that fills a column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ColumnSequence {
    /// As SQL: PostgreSQL's own, quoted where it must be.
    pub name: String,
    /// It is there for the column alone; any other may fill several.
    pub is_own: bool,
}

/// The sequence that a column draws from, whoever owns it; none for a column that draws from none, or whose default names one only as it draws.
pub async fn column_sequence(client: &impl GenericClient, table: &QualifiedName, column: &Name) -> Result<Option<ColumnSequence>> {
    let of_column = client.query_opt(include_str!("queries/column_sequence.sql"), &[&table.to_string(), &column.as_str()]).await?;
    let drawn = |row: Row| Some(ColumnSequence { name: row.get::<_, Option<String>>(0)?, is_own: row.get(1) });
    Ok(of_column.and_then(drawn))
}

/// What a sequence gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NextValue {
    pub next: i64,
    /// The largest value that it can give, and that its type has.
    pub last: i64,
    pub last_of_type: i64,
}

/// The value that a sequence gives next, and where it ends. Asking draws nothing from it.
pub async fn next_value(client: &impl GenericClient, ColumnSequence { name, .. }: &ColumnSequence) -> Result<NextValue> {
    let sql = format!(
        "SELECT s.last_value, s.is_called, p.seqincrement, p.seqmax, CASE p.seqtypid WHEN 21 THEN 32767 WHEN 23 THEN 2147483647 ELSE {} END
         FROM {name} s, pg_catalog.pg_sequence p WHERE p.seqrelid = s.tableoid",
        i64::MAX
    );
    let row = client.query_one(&sql, &[]).await.with_context(|| format!("read the sequence {name}"))?;
    let (last, is_called, step): (i64, bool, i64) = (row.get(0), row.get(1), row.get(2));
    Ok(NextValue { next: if is_called { last.saturating_add(step) } else { last }, last: row.get(3), last_of_type: row.get(4) })
}
