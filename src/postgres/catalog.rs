//! What is in the target schema: read from PostgreSQL's catalog, in a few queries whatever the number of tables.

use std::collections::HashMap;

use anyhow::{Context as _, Result};
use tokio_postgres::{GenericClient, Row};

use crate::model::{ColumnType, Name, QualifiedName};
use crate::plan::target::{RebuildKind, Rebuildable, TargetColumn, TargetSchema, TargetTable};
use crate::postgres::conversions::Types;
use crate::postgres::statement;

/// Reads the relations of `schema`; a schema that does not exist has none.
pub async fn read_schema(client: &impl GenericClient, schema: &str) -> Result<TargetSchema> {
    read(client, schema).await.with_context(|| format!("read the schema {schema:?} of the target"))
}

async fn read(client: &impl GenericClient, schema: &str) -> Result<TargetSchema> {
    let head = client
        .query_one("SELECT EXISTS (SELECT 1 FROM pg_namespace WHERE nspname = $1), current_setting('server_version_num')::int", &[&schema])
        .await?;
    let mut target = TargetSchema { exists: head.get(0), server_version: head.get::<_, i32>(1) as u32, ..TargetSchema::default() };
    let others = client
        .query(
            "SELECT c.relname, c.relkind IN ('v', 'm') FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relkind NOT IN ('r', 'p', 't')",
            &[&schema],
        )
        .await?;
    target.other_relations = others.iter().map(|row| Name::new(row.get::<_, &str>(0))).collect();
    target.views = others.iter().filter(|row| row.get(1)).map(|row| Name::new(row.get::<_, &str>(0))).collect();

    let functions = client.query(include_str!("queries/functions.sql"), &[&schema]).await?;
    target.functions = functions.iter().map(|row| Name::new(row.get::<_, &str>(0))).collect();

    let mut columns: HashMap<u32, Vec<TargetColumn>> = HashMap::new();
    let rows = client.query(include_str!("queries/columns.sql"), &[&schema]).await?;
    // An empty schema asks for no types.
    if !rows.is_empty() {
        let types = Types::read(client).await?;
        rows.iter().for_each(|row| columns.entry(row.get(0)).or_default().push(column(row, &types)));
    }
    let mut rebuildable: HashMap<u32, Vec<Rebuildable>> = HashMap::new();
    let mut fires: HashMap<u32, Vec<String>> = HashMap::new();
    for row in client.query(include_str!("queries/rebuildable.sql"), &[&schema]).await? {
        let kind = RebuildKind::of(row.get(1));
        let partition = row.get::<_, Option<&str>>(7).zip(row.get::<_, Option<&str>>(8));
        let object = Rebuildable {
            kind,
            name: Name::new(row.get::<_, &str>(2)),
            definition: row.get(3),
            valid: row.get(4),
            comment: row.get(5),
            partition: partition.map(|(schema, name)| QualifiedName::new(schema, name)),
            long: row.get::<_, Option<Vec<&str>>>(9).map(|columns| columns.into_iter().map(Name::new).collect()),
            switched: row.get(10),
        };
        rebuildable.entry(row.get(0)).or_default().push(object);
        if let Some(moments) = row.get::<_, Option<Vec<String>>>(6) {
            fires.entry(row.get(0)).or_default().extend(moments);
        }
    }
    let mut referenced_by: HashMap<u32, Vec<(QualifiedName, Name)>> = HashMap::new();
    for row in client.query(include_str!("queries/referenced_by.sql"), &[&schema]).await? {
        let child = QualifiedName::new(row.get::<_, &str>(1), row.get::<_, &str>(2));
        referenced_by.entry(row.get(0)).or_default().push((child, Name::new(row.get::<_, &str>(3))));
    }
    for row in client.query(include_str!("queries/tables.sql"), &[&schema]).await? {
        let oid: u32 = row.get(0);
        target.tables.push(TargetTable {
            name: QualifiedName::new(schema, row.get::<_, &str>(1)),
            // What nobody may look into may have some.
            has_rows: !row.get::<_, bool>(2),
            replaceable: false,
            columns: columns.remove(&oid).unwrap_or_default(),
            rebuildable: rebuildable.remove(&oid).unwrap_or_default(),
            fires: fires.remove(&oid).unwrap_or_default(),
            referenced_by: referenced_by.remove(&oid).unwrap_or_default(),
        });
    }
    let mut seen: Vec<&mut TargetTable> = target.tables.iter_mut().filter(|table| !table.has_rows).collect();
    for some in seen.chunks_mut(ASKED_TOGETHER) {
        let question = statement::have_rows(some.iter().map(|table| &table.name));
        let answer: Vec<bool> = client.query_one(&question, &[]).await?.get(0);
        some.iter_mut().zip(answer).for_each(|(table, has_rows)| table.has_rows = has_rows);
    }
    Ok(target)
}

