//! What is known of a schema's migrations: the words of `candlefish schema`.

use serde::Serialize;

/// When a migration runs: before the data is copied, or after it. Each section has a history of its own, so that a new table
/// can follow a shipped index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Section {
    Schema,
    Indexes,
}

impl Section {
    pub const ALL: [Section; 2] = [Section::Schema, Section::Indexes];

    /// The name of its folder.
    pub fn as_str(self) -> &'static str {
        match self {
            Section::Schema => "schema",
            Section::Indexes => "indexes",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum MigrationState {
    Applied,
    /// Has a file, and will run.
    Pending,
    /// Applied from a file that said something else than today's.
    Divergent,
    /// In the history without a file, or a file that came too late to run in its place.
    Missing,
}

impl MigrationState {
    pub fn as_str(self) -> &'static str {
        match self {
            MigrationState::Applied => "applied",
            MigrationState::Pending => "pending",
            MigrationState::Divergent => "divergent",
            MigrationState::Missing => "missing",
        }
    }
}

/// One migration, as the files and the history see it together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MigrationStatus {
    pub section: Section,
    pub version: i32,
    pub name: String,
    pub state: MigrationState,
    /// RFC 3339, UTC.
    pub applied_on: Option<String>,
    /// Why it is divergent or missing.
    pub reason: Option<String>,
}

/// One migration that this run applied.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AppliedMigration {
    pub section: Section,
    pub version: i32,
    pub name: String,
    pub seconds: f64,
}

/// One materialized view, brought up to date.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RefreshedView {
    /// Schema-qualified and quoted, as SQL.
    pub view: String,
    /// False: readers had to wait.
    pub concurrently: bool,
    pub seconds: f64,
    /// Why not concurrently.
    pub reason: Option<String>,
}
