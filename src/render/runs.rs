//! What `candlefish runs` answers: each run, how far it has come, and the line that goes on with it.

use anyhow::Result;
use serde_json::{Value as Json, json};

use crate::migrate::{RowChanges, RunSummary};
use crate::render::{Format, Table, Ui, csv, units};

const HEADER: [&str; 9] = ["run", "source", "schema", "state", "phase", "rows", "done", "eta", "started"];
const CSV_HEADER: [&str; 12] = [
    "run_id",
    "source",
    "schema",
    "state",
    "phase",
    "rows_written",
    "rows_rejected",
    "rows_total",
    "eta_seconds",
    "started_at",
    "finished_at",
    "resume",
];

/// Prints the runs; `tick` for one answer of many, which as JSON is one line.
pub fn runs(ui: &Ui, runs: &[RunSummary], folder: &str, tick: bool) -> Result<()> {
    match ui.format {
        Format::Json => {
            let document = json!({
                "schema_version": 1,
                "candlefish_version": env!("CARGO_PKG_VERSION"),
                "started_at": ui.started_at,
                "runs": runs.iter().map(document).collect::<Vec<_>>(),
            });
            if tick { ui.print(&serde_json::to_string(&document)?) } else { ui.print_json(&document) }
        }
        Format::Csv => ui.print(&csv(&CSV_HEADER, runs.iter().map(csv_row))),
        Format::Table => ui.print(&table(runs, folder)),
    }
}

fn table(runs: &[RunSummary], folder: &str) -> String {
    if runs.is_empty() {
        return "no run of migrate is in this database's journal\n".to_string();
    }
    let mut rows = Table::new(&HEADER).right(5).right(6).right(7);
    for run in runs {
        rows.push([
            run.run_id.clone(),
            or_dash(run.source.as_ref()),
            or_dash(run.target_schema.as_ref()),
            run.state.as_str().to_string(),
            or_dash(run.phase.as_ref()),
            match run.changes {
                Some(RowChanges { inserted, updated, deleted }) => {
                    format!("{} in, {} changed, {} out", units::count(inserted), units::count(updated), units::count(deleted))
                }
                None => format!("{} of {}", units::count(run.rows_written + run.rows_rejected), units::count(run.rows_total)),
            },
            run.share.map_or_else(|| "-".into(), units::percent),
            run.eta_seconds.map_or_else(|| "-".into(), units::seconds),
            moment(run.started_at),
        ]);
    }
    let mut text = rows.text();
    for run in runs.iter().filter(|run| run.resume.is_some() || run.error.is_some()) {
        text.push('\n');
        if let Some(error) = &run.error {
            text.push_str(&format!("{} failed: {}\n", run.run_id, crate::render::visible(error)));
        }
        if let Some(line) = resume(run, folder) {
            text.push_str(&format!("{} goes on with: {line}\n", run.run_id));
        }
    }
    text
}

fn or_dash(text: Option<&String>) -> String {
    text.cloned().unwrap_or_else(|| "-".into())
}

/// The line as it must be said in `folder`.
fn resume(run: &RunSummary, folder: &str) -> Option<String> {
    let line = run.resume.as_ref()?;
    Some(match run.folder.as_deref() {
        Some(other) if other != folder => format!("cd '{}' && {line}", other.replace('\'', "'\\''")),
        _ => line.clone(),
    })
}

fn moment(seconds: f64) -> String {
    jiff::Timestamp::from_second(seconds as i64).map_or_else(|_| String::new(), |moment| moment.to_string())
}

fn document(run: &RunSummary) -> Json {
    json!({
        "run_id": run.run_id,
        "source": run.source,
        "schema": run.target_schema,
        "state": run.state.as_str(),
        "phase": run.phase,
        "rows_written": run.rows_written,
        "rows_rejected": run.rows_rejected,
        "rows_total": run.rows_total,
        "share": run.share,
        "bytes": run.bytes,
        "tables": run.tables,
        "eta_seconds": run.eta_seconds,
        "started_at": moment(run.started_at),
        "finished_at": run.finished_at.map(moment),
        "error": run.error,
        "resumable": run.resume.is_some(),
        "resume": run.resume,
        "sections_done": run.sections_done,
        "refresh": run.changes.map(|changes| json!({
            "rows_inserted": changes.inserted, "rows_updated": changes.updated, "rows_deleted": changes.deleted,
        })),
        "folder": run.folder,
    })
}

fn csv_row(run: &RunSummary) -> [String; 12] {
    [
        run.run_id.clone(),
        run.source.clone().unwrap_or_default(),
        run.target_schema.clone().unwrap_or_default(),
        run.state.as_str().to_string(),
        run.phase.clone().unwrap_or_default(),
        run.rows_written.to_string(),
        run.rows_rejected.to_string(),
        run.rows_total.to_string(),
        run.eta_seconds.map_or(String::new(), |seconds| format!("{seconds:.1}")),
        moment(run.started_at),
        run.finished_at.map_or(String::new(), moment),
        run.resume.clone().unwrap_or_default(),
    ]
}