/// Tables of which one statement asks whether they have rows: a round trip for each of thousands is long, and so is a statement over all.
const ASKED_TOGETHER: usize = 200;

/// True where the session's role may do everything, as it is now.
pub async fn is_superuser(client: &impl GenericClient) -> Result<bool> {
    let asked = client.query_one("SELECT current_setting('is_superuser') = 'on'", &[]).await;
    Ok(asked.context("ask whether the role is a superuser")?.get(0))
}

/// The two sides of a foreign key, as SQL.
#[derive(Clone, Debug)]
pub struct ForeignKeySides {
    pub child: String,
    pub parent: String,
    child_columns: Vec<String>,
    parent_columns: Vec<String>,
    /// The child's primary key.
    key: Vec<String>,
    /// Columns are all NULL, or none is.
    match_full: bool,
}

impl ForeignKeySides {
    /// Those of a key that is still to come.
    pub fn between(child: &QualifiedName, parent: &QualifiedName, columns: &[(Name, Name)], key: &[Name]) -> Self {
        ForeignKeySides {
            child: child.to_string(),
            parent: parent.to_string(),
            child_columns: columns.iter().map(|(child, _)| child.to_string()).collect(),
            parent_columns: columns.iter().map(|(_, parent)| parent.to_string()).collect(),
            key: key.iter().map(Name::to_string).collect(),
            match_full: false,
        }
    }

    /// Rows of the child without a parent: how many there are, and the first five of them as text.
    pub async fn orphans(&self, client: &impl GenericClient) -> Result<(i64, Vec<String>)> {
        let columns = (&self.child_columns[..], &self.parent_columns[..]);
        let sql = statement::orphans((&self.child, &self.parent), columns, &self.key, self.match_full);
        let rows = client.query(&sql, &[]).await.with_context(|| format!("look for rows of {} without a parent", self.child))?;
        let texts = rows.iter().map(|row| row.get::<_, Option<String>>(0).unwrap_or_default()).collect();
        Ok((rows.first().map_or(0, |row| row.get(1)), texts))
    }
}

/// What a foreign key of `table` joins.
pub async fn foreign_key_sides(client: &impl GenericClient, table: &QualifiedName, foreign_key: &Name) -> Result<ForeignKeySides> {
    let sides = find_foreign_key(client, table, foreign_key).await?;
    sides.with_context(|| format!("read the columns of foreign key {foreign_key}: it is not there"))
}

/// The same of one that may have been taken away.
pub async fn find_foreign_key(client: &impl GenericClient, table: &QualifiedName, foreign_key: &Name) -> Result<Option<ForeignKeySides>> {
    let sides = client
        .query_opt(include_str!("queries/foreign_key_columns.sql"), &[&table.to_string(), &foreign_key.as_str()])
        .await
        .with_context(|| format!("read the columns of foreign key {foreign_key}"))?;
    Ok(sides.map(|sides| ForeignKeySides {
        child: sides.get(0),
        parent: sides.get(1),
        child_columns: sides.get(2),
        parent_columns: sides.get(3),
        key: sides.get(4),
        match_full: sides.get(5),
    }))
}

/// Tables as PostgreSQL writes them in this session; none for one that is not there.
pub async fn regclasses(client: &impl GenericClient, tables: &[&str]) -> Result<Vec<Option<String>>> {
    let sql = "SELECT to_regclass(t.name)::text FROM unnest($1::text[]) WITH ORDINALITY AS t(name, number) ORDER BY t.number";
    Ok(client.query(sql, &[&tables]).await.context("look for tables")?.iter().map(|row| row.get(0)).collect())
}

/// True for a table that is made of partitions.
pub async fn is_partitioned(client: &impl GenericClient, table: &QualifiedName) -> Result<bool> {
    let kind = client.query_one("SELECT relkind = 'p' FROM pg_class WHERE oid = $1::text::regclass", &[&table.to_string()]).await;
    Ok(kind.with_context(|| format!("ask what {table} is"))?.get(0))
}

/// True for a table whose foreign keys cannot be NOT VALID: one that is made of partitions, before PostgreSQL 18.
pub async fn checks_keys_at_once(client: &impl GenericClient, table: &QualifiedName) -> Result<bool> {
    let sql = "SELECT relkind = 'p' AND current_setting('server_version_num')::int < 180000 FROM pg_class WHERE oid = $1::text::regclass";
    Ok(client.query_one(sql, &[&table.to_string()]).await.with_context(|| format!("ask what {table} is"))?.get(0))
}

