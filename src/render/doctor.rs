//! Verdicts: a line each, and what to do about those that are not good.

use anyhow::Result;
use serde_json::json;

use crate::doctor::{Report, Verdict};
use crate::render::table::{pasteable, visible};
use crate::render::{Format, Table, Ui, csv, units};

pub fn doctor(ui: &Ui, reports: &[Report]) -> Result<()> {
    match ui.format {
        Format::Json => ui.print_json(&json!({
            "schema_version": 1, "candlefish_version": env!("CARGO_PKG_VERSION"), "started_at": ui.started_at, "checks": reports,
        })),
        Format::Csv => ui.print(&csv(
            &["name", "verdict", "value", "why", "remedy"],
            reports.iter().map(|report| {
                [report.name, report.verdict.name(), &report.value, &report.why, report.remedy.as_deref().unwrap_or_default()]
            }),
        )),
        Format::Table => {
            // A check goes by its name: whole, for --ignore.
            let mut table = Table::new(&["verdict", "check", "value", "why"]).whole(1);
            // The worst first; else in the shelf's order.
            let mut sorted: Vec<&Report> = reports.iter().collect();
            sorted.sort_by_key(|report| std::cmp::Reverse(report.verdict));
            for report in &sorted {
                table.push([report.verdict.name(), report.name, &pasteable(&report.value), &pasteable(&report.why)]);
            }
            table.print(ui)?;
            let to_do: Vec<&&Report> = sorted
                .iter()
                .filter(|report| report.verdict > Verdict::Ok && report.remedy.as_deref().is_some_and(|remedy| !remedy.is_empty()))
                .collect();
            if !to_do.is_empty() {
                ui.print(&format!("\n{}", ui.bold("what to do")))?;
                for report in to_do {
                    ui.print(&format!("  {}:", report.name))?;
                    for line in pasteable(report.remedy.as_deref().unwrap_or_default()).lines() {
                        ui.print(&format!("    {}", visible(line)))?;
                    }
                }
            }
            let count = |verdict: Verdict| reports.iter().filter(|report| report.verdict == verdict).count() as u64;
            ui.say(&format!(
                "{}: {}, {}, {} unknown",
                units::counted(reports.len() as u64, "check"),
                units::counted(count(Verdict::Error), "error"),
                units::counted(count(Verdict::Warning), "warning"),
                count(Verdict::Unknown)
            ));
            Ok(())
        }
    }
}
