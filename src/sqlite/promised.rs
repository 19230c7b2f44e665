//! What each table promises by SQLite's own account: its PRAGMAs alone, without a look at a CREATE statement and without the schema that plans are
//! made from. Who checks a plan must not go by what the plan went by. No PRAGMA tells of CHECKs.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use crate::sqlite::snapshot::Reader;

/// A key, a UNIQUE, an index or a foreign key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Promised {
    Index(PromisedIndex),
    ForeignKey { columns: Vec<String>, parent: String },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PromisedIndex {
    /// SQLite's name of it; that of the rowid's alias, which no index serves, is the column's.
    pub name: String,
    pub primary: bool,
    pub unique: bool,
    pub partial: bool,
    /// Each column's name, none for an expression, and the collation that it is compared by.
    pub columns: Vec<(Option<String>, String)>,
}

/// The definition of a thing in the file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Declared {
    /// The table or view that it belongs to; itself, if it is one.
    pub of: String,
    /// Of its CREATE statement.
    pub digest: String,
}

/// Every definition in a file by its sort and name, `index by_name`: what tells a later run that something has changed.
pub type Declarations = BTreeMap<String, Declared>;

impl Reader<'_> {
    /// How everything in the file is declared. Empty where the file does not say.
    pub fn declarations(&self) -> Declarations {
        let read = || -> rusqlite::Result<Declarations> {
            let sql = r"SELECT type || ' ' || name, tbl_name, sql FROM main.sqlite_schema
                        WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite\_%' ESCAPE '\'";
            let mut declared = self.connection().prepare(sql)?;
            let digest = |sql: String| format!("{:016x}", xxhash_rust::xxh3::xxh3_64(sql.as_bytes()));
            declared.query_map([], |row| Ok((row.get(0)?, Declared { of: row.get(1)?, digest: digest(row.get(2)?) })))?.collect()
        };
        read().unwrap_or_default()
    }

    /// The promises of one table.
    pub fn promised(&self, table: &str) -> Result<Vec<Promised>> {
        let read = || -> rusqlite::Result<Vec<Promised>> {
            let mut promised = Vec::new();
            for index in self.indexes_of(table)? {
                promised.push(Promised::Index(index));
            }
            let has_key = promised.iter().any(|promised| matches!(promised, Promised::Index(index) if index.primary));
            promised.extend(self.alias_of(table)?.filter(|_| !has_key).map(Promised::Index));
            promised.extend(self.foreign_keys_of(table)?);
            Ok(promised)
        };
        read().with_context(|| format!("ask SQLite what table {table:?} promises"))
    }

    fn indexes_of(&self, table: &str) -> rusqlite::Result<Vec<PromisedIndex>> {
        let mut listed =
            self.connection().prepare("SELECT name, origin = 'pk', \"unique\", partial FROM pragma_index_list(?1) ORDER BY seq DESC")?;
        let indexes = listed.query_map([table], |row| {
            Ok(PromisedIndex { name: row.get(0)?, primary: row.get(1)?, unique: row.get(2)?, partial: row.get(3)?, columns: Vec::new() })
        })?;
        let mut indexes = indexes.collect::<rusqlite::Result<Vec<_>>>()?;
        let mut columns = self.connection().prepare("SELECT name, coll FROM pragma_index_xinfo(?1) WHERE key = 1 ORDER BY seqno")?;
        for index in &mut indexes {
            index.columns = columns.query_map([&index.name], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<rusqlite::Result<_>>()?;
        }
        Ok(indexes)
    }

    /// The key that is the rowid itself.
    fn alias_of(&self, table: &str) -> rusqlite::Result<Option<PromisedIndex>> {
        let mut keys = self.connection().prepare("SELECT name FROM pragma_table_info(?1) WHERE pk > 0")?;
        let name = keys.query_map([table], |row| row.get::<_, String>(0))?.next().transpose()?;
        Ok(name.map(|name| {
            let columns = vec![(Some(name.clone()), "BINARY".to_string())];
            PromisedIndex { name, primary: true, unique: true, partial: false, columns }
        }))
    }

    fn foreign_keys_of(&self, table: &str) -> rusqlite::Result<Vec<Promised>> {
        let sql = "SELECT id, \"from\", \"table\" FROM pragma_foreign_key_list(?1) ORDER BY id, seq";
        let mut listed = self.connection().prepare(sql)?;
        let mut rows = listed.query([table])?;
        let mut keys: Vec<(i64, Vec<String>, String)> = Vec::new();
        while let Some(row) = rows.next()? {
            let (id, column): (i64, String) = (row.get(0)?, row.get(1)?);
            match keys.last_mut().filter(|(last, ..)| *last == id) {
                Some((_, columns, _)) => columns.push(column),
                None => keys.push((id, vec![column], row.get(2)?)),
            }
        }
        Ok(keys.into_iter().map(|(_, columns, parent)| Promised::ForeignKey { columns, parent }).collect())
    }
}
