//! Rows that break what their table promises: SQLite enforces foreign keys and checks only where it is told to.

use std::fmt;

use anyhow::{Context as _, Result};
use rusqlite::OptionalExtension as _;

use crate::model::Table;
use crate::sqlite::rows::{quote, rowid_name};
use crate::sqlite::snapshot::Reader;

/// Rows that are named.
const EXAMPLES: usize = 5;

/// A row of the table `c` by these of its columns, as text: the SQL of `id 5, part a`.
pub(super) struct KeyText(String);

impl KeyText {
    pub(super) fn of(key: &[String]) -> Self {
        let named: Vec<String> =
            key.iter().map(|name| format!("'{} ' || coalesce(c.{}, 'NULL')", name.replace('\'', "''"), quote(name))).collect();
        KeyText(if named.is_empty() { "''".to_string() } else { named.join(" || ', ' || ") })
    }
}

impl fmt::Display for KeyText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Reader<'_> {
    /// How many rows of `child` have no row in `parent` with the very same values, and the first five: `id 2 → 99`; without a
    /// key, the values alone.
    pub fn orphans(&self, child: &Table, columns: &[String], parent: &Table, parent_columns: &[String]) -> Result<(u64, Vec<String>)> {
        let not_null: Vec<String> = columns.iter().map(|column| format!("c.{} IS NOT NULL", quote(column))).collect();
        // Values that are one by the parent's collation are two in PostgreSQL; that they are one lets an index find them.
        let same = |(column, parent): (&String, &String)| {
            let (column, parent) = (quote(column), quote(parent));
            format!("p.{parent} = c.{column} AND p.{parent} COLLATE BINARY = c.{column}")
        };
        let joined: Vec<String> = columns.iter().zip(parent_columns).map(same).collect();
        let condition = format!(
            "{} AND NOT EXISTS (SELECT 1 FROM main.{} p WHERE {})",
            not_null.join(" AND "),
            quote(&parent.name),
            joined.join(" AND ")
        );
        let values: Vec<String> = columns.iter().map(|column| format!("c.{}", quote(column))).collect();
        let values = values.join(" || ', ' || ");
        match &child.primary_key {
            Some(key) => {
                self.rows_where(child, &condition, &format!("{} || ' → ' || {values}", KeyText::of(&named(child, &key.columns))), "")
            }
            // PostgreSQL knows such rows by nothing else: what is said of them is the same before and after.
            None => self.rows_where(child, &condition, &values, "DISTINCT"),
        }
    }

    /// How many rows of `table` make the expression false, and the first five; an error when SQLite cannot evaluate it here.
    pub fn breaking(&self, table: &Table, expression: &str) -> Result<(u64, Vec<String>)> {
        let key: Vec<String> = match &table.primary_key {
            Some(key) => named(table, &key.columns),
            None => rowid_name(table).iter().map(ToString::to_string).collect(),
        };
        self.rows_where(table, &format!("NOT ({expression})"), &KeyText::of(&key).to_string(), "")
    }

    /// Values of these columns that several rows hold, and how many, where there are such: what would break a key over them in PostgreSQL.
    pub fn twice(&self, table: &Table, columns: &[String]) -> Result<Option<(String, i64)>> {
        let columns: Vec<String> = columns.iter().map(|column| quote(column)).collect();
        let joined = |tail: &str, between: &str| columns.iter().map(|column| format!("{column}{tail}")).collect::<Vec<_>>().join(between);
        let sql = format!(
            "SELECT CAST({} AS TEXT), count(*) FROM main.{} WHERE {} GROUP BY {} HAVING count(*) > 1 LIMIT 1",
            joined("", " || ', ' || "),
            quote(&table.name),
            joined(" IS NOT NULL", " AND "),
            joined(" COLLATE BINARY", ", ")
        );
        let text = |row: &rusqlite::Row<'_>| {
            Ok((String::from_utf8_lossy(row.get_ref(0)?.as_bytes_or_null()?.unwrap_or_default()).into_owned(), row.get(1)?))
        };
        let first = self.connection().query_row(&sql, [], text).optional();
        first.with_context(|| format!("look for rows of {:?} that hold the same", table.name))
    }

    /// `text` is the SQL of a row; where each text is wanted once, they are sorted.
    fn rows_where(&self, table: &Table, condition: &str, text: &str, distinct: &str) -> Result<(u64, Vec<String>)> {
        let from = format!("FROM main.{} c WHERE {condition}", quote(&table.name));
        let context = || format!("look for rows of {:?} that break a constraint", table.name);
        let count: i64 = self.connection().query_row(&format!("SELECT count(*) {from}"), [], |row| row.get(0)).with_context(context)?;
        if count == 0 {
            return Ok((0, Vec::new()));
        }
        let order = if distinct.is_empty() { "" } else { "ORDER BY 1" };
        let sql = format!("SELECT {distinct} CAST({text} AS TEXT) COLLATE BINARY {from} {order} LIMIT {EXAMPLES}");
        let mut statement = self.connection().prepare(&sql).with_context(context)?;
        let rows = statement
            .query_map([], |row| Ok(String::from_utf8_lossy(row.get_ref(0)?.as_bytes_or_null()?.unwrap_or_default()).into_owned()))?;
        Ok((count.unsigned_abs(), rows.collect::<Result<_, _>>().with_context(context)?))
    }
}

fn named(table: &Table, columns: &[usize]) -> Vec<String> {
    columns.iter().map(|column| table.columns[*column].name.clone()).collect()
}
