//! The schema of a SQLite database, as the file says it.

use std::sync::Arc;

use crate::model::value::StorageClass;

/// Everything that `sqlite_schema` names. Tables stand in the order in which they were made.
#[derive(Clone, Debug, Default)]
pub struct Schema {
    pub tables: Vec<Table>,
    pub views: Vec<View>,
    pub triggers: Vec<Trigger>,
    /// `UTF-8`, `UTF-16le` or `UTF-16be`: how the file stores text; values arrive as UTF-8 whatever it is.
    pub encoding: String,
    /// Objects that could not be read (a broken view, a module this build does not know), with the reason.
    pub unreadable: Vec<(String, String)>,
}

#[derive(Clone, Debug)]
pub struct Table {
    pub name: String,
    pub kind: TableKind,
    /// Every column, hidden ones of virtual tables left out, generated ones included.
    /// Those of other tables that are alike are the same.
    pub columns: Vec<Arc<Column>>,
    pub primary_key: Option<PrimaryKey>,
    /// The column that is another name of the rowid (`INTEGER PRIMARY KEY`), as an index into `columns`.
    pub rowid_alias: Option<usize>,
    /// That column is none of SQLite's own: it is the rowid itself, by which other tables, views or triggers know the rows.
    pub rowid_added: bool,
    pub autoincrement: bool,
    pub without_rowid: bool,
    /// A foreign key references it, or a trigger fires for it.
    pub watched: bool,
    pub strict: bool,
    /// `sqlite_sequence.seq`: the largest rowid ever given out, where AUTOINCREMENT keeps it.
    pub sequence: Option<i64>,
    pub checks: Vec<Check>,
    pub foreign_keys: Vec<ForeignKey>,
    /// Every index, those behind UNIQUE and PRIMARY KEY included.
    pub indexes: Vec<Index>,
    /// The CREATE statement, as stored. Everything that a plan makes of it has the same text.
    pub sql: Arc<str>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TableKind {
    Ordinary,
    /// `CREATE VIRTUAL TABLE … USING module(arguments)`.
    Virtual {
        module: String,
        arguments: String,
    },
    /// A table that a virtual table keeps its own data in: not the user's data.
    Shadow {
        of: String,
    },
    /// A virtual table whose module refuses to give its rows.
    Unreadable,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Column {
    pub name: String,
    /// The declared type, as written; empty when there is none. Columns of one type share its text.
    pub declared: Arc<str>,
    pub affinity: Affinity,
    pub not_null: bool,
    /// The default, as SQL text.
    pub default: Option<String>,
    pub generated: Option<Box<Generated>>,
    pub collation: Collation,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Generated {
    /// The expression, as SQL text without the outer parentheses.
    pub expression: String,
    pub stored: bool,
    /// Why SQLite cannot compute the values here, where it would have to: a function that only the application has.
    pub unknown: Option<String>,
}

impl Column {
    /// Why the column has no values to read, where it has none.
    pub fn unreadable(&self) -> Option<&str> {
        self.generated.as_ref()?.unknown.as_deref()
    }
}

/// SQLite's column affinity: https://sqlite.org/datatype3.html section 3.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Affinity {
    Integer,
    Text,
    Blob,
    Real,
    Numeric,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Collation {
    Binary,
    NoCase,
    RTrim,
    /// One that the application registered; SQLite itself does not know it.
    Custom(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrimaryKey {
    /// The constraint's own name, if it was given one.
    pub name: Option<String>,
    /// Indexes into the table's columns, in key order.
    pub columns: Vec<usize>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    pub name: Option<String>,
    /// The expression, as SQL text without the outer parentheses.
    pub expression: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForeignKey {
    pub name: Option<String>,
    /// Names of the child's columns.
    pub columns: Vec<String>,
    pub parent: String,
    /// Names of the parent's columns; empty when the parent's primary key is meant.
    pub parent_columns: Vec<String>,
    pub on_update: ForeignKeyAction,
    pub on_delete: ForeignKeyAction,
    pub deferrable: bool,
    pub initially_deferred: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ForeignKeyAction {
    NoAction,
    Restrict,
    SetNull,
    SetDefault,
    Cascade,
}

#[derive(Clone, Debug)]
pub struct Index {
    pub name: String,
    pub unique: bool,
    pub origin: IndexOrigin,
    pub columns: Vec<IndexColumn>,
    /// The WHERE of a partial index, as SQL text.
    pub predicate: Option<String>,
    /// The CREATE INDEX statement; empty for those behind UNIQUE and PRIMARY KEY.
    pub sql: Arc<str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IndexOrigin {
    Create,
    Unique,
    PrimaryKey,
}

#[derive(Clone, Debug)]
pub struct IndexColumn {
    /// An index into the table's columns; none for an expression.
    pub column: Option<usize>,
    /// The expression as SQL text, when it is no plain column.
    pub expression: Option<String>,
    pub descending: bool,
    pub collation: Collation,
}

#[derive(Clone, Debug)]
pub struct View {
    pub name: String,
    pub sql: String,
}

#[derive(Clone, Debug)]
pub struct Trigger {
    pub name: String,
    pub table: String,
    pub sql: String,
}

impl Schema {
    /// SQLite compares names without regard to ASCII case.
    pub fn table(&self, name: &str) -> Option<&Table> {
        self.tables.iter().find(|table| table.name.eq_ignore_ascii_case(name))
    }
}

impl Table {
    pub fn column_index(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column.name.eq_ignore_ascii_case(name))
    }

    /// SQLite's own index behind the primary key, with the collations that the key compares by; an alias of the rowid has none.
    pub fn primary_key_index(&self) -> Option<&Index> {
        self.indexes.iter().find(|index| index.origin == IndexOrigin::PrimaryKey)
    }

    /// True for the tables whose rows are the user's data.
    pub fn has_data(&self) -> bool {
        !matches!(self.kind, TableKind::Shadow { .. } | TableKind::Unreadable)
    }
}

impl Affinity {
    /// The affinity of a declared type, by SQLite's own five rules, in their order.
    pub fn of(declared: &str) -> Self {
        let upper = declared.to_ascii_uppercase();
        if upper.contains("INT") {
            Affinity::Integer
        } else if upper.contains("CHAR") || upper.contains("CLOB") || upper.contains("TEXT") {
            Affinity::Text
        } else if upper.contains("BLOB") || upper.is_empty() {
            Affinity::Blob
        } else if upper.contains("REAL") || upper.contains("FLOA") || upper.contains("DOUB") {
            Affinity::Real
        } else {
            Affinity::Numeric
        }
    }

    /// The storage class that SQLite prefers for the affinity.
    pub fn preferred(self) -> StorageClass {
        match self {
            Affinity::Integer | Affinity::Numeric => StorageClass::Integer,
            Affinity::Text => StorageClass::Text,
            Affinity::Blob => StorageClass::Blob,
            Affinity::Real => StorageClass::Real,
        }
    }
}

impl ForeignKeyAction {
    pub fn as_sql(self) -> &'static str {
        match self {
            ForeignKeyAction::NoAction => "NO ACTION",
            ForeignKeyAction::Restrict => "RESTRICT",
            ForeignKeyAction::SetNull => "SET NULL",
            ForeignKeyAction::SetDefault => "SET DEFAULT",
            ForeignKeyAction::Cascade => "CASCADE",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn affinity_follows_the_five_rules() {
        for (declared, affinity) in [
            ("UNSIGNED BIG INT", Affinity::Integer),
            ("CHARINT", Affinity::Integer),
            ("FLOATING POINT", Affinity::Integer),
            ("nvarchar(30)", Affinity::Text),
            ("", Affinity::Blob),
            ("DOUBLE PRECISION", Affinity::Real),
            ("STRING", Affinity::Numeric),
            ("DATETIME", Affinity::Numeric),
        ] {
            assert_eq!(Affinity::of(declared), affinity, "{declared}");
        }
    }
}
