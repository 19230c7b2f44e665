//! What is in PostgreSQL already, as far as a plan must know.

use serde::{Deserialize, Serialize};

use crate::model::{ColumnType, Name, QualifiedName};

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
}

#[derive(Clone, Debug)]
pub struct TargetColumn {
    pub name: Name,
    pub column_type: ColumnType,
    pub not_null: bool,
    pub has_default: bool,
    /// Identity, or a default that draws from a sequence of its own.
    pub sequence: bool,
    pub generated: bool,
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
    /// Finds the table that `wanted` means: the exact name, else the only one that is the same without regard to case, else without
    /// regard to case and to what is no letter or digit (`userName`, `user_name`).
    pub fn find(&self, wanted: &str) -> Option<&TargetTable> {
        let names: Vec<&str> = self.tables.iter().map(|table| table.name.name.as_str()).collect();
        best_match(wanted, &names).map(|index| &self.tables[index])
    }
}

impl TargetTable {
    /// Finds a column by the same rules as a table.
    pub fn find(&self, wanted: &str) -> Option<&TargetColumn> {
        let names: Vec<&str> = self.columns.iter().map(|column| column.name.as_str()).collect();
        best_match(wanted, &names).map(|index| &self.columns[index])
    }
}

fn best_match(wanted: &str, names: &[&str]) -> Option<usize> {
    let fold = |name: &str| name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect::<String>();
    let rules: [&dyn Fn(&str) -> bool; 3] = [&|name| name == wanted, &|name| name.to_lowercase() == wanted.to_lowercase(), &|name| {
        !fold(name).is_empty() && fold(name) == fold(wanted)
    }];
    for rule in rules {
        let mut matching = names.iter().enumerate().filter(|(_, name)| rule(name));
        if let Some((index, _)) = matching.next() {
            // Two candidates are no answer.
            return matching.next().is_none().then_some(index);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_match_exactly_first_and_never_by_a_guess() {
        let find = |wanted: &str, names: &[&str]| best_match(wanted, names);
        assert_eq!(find("Users", &["users", "Users"]), Some(1));
        assert_eq!(find("UserName", &["username"]), Some(0));
        assert_eq!(find("UserName", &["user_name"]), Some(0));
        assert_eq!(find("userName", &["user_name", "user-name"]), None);
        assert_eq!(find("orders", &["users"]), None);
    }
}
