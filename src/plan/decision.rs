//! The plan itself: everything that will be done, before any of it is.

use std::borrow::Cow;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use crate::model::{ColumnType, Interner, Name, QualifiedName};
use crate::plan::convert::Conversion;
use crate::plan::profile::RowRange;
use crate::plan::target::Rebuildable;

/// What `migrate` will do, in the order in which it does it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Plan {
    pub schema: String,
    /// `CREATE SCHEMA` is part of the work.
    pub create_schema: bool,
    #[serde(deserialize_with = "interned_tables")]
    pub tables: Vec<TablePlan>,
    /// Tables of the source that are not wanted.
    #[serde(default)]
    pub left_out: Vec<String>,
    /// Keys, indexes, constraints, views and triggers, in the order in which they can be made.
    pub objects: Vec<ObjectPlan>,
    pub warnings: Vec<Warning>,
    /// Objects that have no exact form in PostgreSQL, for `todo.sql`.
    pub todo: Vec<Todo>,
    /// What makes the work impossible; all of it at once. A plan that is carried out has none.
    #[serde(skip)]
    pub problems: Vec<Problem>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TablePlan {
    /// The table's place in `Schema::tables`.
    pub source_index: usize,
    pub source: String,
    pub target: QualifiedName,
    /// None when the table exists already.
    pub create: Option<CreateTable>,
    /// Columns of SQLite without a place in a table that exists: added with their derived type.
    pub added_columns: Vec<(Name, ColumnType)>,
    /// What is copied, column by column. Columns of other tables that are alike are the same, here and in `create`.
    pub columns: Vec<Arc<ColumnPlan>>,
    pub rows: u64,
    pub bytes: u64,
    pub ranges: Vec<RowRange>,
    pub sequence: Option<SequencePlan>,
    /// The table held rows before the run.
    pub had_rows: bool,
    /// How many, where they stay among those of the source.
    #[serde(default)]
    pub kept_rows: Option<u64>,
    /// `--existing truncate`
    pub truncate: bool,
    /// Taken away before the copy and put back after it.
    pub rebuild: Vec<Rebuildable>,
    /// Only the table, not its rows (`--exclude-data`).
    pub without_data: bool,
    /// Columns of the source that the mapping leaves out.
    #[serde(default)]
    pub left_out: Vec<String>,
}

/// The parts of a CREATE TABLE statement, so that a part that PostgreSQL refuses can be left out.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CreateTable {
    pub columns: Vec<Arc<CreateColumn>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct CreateColumn {
    pub name: Name,
    /// The place of the column in `Table::columns`.
    pub source_index: usize,
    pub column_type: ColumnType,
    /// `COLLATE "C"`
    pub collate_c: bool,
    pub not_null: bool,
    pub identity: bool,
    /// What the identity's sequence is called, where the name that PostgreSQL would give it is another object's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sequence: Option<Name>,
    pub default: Option<String>,
    pub generated: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ColumnPlan {
    /// The column's place in `Table::columns`.
    pub source_index: usize,
    pub source: String,
    pub declared: Arc<str>,
    pub target: Name,
    pub column_type: ColumnType,
    pub conversion: Conversion,
    /// PostgreSQL computes the values; they are compared, not copied.
    pub computed: bool,
    /// None where the declared type was honoured as it stands: of thousands of tables that is nearly every column.
    #[serde(default)]
    pub why: Option<Box<Why>>,
}

/// The columns of all tables so far: those that are alike become the same.
#[derive(Default)]
pub struct ColumnInterner {
    copied: Interner<ColumnPlan>,
    created: Interner<CreateColumn>,
}

impl ColumnInterner {
    pub fn take_in(&mut self, table: &mut TablePlan) {
        table.columns.iter_mut().for_each(|column| *column = self.copied.intern(Arc::clone(column)));
        let created = table.create.iter_mut().flat_map(|create| &mut create.columns);
        created.for_each(|column| *column = self.created.intern(Arc::clone(column)));
    }
}

/// The tables of a plan in the journal.
fn interned_tables<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<TablePlan>, D::Error> {
    struct Tables(ColumnInterner);
    impl<'de> Visitor<'de> for Tables {
        type Value = Vec<TablePlan>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("tables")
        }

        fn visit_seq<A: SeqAccess<'de>>(mut self, mut all: A) -> Result<Vec<TablePlan>, A::Error> {
            let mut tables = Vec::new();
            while let Some(mut table) = all.next_element()? {
                self.0.take_in(&mut table);
                tables.push(table);
            }
            Ok(tables)
        }
    }
    from.deserialize_seq(Tables(ColumnInterner::default()))
}

/// Why a column has its type.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Why {
    pub reason: String,
    /// Rows that show it (rowids, or ordinals in a table without).
    pub examples: Vec<i64>,
    pub hint: Option<String>,
}

