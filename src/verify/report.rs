//! What a comparison found.

use serde::Serialize;
use serde_json::{Map, Value as Json};

use crate::plan::{NOT_IN_TARGET, Severity, Warning, lacks};
use crate::verify::LeftOut;

#[derive(Clone, Debug, Serialize)]
pub struct VerifyReport {
    pub source: String,
    /// The target without its password.
    pub target: String,
    pub outcome: Outcome,
    pub seconds: f64,
    pub differences_total: u64,
    /// False: there are at least so many.
    pub differences_exact: bool,
    /// Somebody wrote to the source while it was read; one state of it was compared all the same.
    pub source_changed: bool,
    /// What could not be read, and so not be compared.
    pub notes: Vec<String>,
    /// What the runs were told to leave out.
    pub left_out: Vec<LeftOut>,
    pub tables: Vec<TableVerdict>,
    /// Only when it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schema_objects: Option<ObjectsReport>,
}

impl VerifyReport {
    /// What the schemas say besides the rows; an object that is missing unsaid is a difference, and under `strict` one that was added and restricts rows, and a
    /// constraint that is NOT VALID.
    pub fn with_objects(mut self, objects: ObjectsReport, strict: bool) -> Self {
        if !objects.is_good() || strict && (!objects.not_valid.is_empty() || objects.added.iter().any(|added| added.restricts)) {
            self.outcome = Outcome::Different;
        }
        self.schema_objects = Some(objects);
        self
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Identical,
    Different,
    /// Of a sample, or of what can be read: more cannot be said.
    NoDifferenceFound,
}

impl Outcome {
    pub fn as_str(self) -> &'static str {
        match self {
            Outcome::Identical => "identical",
            Outcome::Different => "different",
            Outcome::NoDifferenceFound => "no_difference_found",
        }
    }
}

#[derive(Clone, Debug, Default, Serialize)]
pub struct TableVerdict {
    pub source: String,
    /// Schema-qualified and quoted, as SQL; none for a table that no run has copied.
    pub target: Option<String>,
    /// None where there is no such table.
    pub source_rows: Option<u64>,
    pub target_rows: Option<u64>,
    /// Rows that have no exact form in the target's types, or stand in the rejects.
    pub rows_set_aside: u64,
    /// How many rows the rejects have; none where no folder of them is known.
    pub rows_in_rejects: Option<u64>,
    /// Rows of the target alone in a table whose own rows `--existing keep` has left.
    pub rows_kept: u64,
    /// Columns with values of which their types keep less, as the mapping lets them: compared as rounded.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rounded: Vec<RoundedColumn>,
    /// None when only a sample was compared, and agrees.
    pub identical: Option<bool>,
    pub source_digest: Option<String>,
    pub target_digest: Option<String>,
    pub differences_total: u64,
    pub differences_exact: bool,
    /// What no row can show: a table or a column that is not there.
    pub problems: Vec<String>,
    /// How many of the differences the problems stand for: no row is described for them.
    #[serde(skip)]
    pub told_by_problems: u64,
    pub differences: Vec<Difference>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RoundedColumn {
    /// By the source's name.
    pub column: String,
    pub values: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Difference {
    /// The key's columns by the source's names; every column in a table without a key.
    pub key: Map<String, Json>,
    pub kind: DifferenceKind,
    /// Which columns differ, in a row that is on both sides.
    pub columns: Vec<ColumnDifference>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DifferenceKind {
    /// In the source only.
    Missing,
    /// In the target only.
    Extra,
    Changed,
}

impl DifferenceKind {
    pub fn as_str(self) -> &'static str {
        match self {
            DifferenceKind::Missing => "missing",
            DifferenceKind::Extra => "extra",
            DifferenceKind::Changed => "changed",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ColumnDifference {
    pub column: String,
    /// Both as a person reads them; long ones cut to where they differ.
    pub source: Json,
    pub target: Json,
}

/// What a comparison of the schemas found.
#[derive(Clone, Debug, Default, Serialize)]
pub struct ObjectsReport {
    /// How many objects were looked for.
    pub compared: u64,
    pub missing: Vec<MissingObject>,
    pub wrong_next_values: Vec<WrongNextValue>,
    /// What the tables have that runs have made, and the source's schema does not promise.
    pub added: Vec<AddedObject>,
    /// Foreign keys and checks that are there, and NOT VALID: they hold for new rows, and what was there before may break them.
    pub not_valid: Vec<String>,
    /// Tables whose own schema has the source's in another form on purpose: a registry's.
    pub not_compared: Vec<String>,
    /// Triggers whose tables, which were there before, have others of their own that fire at other moments: whether one does this one's work cannot be said.
    pub triggers_not_compared: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MissingObject {
    pub kind: String,
    pub object: String,
    pub reason: String,
    /// migrate itself says that it has no place in PostgreSQL, or could not be made.
    pub declared: bool,
    /// There is one in its place, which does something else.
    pub differs: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AddedObject {
    pub kind: String,
    pub object: String,
    /// In PostgreSQL's words.
    pub definition: String,
    /// It may refuse rows that SQLite takes, or change them.
    pub restricts: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct WrongNextValue {
    pub table: String,
    pub column: String,
    pub expected: i64,
    pub actual: i64,
}

/// Why an object is not as it should be, and whether there is one in its place that does something else.
pub(super) type Lack = (String, bool);

impl ObjectsReport {
    /// Nothing is missing but what migrate has said.
    pub fn is_good(&self) -> bool {
        self.wrong_next_values.is_empty() && self.missing.iter().all(|missing| missing.declared)
    }

    pub(super) fn miss(&mut self, kind: &str, object: impl Into<String>, reason: impl Into<String>) {
        self.lack(kind, object, (reason.into(), false));
    }

    /// The same of what is there, and does something else.
    pub(super) fn differ(&mut self, kind: &str, object: impl Into<String>, reason: impl Into<String>) {
        self.lack(kind, object, (reason.into(), true));
    }

    pub(super) fn lack(&mut self, kind: &str, object: impl Into<String>, (reason, differs): Lack) {
        self.missing.push(MissingObject { kind: kind.into(), object: object.into(), reason, declared: false, differs });
    }

    /// Marks what migrate itself has said, and lists what else it has said.
    pub(super) fn declare<'a>(&mut self, said: impl Iterator<Item = &'a Warning>) {
        let (lacking, said): (Vec<&Warning>, Vec<&Warning>) = said.partition(|warning| warning.code == NOT_IN_TARGET);
        for warning in lacking {
            let is_it =
                |missing: &&mut MissingObject| missing.object == warning.object && warning.message.starts_with(&lacks(&missing.kind));
            self.missing.iter_mut().filter(is_it).for_each(|missing| missing.declared = true);
        }
        for warning in said.into_iter().filter(|warning| warning.severity == Severity::Loss) {
            let kind = warning.code.trim_end_matches("_missing").replace('_', " ");
            match self.missing.iter_mut().find(|missing| missing.kind == kind && missing.object == warning.object) {
                Some(missing) => missing.declared = true,
                None => {
                    let (object, reason) = (warning.object.clone(), warning.message.clone());
                    self.missing.push(MissingObject { kind, object, reason, declared: true, differs: false });
                }
            }
        }
    }
}
