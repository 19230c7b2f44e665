//! What `candlefish verify` answers: a line a table, then the rows that differ.

use anyhow::Result;
use serde::Serialize;
use serde_json::{Map, Value as Json};

use crate::render::{Format, Table, Ui, csv, units};
use crate::verify::{LeftOutPart, ObjectsReport, Outcome, TableVerdict, VerifyReport, WrongNextValue};

/// The widest value in a table.
const WIDEST: usize = 48;

/// Prints the report; `started_at` is RFC 3339.
pub fn verify(ui: &Ui, report: &VerifyReport, started_at: &str) -> Result<()> {
    match ui.format {
        Format::Json => ui.print_json(&Document { schema_version: 1, candlefish_version: env!("CARGO_PKG_VERSION"), started_at, report }),
        Format::Csv => ui.print(&tables_csv(report)),
        Format::Table => {
            if !report.tables.is_empty() {
                tables(report).print(ui)?;
            }
            for table in report.tables.iter().filter(|table| table.identical == Some(false)) {
                ui.print(&format!("\n{}", differences(table)))?;
            }
            if !report.left_out.is_empty() {
                ui.print(&format!("\n{}", left_out(report)))?;
            }
            if let Some(objects) = &report.schema_objects {
                ui.print(&format!("\n{}", schema_objects(objects)))?;
            }
            ui.print(&format!("\n{}", summary(report)))
        }
    }
}

#[derive(Serialize)]
struct Document<'a> {
    schema_version: u32,
    candlefish_version: &'static str,
    started_at: &'a str,
    #[serde(flatten)]
    report: &'a VerifyReport,
}

fn tables_csv(report: &VerifyReport) -> String {
    let header = [
        "source",
        "target",
        "source_rows",
        "target_rows",
        "rows_set_aside",
        "identical",
        "differences_total",
        "source_digest",
        "target_digest",
        "rows_kept",
    ];
    let number = |rows: Option<u64>| rows.map_or(String::new(), |rows| rows.to_string());
    csv(
        &header,
        report.tables.iter().map(|table| {
            [
                table.source.clone(),
                table.target.clone().unwrap_or_default(),
                number(table.source_rows),
                number(table.target_rows),
                table.rows_set_aside.to_string(),
                table.identical.map_or(String::new(), |identical| identical.to_string()),
                table.differences_total.to_string(),
                table.source_digest.clone().unwrap_or_default(),
                table.target_digest.clone().unwrap_or_default(),
                table.rows_kept.to_string(),
            ]
        }),
    )
}

fn tables(report: &VerifyReport) -> Table {
    let mut table = Table::new(&["table", "source rows", "target rows", "set aside", "verdict"]).right(1).right(2).right(3);
    let number = |rows: Option<u64>| rows.map_or("–".to_string(), units::count);
    for verdict in &report.tables {
        table.push([
            verdict.source.clone(),
            number(verdict.source_rows),
            number(verdict.target_rows),
            units::count(verdict.rows_set_aside),
            said(verdict),
        ]);
    }
    table
}

fn said(verdict: &TableVerdict) -> String {
    let kept = match verdict.rows_kept {
        0 => String::new(),
        rows => format!(" beside {} that {} kept", units::counted(rows, "row"), if rows == 1 { "was" } else { "were" }),
    };
    let rounded = match verdict.rounded.iter().map(|column| column.values).sum() {
        0 => String::new(),
        values => format!(", {} rounded", units::counted(values, "value")),
    };
    match verdict.identical {
        Some(true) => format!("identical{kept}{rounded}"),
        None => format!("no difference found{kept}{rounded}"),
        Some(false) => {
            let total = units::counted(verdict.differences_total, "difference");
            format!("{}{total}{kept}", at_least(verdict.differences_exact))
        }
    }
}

/// What is not in the target on purpose, in the words of SQLite's names.
fn left_out(report: &VerifyReport) -> String {
    let name = |part: &crate::verify::LeftOut| match (part.what, &part.column) {
        (LeftOutPart::Column, Some(column)) => format!("column {}.{column}", part.table),
        (LeftOutPart::Rows, _) => format!("the rows of {}", part.table),
        _ => format!("table {}", part.table),
    };
    format!("left out, as the last run was told: {}\n", report.left_out.iter().map(name).collect::<Vec<_>>().join(", "))
}

fn at_least(exact: bool) -> &'static str {
    if exact { "" } else { "at least " }
}

