//! What PostgreSQL's catalog says of tables that are refreshed.

use std::collections::HashMap;

use anyhow::{Context as _, Result};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, GenericClient};

use crate::model::{Name, QualifiedName};
use crate::plan::target::{RebuildKind, Rebuildable};
use crate::postgres::{is_transient, sql_failure};

/// Of one table: about how many rows it has (none when it was never analyzed), and which columns lead an index.
#[derive(Clone, Debug, Default)]
pub struct RefreshKeys {
    pub rows: Option<u64>,
    pub indexed: Vec<String>,
}

/// By the table's name.
pub async fn refresh_keys(client: &impl GenericClient, schema: &str) -> Result<HashMap<String, RefreshKeys>> {
    let rows = client.query(include_str!("queries/refresh_keys.sql"), &[&schema]).await.context("read the indexes of the target")?;
    let keys = |row: &tokio_postgres::Row| {
        let count: f64 = row.get(1);
        (row.get(0), RefreshKeys { rows: (count > 0.0).then_some(count as u64), indexed: row.get(2) })
    };
    Ok(rows.iter().map(keys).collect())
}

/// A foreign key of or into a table that is refreshed.
#[derive(Clone, Debug)]
pub struct ForeignKeyFacts {
    pub child: QualifiedName,
    /// The table that the child is a partition of; else the child itself.
    pub whole: QualifiedName,
    pub key: Rebuildable,
    /// The parent as it was asked for, when it is one of those.
    pub parent: Option<String>,
    /// A deleted parent changes or deletes children.
    pub acts_on_delete: bool,
    pub acts_on_update: bool,
}

pub async fn foreign_keys_of(client: &impl GenericClient, tables: &[String]) -> Result<Vec<ForeignKeyFacts>> {
    let sql = include_str!("queries/refresh_foreign_keys.sql");
    let rows = client.query(sql, &[&tables]).await.context("read the foreign keys of the target")?;
    let facts = |row: &tokio_postgres::Row| ForeignKeyFacts {
        child: QualifiedName::new(row.get::<_, &str>(0), row.get::<_, &str>(1)),
        whole: QualifiedName::new(row.get::<_, &str>(9), row.get::<_, &str>(10)),
        key: Rebuildable {
            kind: RebuildKind::ForeignKey,
            name: row.get::<_, &str>(2).into(),
            definition: row.get(3),
            valid: row.get(4),
            comment: row.get(8),
            partition: None,
            long: None,
            switched: row.get(11),
        },
        acts_on_delete: row.get(5),
        acts_on_update: row.get(6),
        parent: row.get(7),
    };
    Ok(rows.iter().map(facts).collect())
}

/// User triggers that would fire: the table as it was asked for, the name, and whether it fires always.
pub async fn triggers_of(client: &impl GenericClient, tables: &[String]) -> Result<Vec<(String, Name, bool)>> {
    let sql = include_str!("queries/refresh_triggers.sql");
    let rows = client.query(sql, &[&tables]).await.context("read the triggers of the target")?;
    Ok(rows.iter().map(|row| (row.get(0), row.get::<_, &str>(1).into(), row.get(2))).collect())
}

/// How many rows the statement wrote; none when PostgreSQL refused it, which a savepoint can undo. A connection that is lost is an error.
pub async fn execute_unless_refused(client: &Client, sql: &str, numbers: &[i64]) -> Result<Option<u64>> {
    let parameters: Vec<&(dyn ToSql + Sync)> = numbers.iter().map(|number| number as &(dyn ToSql + Sync)).collect();
    match client.execute(sql, &parameters).await {
        Ok(rows) => Ok(Some(rows)),
        Err(error) if error.as_db_error().is_some() && !is_transient(&error) => Ok(None),
        Err(error) => Err(sql_failure(error.into())),
    }
}
