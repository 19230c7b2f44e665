//! What is in PostgreSQL already, as far as a plan must know.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::model::{ColumnType, Name, QualifiedName};
use crate::plan::convert::Conversion;
use crate::plan::mapping::type_from_sql;
use crate::plan::rounding::Rounding;

/// The relations of the target schema.
#[derive(Clone, Debug, Default)]
pub struct TargetSchema {
    pub exists: bool,
    /// PostgreSQL's `server_version_num`, such as 150018.
    pub server_version: u32,
    pub tables: Vec<TargetTable>,
    /// Names of views, sequences, indexes and other relations, which a new object must not take.
    pub other_relations: Vec<Name>,
    /// Those of them that are views.
    pub views: Vec<Name>,
    /// Functions without arguments, as those of triggers are.
    pub functions: Vec<Name>,
    /// What the types are that a mapping names and only the server knows, by those names: domains are their base types.
    pub named: HashMap<String, Conversion>,
}

#[derive(Clone, Debug)]
pub struct TargetTable {
    pub name: QualifiedName,
    pub columns: Vec<TargetColumn>,
    pub has_rows: bool,
    /// The rows are those of an earlier run, which `--replace` may redo.
    pub replaceable: bool,
    /// Constraints, secondary indexes and triggers that can be taken away for the copy and put back after it.
    pub rebuildable: Vec<Rebuildable>,
    /// When its triggers fire: `AFTER INSERT`.
    pub fires: Vec<String>,
    /// Tables that reference it, each with the foreign key.
    pub referenced_by: Vec<(QualifiedName, Name)>,
}

#[derive(Clone, Debug)]
pub struct TargetColumn {
    pub name: Name,
    pub column_type: ColumnType,
    pub rounding: Option<Rounding>,
    pub not_null: bool,
    pub has_default: bool,
    /// Identity, or a default that draws from a sequence of its own.
    pub sequence: bool,
    pub generated: bool,
    /// It is computed whenever it is read, and may fail then.
    pub is_virtual: bool,
    /// Why PostgreSQL cannot read all of its values; none where it can, or was not asked.
    pub unreadable: Option<String>,
}

/// A constraint, index or trigger with what puts it back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rebuildable {
    pub kind: RebuildKind,
    pub name: Name,
    /// For a constraint what follows ADD CONSTRAINT name; for an index the whole CREATE INDEX statement; for a trigger its state: `ENABLE`,
    /// `ENABLE ALWAYS`.
    pub definition: String,
    /// False for a foreign key that was NOT VALID.
    pub valid: bool,
    /// What COMMENT ON says of a foreign key.
    #[serde(default)]
    pub comment: Option<String>,
    /// The partition that it is on, where that alone has it, and not the whole table.
    #[serde(default)]
    pub partition: Option<QualifiedName>,
    /// Of an index, the columns whose values may be long; none of one that computes, and may fail at any row.
    #[serde(default)]
    pub long: Option<Vec<Name>>,
    /// Of a foreign key, those of its own triggers that do not fire as they do from the start, as the catalog's query writes them:
    /// `D RI_FKey_check_ins "s"."t"`, where D is `pg_trigger.tgenabled`.
    #[serde(default)]
    pub switched: Option<Vec<String>>,
}

impl Rebuildable {
    /// What it is on, of this table.
    pub fn on<'a>(&'a self, table: &'a QualifiedName) -> &'a QualifiedName {
        self.partition.as_ref().unwrap_or(table)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RebuildKind {
    Index,
    ForeignKey,
    /// Silenced, not dropped.
    Trigger,
}

impl RebuildKind {
    /// The journal's and the catalog query's word.
    pub fn as_str(self) -> &'static str {
        match self {
            RebuildKind::Index => "index",
            RebuildKind::ForeignKey => "foreign key",
            RebuildKind::Trigger => "trigger",
        }
    }

    pub fn of(word: &str) -> Self {
        match word {
            "index" => RebuildKind::Index,
            "trigger" => RebuildKind::Trigger,
            _ => RebuildKind::ForeignKey,
        }
    }
}

impl TargetSchema {
    /// A type that a mapping names.
    pub fn type_named(&self, sql: &str) -> ColumnType {
        let known = type_from_sql(sql);
        match self.named.get(sql) {
            Some(named) => ColumnType { kind: named.kind.clone(), ..known },
            None => known,
        }
    }

    /// Finds the table that `wanted` means; see [`Lookup::find`].
    pub fn find(&self, wanted: &str) -> Option<&TargetTable> {
        Lookup::of(self.tables.iter().map(|table| table.name.name.as_str())).find(wanted).map(|place| &self.tables[place])
    }
}

impl TargetTable {
    /// The columns, to be found by the same rules as a table.
    pub fn lookup(&self) -> Lookup {
        Lookup::of(self.columns.iter().map(|column| column.name.as_str()))
    }

    pub fn find(&self, wanted: &str) -> Option<&TargetColumn> {
        self.lookup().find(wanted).map(|place| &self.columns[place])
    }
}

/// Names, to be found as a person means them. Each rule knows the place of a name, or that several are the same by it.
#[derive(Debug, Default)]
pub struct Lookup {
    exact: HashMap<String, usize>,
    /// Without regard to case.
    lower: HashMap<String, Option<usize>>,
    /// Without regard to case and to what is no letter or digit: `userName`, `user_name`.
    folded: HashMap<String, Option<usize>>,
}

impl Lookup {
    pub fn of<'a>(names: impl Iterator<Item = &'a str>) -> Self {
        let mut lookup = Lookup::default();
        for (place, name) in names.enumerate() {
            lookup.exact.insert(name.to_string(), place);
            for (known, key) in [(&mut lookup.lower, name.to_lowercase()), (&mut lookup.folded, fold(name))] {
                known.entry(key).and_modify(|other| *other = None).or_insert(Some(place));
            }
        }
        lookup
    }

    /// The place of this very name.
    pub fn exactly(&self, wanted: &str) -> Option<usize> {
        self.exact.get(wanted).copied()
    }

    /// The place of the exact name, else of the only one that is the same without regard to case, else of the only one that is the same in its
    /// letters and digits. Two candidates are no answer.
    pub fn find(&self, wanted: &str) -> Option<usize> {
        let alike = || self.lower.get(&wanted.to_lowercase()).copied();
        let folded = || Some(fold(wanted)).filter(|folded| !folded.is_empty()).and_then(|folded| self.folded.get(&folded).copied());
        self.exact.get(wanted).copied().or_else(|| alike().or_else(folded).flatten())
    }
}

fn fold(name: &str) -> String {
    name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_match_exactly_first_and_never_by_a_guess() {
        let find = |wanted: &str, names: &[&str]| Lookup::of(names.iter().copied()).find(wanted);
        assert_eq!(find("Users", &["users", "Users"]), Some(1));
        assert_eq!(find("UserName", &["username"]), Some(0));
        assert_eq!(find("UserName", &["user_name"]), Some(0));
        assert_eq!(find("userName", &["user_name", "user-name"]), None);
        assert_eq!(find("orders", &["users"]), None);
    }
}