/// What the target's schema lacks; what migrate has said itself is marked so.
fn schema_objects(objects: &ObjectsReport) -> String {
    let missing = objects.missing.iter().filter(|missing| !missing.declared).count() as u64;
    let mut text = format!(
        "schema objects: {} compared, {} missing, {} wrong\n",
        units::count(objects.compared),
        units::count(missing),
        units::counted(objects.wrong_next_values.len() as u64, "next value")
    );
    for missing in &objects.missing {
        let said = if missing.declared { " (migrate said so)" } else { "" };
        text.push_str(&format!("  {} {}: {}{said}\n", missing.kind, missing.object, missing.reason));
    }
    for wrong in &objects.wrong_next_values {
        let WrongNextValue { table, column, expected, actual } = wrong;
        text.push_str(&format!("  sequence {table}.{column}: gives {actual} next, and should give {expected}\n"));
    }
    for added in &objects.added {
        let restricts = if added.restricts { "; it may refuse or change rows that SQLite takes" } else { "" };
        text.push_str(&format!("  added: {} {}: {}{restricts}\n", added.kind, added.object, added.definition));
    }
    for label in &objects.not_valid {
        text.push_str(&format!("  not valid: {label}: it holds for new rows, and those from before it may break it\n"));
    }
    if !objects.not_compared.is_empty() {
        let tables = objects.not_compared.join(", ");
        text.push_str(&format!("  not compared, because a registry's own migrations have keys and indexes in another form: {tables}\n"));
    }
    if !objects.triggers_not_compared.is_empty() {
        let triggers = objects.triggers_not_compared.join(", ");
        text.push_str(&format!("  not compared, because their tables have triggers of their own that fire at other moments: {triggers}\n"));
    }
    text
}

/// The rows of one table that differ, a line for each column.
fn differences(verdict: &TableVerdict) -> String {
    let mut text = match &verdict.target {
        Some(target) => format!("{} → {target}\n", verdict.source),
        None => format!("{}\n", verdict.source),
    };
    for problem in &verdict.problems {
        text.push_str(&format!("  {problem}\n"));
    }
    if verdict.differences.is_empty() {
        return text;
    }
    let mut table = Table::new(&["  key", "kind", "column", "source", "target"]);
    for difference in &verdict.differences {
        let (key, kind) = (format!("  {}", key(&difference.key)), difference.kind.as_str());
        if difference.columns.is_empty() {
            table.push([key, kind.to_string(), String::new(), String::new(), String::new()]);
            continue;
        }
        for (number, column) in difference.columns.iter().enumerate() {
            let (source, target) = cut_together(&column.source, &column.target);
            let (key, kind) = if number == 0 { (key.clone(), kind.to_string()) } else { ("  ″".into(), String::new()) };
            table.push([key, kind, column.column.clone(), source, target]);
        }
    }
    text.push_str(&table.text());
    let rows = verdict.differences_total - verdict.told_by_problems;
    let more = rows.saturating_sub(verdict.differences.len() as u64);
    if more > 0 {
        text.push_str(&format!("  and {}{} more; --limit shows more\n", at_least(verdict.differences_exact), units::count(more)));
    }
    text
}

fn summary(report: &VerifyReport) -> String {
    let rows: u64 = report.tables.iter().filter_map(|table| table.source_rows).sum();
    let set_aside: u64 = report.tables.iter().map(|table| table.rows_set_aside).sum();
    let verdict = match report.outcome {
        Outcome::Identical => "identical".to_string(),
        Outcome::NoDifferenceFound => "no difference found in what was compared".to_string(),
        Outcome::Different if report.differences_total == 0 => "different: the rows are identical, the schema is not".to_string(),
        Outcome::Different => {
            let total = units::counted(report.differences_total, "difference");
            format!("different: {}{total}", at_least(report.differences_exact))
        }
    };
    let aside = if set_aside > 0 { format!(", {} set aside", units::counted(set_aside, "row")) } else { String::new() };
    let (tables, rows) = (units::counted(report.tables.len() as u64, "table"), units::counted(rows, "row"));
    format!("{verdict} ({tables}, {rows}{aside}, {})", units::seconds(report.seconds))
}

fn key(key: &Map<String, Json>) -> String {
    key.iter().map(|(name, value)| format!("{name}={}", cut(&spelled(value), 0, WIDEST))).collect::<Vec<_>>().join(", ")
}

/// Text in quotes, so that blanks at its ends and a word like NULL can be told from what they are not.
fn spelled(value: &Json) -> String {
    match value {
        Json::Null => "NULL".into(),
        Json::String(text) => format!("'{text}'"),
        other => other.to_string(),
    }
}

/// Both values, cut to where they begin to differ.
fn cut_together(source: &Json, target: &Json) -> (String, String) {
    let (source, target) = (spelled(source), spelled(target));
    let common = source.chars().zip(target.chars()).take_while(|(a, b)| a == b).count();
    (cut(&source, common, WIDEST), cut(&target, common, WIDEST))
}

fn cut(text: &str, difference: usize, width: usize) -> String {
    let length = text.chars().count();
    if length <= width {
        return text.to_string();
    }
    let start = if difference < width / 2 { 0 } else { difference - width / 4 };
    let part: String = text.chars().skip(start).take(width).collect();
    let before = if start > 0 { "…" } else { "" };
    let after = if start + width < length { "…" } else { "" };
    format!("{before}{part}{after}")
}