impl Why {
    pub fn new(reason: String, examples: Vec<i64>, hint: Option<String>) -> Option<Box<Self>> {
        let says_something = !reason.is_empty() || !examples.is_empty() || hint.is_some();
        says_something.then(|| Box::new(Why { reason, examples, hint }))
    }
}

/// The next value of an identity or serial column, as SQLite would give it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SequencePlan {
    pub column: Name,
    /// The largest id that was ever given out; none when there never was one.
    pub last: Option<i64>,
}

impl SequencePlan {
    /// The id that SQLite would give to the next row.
    pub fn next(&self) -> i64 {
        self.last.map_or(1, |last| last.saturating_add(1))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ObjectKind {
    PrimaryKey,
    Unique,
    Index,
    Check,
    ForeignKey,
    View,
    Trigger,
    Default,
    Generated,
    NotNull,
    Sequence,
    Table,
    Column,
    Collation,
}

impl ObjectKind {
    pub const ALL: [ObjectKind; 14] = [
        ObjectKind::PrimaryKey,
        ObjectKind::Unique,
        ObjectKind::Index,
        ObjectKind::Check,
        ObjectKind::ForeignKey,
        ObjectKind::View,
        ObjectKind::Trigger,
        ObjectKind::Default,
        ObjectKind::Generated,
        ObjectKind::NotNull,
        ObjectKind::Sequence,
        ObjectKind::Table,
        ObjectKind::Column,
        ObjectKind::Collation,
    ];

    /// The word for a person.
    pub fn as_str(self) -> &'static str {
        match self {
            ObjectKind::PrimaryKey => "primary key",
            ObjectKind::Unique => "unique",
            ObjectKind::Index => "index",
            ObjectKind::Check => "check",
            ObjectKind::ForeignKey => "foreign key",
            ObjectKind::View => "view",
            ObjectKind::Trigger => "trigger",
            ObjectKind::Default => "default",
            ObjectKind::Generated => "generated column",
            ObjectKind::NotNull => "not null",
            ObjectKind::Sequence => "sequence",
            ObjectKind::Table => "table",
            ObjectKind::Column => "column",
            ObjectKind::Collation => "collation",
        }
    }

    /// The class of losses that `--allow` names.
    pub fn allow_class(self) -> &'static str {
        match self {
            ObjectKind::PrimaryKey => "primary-keys",
            ObjectKind::Unique => "uniques",
            ObjectKind::Index => "indexes",
            ObjectKind::Check => "checks",
            ObjectKind::ForeignKey => "foreign-keys",
            ObjectKind::View => "views",
            ObjectKind::Trigger => "triggers",
            ObjectKind::Default => "defaults",
            ObjectKind::Generated => "generated",
            ObjectKind::NotNull => "not-nulls",
            ObjectKind::Sequence => "sequences",
            ObjectKind::Table => "tables",
            ObjectKind::Column => "columns",
            ObjectKind::Collation => "collations",
        }
    }
}

/// One object that is made after the rows are there. There may be thousands: what few have is elsewhere.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ObjectPlan {
    pub kind: ObjectKind,
    /// The table plan that it belongs to; views have none.
    pub table: Option<usize>,
    /// For a foreign key: the table plan of the parent.
    pub parent: Option<usize>,
    pub name: Name,
    /// For a person: `users.email`, `view active_users`.
    pub label: String,
    /// Statements that make it, run in order; the last one may be a VALIDATE that data can fail.
    pub statements: Vec<String>,
    /// The rows that break the constraint, for when the last statement fails.
    pub offenders: Option<Box<Offenders>>,
    /// What SQLite said, for `todo.sql`.
    pub original: Arc<str>,
    /// The statements of a view over temporary tables and views of the same names, for a try.
    #[serde(skip)]
    pub tried: Vec<String>,
    /// What a foreign key joins, for a try.
    #[serde(skip)]
    pub joins: Option<Box<Joins>>,
    /// What becomes of it in a case that only the rows and the server can tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub otherwise: Option<Box<Otherwise>>,
}

impl ObjectPlan {
    /// Its place in `todo.sql`, where it is not made.
    pub fn todo(&self, reason: String) -> Todo {
        Todo { kind: self.kind, object: self.label.clone(), reason, original: self.original.to_string() }
    }
}

/// A foreign key's parent, and its columns, each with the one that it references.
#[derive(Clone, Debug)]
pub struct Joins {
    pub parent: QualifiedName,
    pub columns: Vec<(Name, Name)>,
}

/// The other form of an object.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Otherwise {
    pub case: Case,
    /// None when it is not made then.
    pub statements: Vec<String>,
    /// What is said of it.
    pub warning: Warning,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Case {
    /// PostgreSQL refuses the first form of a key or an index, because a value has no room in it.
    NoRoom {
        /// The column's name in SQLite.
        column: String,
    },
    /// One of these keys, places among the plan's objects, has its other form.
    Keys(Vec<usize>),
}