/// The whole table that a partition belongs to; none for any other table, and for one that is not there.
pub async fn partition_root(client: &impl GenericClient, table: &QualifiedName) -> Result<Option<QualifiedName>> {
    let sql = "SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
               WHERE c.oid = pg_partition_root(to_regclass($1)) AND c.oid <> to_regclass($1)";
    let root = client.query_opt(sql, &[&table.to_string()]).await.with_context(|| format!("ask what {table} belongs to"))?;
    Ok(root.map(|row| QualifiedName::new(row.get::<_, &str>(0), row.get::<_, &str>(1))))
}

/// One of the tables that a partitioned one is made of, or that itself.
#[derive(Clone, Debug)]
pub struct Partition {
    pub name: QualifiedName,
    /// What it is a part of, and which: `FOR VALUES FROM (1) TO (9)`. None for the whole.
    pub part: Option<(QualifiedName, String)>,
    /// How it is divided itself: `RANGE (id)`.
    pub by: Option<String>,
}

/// The whole and its partitions, each after what it is a part of; nothing for a table that has none.
pub async fn partitions(client: &impl GenericClient, table: &QualifiedName) -> Result<Vec<Partition>> {
    let rows = client.query(include_str!("queries/partitions.sql"), &[&table.to_string()]).await;
    let partition = |row: &Row| Partition {
        name: QualifiedName::new(row.get::<_, &str>(0), row.get::<_, &str>(1)),
        part: row
            .get::<_, Option<&str>>(2)
            .zip(row.get::<_, Option<&str>>(3))
            .zip(row.get(4))
            .map(|((schema, name), bounds)| (QualifiedName::new(schema, name), bounds)),
        by: row.get(5),
    };
    Ok(rows.with_context(|| format!("read the partitions of {table}"))?.iter().map(partition).collect())
}

/// True of an index that is there, and is a hash index.
pub async fn is_hash_index(client: &impl GenericClient, index: &QualifiedName) -> Result<bool> {
    let sql = "SELECT EXISTS (SELECT FROM pg_class i JOIN pg_am m ON m.oid = i.relam WHERE i.oid = to_regclass($1) AND m.amname = 'hash')";
    Ok(client.query_one(sql, &[&index.to_string()]).await.with_context(|| format!("ask what {index} is"))?.get(0))
}

/// A foreign key that is NOT VALID.
#[derive(Clone, Debug)]
pub struct ForeignKeyNotValid {
    pub table: QualifiedName,
    /// What the table is a partition of; else the table itself.
    pub whole: QualifiedName,
    pub name: Name,
}

/// Foreign keys of or onto these tables, or partitions of them, that are NOT VALID.
pub async fn foreign_keys_not_valid(client: &impl GenericClient, tables: &[String]) -> Result<Vec<ForeignKeyNotValid>> {
    let rows = client
        .query(include_str!("queries/foreign_keys_not_valid.sql"), &[&tables])
        .await
        .context("look for foreign keys that are not valid")?;
    let key = |row: &Row| ForeignKeyNotValid {
        table: QualifiedName::new(row.get::<_, &str>(0), row.get::<_, &str>(1)),
        name: Name::new(row.get::<_, &str>(2)),
        whole: QualifiedName::new(row.get::<_, &str>(3), row.get::<_, &str>(4)),
    };
    Ok(rows.iter().map(key).collect())
}

/// A foreign key, a check or a NOT NULL.
#[derive(Clone, Debug)]
pub struct RowConstraint {
    pub table: QualifiedName,
    pub name: Name,
    /// False: old rows may break it.
    pub validated: bool,
    /// What rows must fulfil, as SQL; none of a foreign key.
    pub condition: Option<String>,
    /// The columns of the table's primary key, as SQL.
    pub key: Vec<String>,
}

/// Constraints of these tables, or those of them that are NOT VALID.
pub async fn row_constraints(client: &impl GenericClient, tables: &[String], validated_too: bool) -> Result<Vec<RowConstraint>> {
    let rows = client.query(include_str!("queries/row_constraints.sql"), &[&tables, &validated_too]).await;
    let constraint = |row: &Row| RowConstraint {
        table: QualifiedName::new(row.get::<_, &str>(0), row.get::<_, &str>(1)),
        name: Name::new(row.get::<_, &str>(2)),
        condition: row.get(3),
        key: row.get(4),
        validated: row.get(5),
    };
    Ok(rows.context("look for constraints that rows may break")?.iter().map(constraint).collect())
}

fn column(row: &Row, types: &Types) -> TargetColumn {
    let conversion = types.conversion(row.get(3), row.get(4));
    TargetColumn {
        name: Name::new(row.get::<_, &str>(1)),
        column_type: ColumnType { kind: conversion.kind, sql: row.get::<_, String>(2).into() },
        rounding: conversion.rounding,
        not_null: row.get(5),
        has_default: row.get(6),
        generated: row.get(7),
        sequence: row.get(8),
        is_virtual: row.get(9),
        unreadable: None,
    }
}
