//! What a comparison found.

use serde::Serialize;
use serde_json::{Map, Value as Json};

use crate::verify::{LeftOut, ObjectsReport};

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
    /// What the schemas say besides the rows; an object that is missing unsaid is a difference.
    pub fn with_objects(mut self, objects: ObjectsReport) -> Self {
        if !objects.is_good() {
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
    /// Rows of the target alone in a table whose own rows `--existing keep` has left.
    pub rows_kept: u64,
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