/// How the rows that break a constraint are found.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Offenders {
    /// Rows without a parent: the catalog knows the columns.
    Orphans,
    /// A query for their number, and one that gives a text for each of the first.
    Broken { count: String, list: String },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing; nothing is lost.
    Note,
    /// The object is there, in a weaker form (NOT VALID, UNIQUE for a primary key).
    Weaker,
    /// Something is not in PostgreSQL.
    Loss,
}

/// The class of what could not be read of the source.
pub const DAMAGE: &str = "damage";

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Warning {
    pub severity: Severity,
    /// Stable, for programs.
    pub code: String,
    pub object: String,
    pub message: String,
    /// The class that `--allow` accepts it by; a note needs none.
    #[serde(default, skip_serializing_if = "str::is_empty")]
    pub class: Cow<'static, str>,
}

/// The code of what the source promises of a table and the table's own schema does not keep.
pub const NOT_IN_TARGET: &str = "object_not_in_target";

/// How the reason ends where nothing gives the ids of a column that SQLite promises to number.
pub const NUMBERED: &str = ", which is AUTOINCREMENT";

/// How the message of such a warning begins.
pub fn lacks(kind: &str) -> String {
    format!("has no {kind}")
}

impl Warning {
    pub fn note(code: &str, object: impl Into<String>, message: impl Into<String>) -> Self {
        Warning { severity: Severity::Note, code: code.into(), object: object.into(), message: message.into(), class: Cow::Borrowed("") }
    }

    pub fn weaker(code: &str, object: impl Into<String>, message: impl Into<String>) -> Self {
        Warning { severity: Severity::Weaker, ..Warning::note(code, object, message) }
    }

    /// About what is made after the rows are there.
    pub fn is_of_post_data(&self) -> bool {
        use ObjectKind::{Check, ForeignKey, Index, PrimaryKey, Trigger, Unique, View};
        [PrimaryKey, Unique, Index, Check, ForeignKey, View, Trigger].iter().any(|kind| kind.allow_class() == self.class)
    }

    /// Something of the source that cannot be read. No `--allow` accepts it: half a copy must not look whole.
    pub fn damage(object: impl Into<String>, message: impl Into<String>) -> Self {
        Warning { severity: Severity::Loss, class: DAMAGE.into(), ..Warning::note("source_damaged", object, message) }
    }

    pub fn loss(kind: ObjectKind, object: impl Into<String>, message: impl Into<String>) -> Self {
        Warning {
            severity: Severity::Loss,
            class: Cow::Borrowed(kind.allow_class()),
            ..Warning::note(&format!("{}_missing", kind.as_str().replace(' ', "_")), object, message)
        }
    }
}

/// An object for `todo.sql`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Todo {
    pub kind: ObjectKind,
    pub object: String,
    pub reason: String,
    pub original: String,
}

/// Something that makes the whole plan impossible.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub code: &'static str,
    pub message: String,
    pub hint: String,
}

/// How one table was copied, kept in the journal so that `verify` and `--resume` know it without asking again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CopyMap {
    pub source: String,
    pub schema: String,
    pub target: String,
    pub columns: Vec<CopyColumn>,
    /// Columns of the source that the run was told to leave out; any other that is not among `columns` came into the source later.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<String>,
    /// The run was told to bring the table without its rows.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub without_data: bool,
    /// The table had rows of its own, which `--existing keep` has left among those of the source.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub kept: bool,
    /// How many those were when the run began; None where no run has counted them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept_rows: Option<u64>,
    /// How many rows the runs have set aside and not brought since, as the journal tells; None where it does not.
    #[serde(skip)]
    pub set_aside: Option<u64>,
    /// The folder in which those are.
    #[serde(skip)]
    pub rejects: Option<PathBuf>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CopyColumn {
    pub source: String,
    pub target: String,
    pub sql_type: String,
    pub conversion: Conversion,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub computed: bool,
}

impl CopyColumn {
    /// A part of a value, as if it were a column of its own.
    pub fn of_part(conversion: &Conversion) -> Self {
        CopyColumn {
            source: String::new(),
            target: String::new(),
            sql_type: String::new(),
            conversion: conversion.clone(),
            computed: false,
        }
    }
}

impl TablePlan {
    /// True when the source's rows come to rows that were there before.
    pub fn keeps_rows(&self) -> bool {
        self.had_rows && !self.truncate && !self.without_data
    }

    pub fn copy_map(&self) -> CopyMap {
        let column = |column: &Arc<ColumnPlan>| CopyColumn {
            source: column.source.clone(),
            target: column.target.as_str().to_string(),
            sql_type: column.column_type.sql.to_string(),
            conversion: column.conversion.clone(),
            computed: column.computed,
        };
        CopyMap {
            source: self.source.clone(),
            schema: self.target.schema.as_str().to_string(),
            target: self.target.name.as_str().to_string(),
            columns: self.columns.iter().map(column).collect(),
            left_out: self.left_out.clone(),
            without_data: self.without_data,
            kept: self.keeps_rows(),
            kept_rows: self.kept_rows,
            set_aside: None,
            rejects: None,
        }
    }
}
