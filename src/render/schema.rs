//! What `candlefish schema` answers: statuses, what was applied, views refreshed.

use std::time::Duration;

use anyhow::Result;
use serde::Serialize;
use serde_json::{Value, json};

use crate::model::{AppliedMigration, MigrationState, MigrationStatus, Name, RefreshedView};
use crate::plan::Warning;
use crate::render::{Format, Table, Ui, csv, units};

/// What the documents of `schema` have in common.
#[derive(Clone, Debug)]
pub struct SchemaReport {
    /// RFC 3339.
    pub started_at: String,
    pub schema: Name,
}

/// Files that were written, and what of the schema is not in them or not as it was.
pub fn generated(ui: &Ui, started_at: &str, files: &[String], warnings: &[Warning]) -> Result<()> {
    match ui.format {
        Format::Json => ui.print_json(&json!({
            "schema_version": 1,
            "candlefish_version": env!("CARGO_PKG_VERSION"),
            "started_at": started_at,
            "files": files,
            "warnings": warnings,
        })),
        Format::Csv => ui.print(&csv(&["file"], files.iter().map(|file| [file.clone()]))),
        Format::Table => {
            let files: String = files.iter().map(|file| format!("{file}\n")).collect();
            let warnings = crate::render::migrate::warnings(warnings);
            ui.print(&if warnings.is_empty() { files } else { format!("{files}\n{warnings}") })
        }
    }
}

impl SchemaReport {
    /// Every migration and its state.
    pub fn status(&self, ui: &Ui, statuses: &[MigrationStatus]) -> Result<()> {
        let up_to_date = statuses.iter().all(|status| status.state == MigrationState::Applied);
        let header = ["section", "migration", "state", "applied_on", "reason"];
        let rows = statuses.iter().map(|status| {
            let text = |text: &Option<String>| text.clone().unwrap_or_default();
            [
                status.section.as_str().to_string(),
                migration(status.version, &status.name),
                status.state.as_str().to_string(),
                text(&status.applied_on),
                text(&status.reason),
            ]
        });
        self.print(ui, &header, &[], rows, json!({ "up_to_date": up_to_date, "migrations": statuses }))
    }

    /// What would be applied.
    pub fn planned(&self, ui: &Ui, pending: &[&MigrationStatus]) -> Result<()> {
        let rows = pending.iter().map(|status| [status.section.as_str().to_string(), migration(status.version, &status.name)]);
        self.print(ui, &["section", "migration"], &[], rows, json!({ "outcome": "planned", "pending": pending }))
    }

    /// What was applied.
    pub fn applied(&self, ui: &Ui, applied: &[AppliedMigration]) -> Result<()> {
        let rows = applied
            .iter()
            .map(|applied| [applied.section.as_str().to_string(), migration(applied.version, &applied.name), seconds(ui, applied.seconds)]);
        let outcome = if applied.is_empty() { "up_to_date" } else { "applied" };
        self.print(ui, &["section", "migration", time_header(ui)], &[2], rows, json!({ "outcome": outcome, "applied": applied }))
    }

    pub fn refreshed(&self, ui: &Ui, views: &[RefreshedView]) -> Result<()> {
        let rows = views.iter().map(|view| {
            let concurrently = if view.concurrently { "yes" } else { "no" };
            [view.view.clone(), concurrently.to_string(), seconds(ui, view.seconds), view.reason.clone().unwrap_or_default()]
        });
        self.print(ui, &["view", "concurrently", time_header(ui), "reason"], &[2], rows, json!({ "views": views }))
    }

    fn print<const N: usize>(
        &self,
        ui: &Ui,
        header: &[&str],
        right: &[usize],
        rows: impl Iterator<Item = [String; N]>,
        answer: Value,
    ) -> Result<()> {
        match ui.format {
            Format::Json => ui.print_json(&Document {
                schema_version: 1,
                candlefish_version: env!("CARGO_PKG_VERSION"),
                started_at: &self.started_at,
                schema: self.schema.as_str(),
                answer,
            }),
            Format::Csv => ui.print(&csv(header, rows)),
            Format::Table => {
                let mut table = right.iter().fold(Table::new(header), |table, column| table.right(*column));
                rows.for_each(|row| table.push(row));
                // Nothing to list is said on stderr; a header alone says nothing.
                if table.is_empty() { Ok(()) } else { table.print(ui) }
            }
        }
    }
}

#[derive(Serialize)]
struct Document<'a> {
    schema_version: u32,
    candlefish_version: &'static str,
    started_at: &'a str,
    /// The target schema's name, bare.
    schema: &'a str,
    #[serde(flatten)]
    answer: Value,
}

fn migration(version: i32, name: &str) -> String {
    format!("V{version}__{name}")
}

fn time_header(ui: &Ui) -> &'static str {
    if ui.format == Format::Csv { "seconds" } else { "time" }
}

/// For people with a unit that fits, for programs in seconds.
fn seconds(ui: &Ui, seconds: f64) -> String {
    if ui.format == Format::Csv { format!("{seconds:.6}") } else { units::duration(Duration::from_secs_f64(seconds.max(0.0))) }
}
