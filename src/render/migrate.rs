//! The report of a migration, and the plan of one that was not run.

use anyhow::Result;
use serde::ser::{Serialize, SerializeMap as _, Serializer};
use serde_json::{Value as Json, json};

use crate::migrate::{Differences, MigrateReport, Outcome, Redone, RowChanges, RunSection, RunSections, TableRehearsal, TableReport};
use crate::plan::{Case, Otherwise, Severity, TablePlan, Warning};
use crate::render::{Format, Table, Ui, csv, units, visible};

/// Warnings that a table shows before it says how many more there are; JSON has them all.
const MOST_WARNINGS: usize = 40;

/// Prints the report in the wanted format, and what to do next; nothing is said after it.
pub fn report(report: &MigrateReport, started_at: &str, ui: &Ui) -> Result<()> {
    answer(report, started_at, ui)?;
    ui.ended(report.outcome.as_str());
    Ok(())
}

/// The same where more is to be said.
pub fn answer(report: &MigrateReport, started_at: &str, ui: &Ui) -> Result<()> {
    match ui.format {
        Format::Json => ui.print_json(&document(report, started_at))?,
        Format::Csv if is_refresh(report) => ui.print(&csv(&REFRESH_CSV_HEADER, report.tables.iter().map(refresh_csv_row)))?,
        Format::Csv => ui.print(&csv(&CSV_HEADER, report.tables.iter().map(csv_row)))?,
        Format::Table if is_refresh(report) => ui.print(&refresh_table(report))?,
        Format::Table => ui.print(&table(report))?,
    }
    ui.say(&next_step(report));
    Ok(())
}

const CSV_HEADER: [&str; 8] = ["source", "target", "rows_read", "rows_written", "rows_rejected", "bytes", "seconds", "verified"];

fn csv_row(table: &TableReport) -> [String; 8] {
    [
        table.source.clone(),
        table.target.clone(),
        table.rows_read.to_string(),
        table.rows_written.to_string(),
        table.rows_rejected.to_string(),
        table.bytes.to_string(),
        table.seconds.map_or(String::new(), |seconds| format!("{seconds:.3}")),
        table.verified.map_or(String::new(), |verified| verified.to_string()),
    ]
}

fn is_refresh(report: &MigrateReport) -> bool {
    report.tables.iter().any(|table| table.changes.is_some())
}

const REFRESH_CSV_HEADER: [&str; 8] =
    ["source", "target", "rows_read", "rows_inserted", "rows_updated", "rows_deleted", "rows_rejected", "verified"];

fn refresh_csv_row(table: &TableReport) -> [String; 8] {
    let changes = table.changes.unwrap_or_default();
    [
        table.source.clone(),
        table.target.clone(),
        table.rows_read.to_string(),
        changes.inserted.to_string(),
        changes.updated.to_string(),
        changes.deleted.to_string(),
        table.rows_rejected.to_string(),
        table.verified.map_or(String::new(), |verified| verified.to_string()),
    ]
}

fn or_dash(count: u64) -> String {
    if count == 0 { "-".into() } else { units::count(count) }
}

fn refresh_table(report: &MigrateReport) -> String {
    let header = ["table", "target", "rows", "inserted", "updated", "deleted", "set aside", "verified"];
    let mut rows = Table::new(&header).right(2).right(3).right(4).right(5).right(6);
    for table in &report.tables {
        let changes = table.changes.unwrap_or_default();
        rows.push([
            table.source.clone(),
            table.target.clone(),
            units::count(table.rows_read),
            or_dash(changes.inserted),
            or_dash(changes.updated),
            or_dash(changes.deleted),
            or_dash(table.rows_rejected),
            match table.verified {
                Some(true) => "yes".into(),
                Some(false) => "DIFFERENT".to_string(),
                None => "-".into(),
            },
        ]);
    }
    let changes = report.tables.iter().filter_map(|table| table.changes);
    let sum = changes.fold(RowChanges::default(), |sum, changes| RowChanges {
        inserted: sum.inserted + changes.inserted,
        updated: sum.updated + changes.updated,
        deleted: sum.deleted + changes.deleted,
    });
    format!(
        "{}\n{}{}: {} inserted, {} updated, {} deleted, of {} in {} of {}, in {}, peak memory {}\n",
        rows.text(),
        warnings(&report.warnings),
        report.outcome.as_str(),
        units::count(sum.inserted),
        units::count(sum.updated),
        units::count(sum.deleted),
        units::counted(report.rows_read(), "row"),
        units::counted(report.tables.len() as u64, "table"),
        report.source,
        units::duration(report.elapsed),
        peak(report)
    )
}

/// What a refresh is about to do, a line for each table that differs.
pub fn what_differs(changes: &[(String, RowChanges)]) -> String {
    if changes.is_empty() {
        return "nothing differs".into();
    }
    let line = |(table, changes): &(String, RowChanges)| {
        let parts = [(changes.inserted, "insert"), (changes.updated, "update"), (changes.deleted, "delete")];
        let parts: Vec<String> = parts
            .iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, verb)| format!("{} to {verb}", units::counted(*count, "row")))
            .collect();
        format!("{}: {}", visible(table), parts.join(", "))
    };
    changes.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// What `--replace` is about to drop, with the rows that go and, where it is known, how many of them a run brought.
pub fn what_is_replaced(tables: &[Redone]) -> String {
    if tables.is_empty() {
        return "--replace drops nothing: no run of this file has made a table that is there".into();
    }
    let shown = |table: &Redone| {
        let rows = units::counted(table.rows, "row");
        match table.rows_brought.filter(|brought| *brought != table.rows) {
            Some(brought) => format!("{} ({rows}; the run that made it brought {})", table.name, units::count(brought)),
            None => format!("{} ({rows})", table.name),
        }
    };
    format!("--replace drops {}", tables.iter().map(shown).collect::<Vec<_>>().join(", "))
}

fn table(report: &MigrateReport) -> String {
    let mut rows = Table::new(&["table", "target", "rows", "set aside", "size", "time", "verified"]).right(2).right(3).right(4).right(5);
    for table in &report.tables {
        rows.push([
            table.source.clone(),
            table.target.clone(),
            units::count(table.rows_written),
            if table.rows_rejected == 0 { "-".into() } else { units::count(table.rows_rejected) },
            units::bytes(table.bytes),
            table.seconds.map_or(String::new(), units::seconds),
            match table.verified {
                Some(true) => "yes".into(),
                Some(false) => "DIFFERENT".to_string(),
                None => "-".into(),
            },
        ]);
    }
    let mut text = if rows.is_empty() { "no tables\n".to_string() } else { rows.text() };
    text.push('\n');
    text.push_str(&warnings(&report.warnings));
    let rate = report.pace().and_then(|(rows, time)| units::rows_per_second(rows, time)).map_or(String::new(), |rate| format!(", {rate}"));
    let of_all = match report.outcome {
        Outcome::Stopped => {
            let planned = report.plan.tables.iter().filter(|table| !table.without_data).map(|table| table.rows).sum();
            format!("{} of {}", units::count(report.rows_written()), units::counted(planned, "row"))
        }
        _ => units::counted(report.rows_written(), "row"),
    };
    let part = if report.sections_left.is_empty() { String::new() } else { format!(", section {}", report.sections.words()) };
    text.push_str(&format!(
        "{}{part}: {of_all} in {} of {}, {} made, in {}{rate}, peak memory {}\n",
        report.outcome.as_str(),
        units::counted(report.tables.len() as u64, "table"),
        report.source,
        units::counted(report.objects_created, "object"),
        units::duration(report.elapsed),
        peak(report)
    ));
    text
}

pub(super) fn warnings(warnings: &[Warning]) -> String {
    let mut sorted: Vec<&Warning> = warnings.iter().collect();
    sorted.sort_by_key(|warning| std::cmp::Reverse(warning.severity));
    let mut text = String::new();
    for warning in sorted.iter().take(MOST_WARNINGS) {
        text.push_str(&format!("{:<6}  {} {}\n", severity(warning.severity), visible(&warning.object), visible(&warning.message)));
    }
    if sorted.len() > MOST_WARNINGS {
        text.push_str(&format!("        and {} more; --json has them all\n", sorted.len() - MOST_WARNINGS));
    }
    if !text.is_empty() {
        text.push('\n');
    }
    text
}

fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Note => "note",
        Severity::Weaker => "weaker",
        Severity::Loss => "LOSS",
    }
}

fn next_step(report: &MigrateReport) -> String {
    let aside = report.rejects_dir.as_ref().map(|folder| folder.display().to_string());
    let todo = report.todo_file.as_ref().map(|file| file.display().to_string());
    match report.outcome {
        Outcome::Planned => "next: run the same command without --dry-run".into(),
        Outcome::Stopped => match &report.resume {
            Some(line) => format!("next: go on with {line}"),
            None => "next: nothing was begun yet; the same command begins".into(),
        },
        Outcome::Mismatch => "next: the target differs from the source; `candlefish verify` names the rows".into(),
        Outcome::Clean if !report.sections_left.is_empty() => {
            let next = report.sections_left.iter().next().map_or("", RunSection::as_str);
            format!("next: the same command with --section {next}; of the run are left: {}", report.sections_left.words())
        }
        Outcome::Clean => {
            format!("next: point the application at {}; the SQLite file is as it was, and is the way back", report.target)
        }
        Outcome::Rejected | Outcome::Incomplete => {
            let mut parts = Vec::new();
            if let Some(folder) = aside {
                parts.push(format!("look at the rows set aside in {folder}"));
            }
            if let Some(todo) = todo {
                parts.push(format!("look at what has no exact form in {todo}"));
            }
            if parts.is_empty() {
                parts.push("look at the losses above".into());
            }
            let accept = if report.outcome == Outcome::Incomplete { "; losses that are accepted are named with --allow" } else { "" };
            format!("next: {}{accept}", parts.join(", and "))
        }
    }
}

/// What there is to say of a run that was stopped while its plan was made.
pub fn stopped_before_it_began(source: &str, started_at: &str, ui: &Ui) -> Result<()> {
    if ui.format == Format::Json {
        ui.print_json(&json!({
            "schema_version": 1,
            "candlefish_version": env!("CARGO_PKG_VERSION"),
            "started_at": started_at,
            "run_id": null,
            "source": source,
            "outcome": Outcome::Stopped.as_str(),
            "rows_written": 0,
            "resume": null,
        }))?;
    }
    ui.say("stopped: nothing was begun yet, and nothing is changed; the same command begins");
    ui.ended(Outcome::Stopped.as_str());
    Ok(())
}

/// The answer for programs. A table's part is made when it is written, and no longer kept: there may be thousands.
pub struct Document<'a> {
    /// Everything else; what is there is null where the tables have their place.
    frame: Json,
    tables: Option<&'a MigrateReport>,
}

impl Serialize for Document<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (Json::Object(frame), Some(report)) = (&self.frame, self.tables) else { return self.frame.serialize(serializer) };
        let mut map = serializer.serialize_map(Some(frame.len()))?;
        for (name, value) in frame {
            match name.as_str() {
                "tables" => map.serialize_entry(name, &Tables(report))?,
                _ => map.serialize_entry(name, value)?,
            }
        }
        map.end()
    }
}

struct Tables<'a>(&'a MigrateReport);

impl Serialize for Tables<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // Tables stand in the plan's order, and some of the plan's may be left out.
        let mut plans = self.0.plan.tables.iter();
        serializer.collect_seq(self.0.tables.iter().map(|table| table_document(table, plans.find(|plan| plan.source == table.source))))
    }
}

fn table_document(table: &TableReport, plan: Option<&TablePlan>) -> Json {
    let columns = plan.into_iter().flat_map(|plan| &plan.columns);
    let columns: Vec<Json> =
        columns.map(|column| json!({"source": column.source, "target": column.target.as_str(), "type": column.column_type.sql})).collect();
    let mut document = json!({
        "source": table.source, "target": table.target, "rows_read": table.rows_read, "rows_written": table.rows_written,
        "rows_rejected": table.rows_rejected, "bytes": table.bytes, "seconds": table.seconds, "verified": table.verified,
        "source_digest": table.source_digest, "target_digest": table.target_digest, "columns": columns,
    });
    if let Some(changes) = table.changes {
        document["rows_inserted"] = json!(changes.inserted);
        document["rows_updated"] = json!(changes.updated);
        document["rows_deleted"] = json!(changes.deleted);
    }
    document
}

pub fn document<'a>(report: &'a MigrateReport, started_at: &str) -> Document<'a> {
    let words = |sections: RunSections| sections.iter().map(RunSection::as_str).collect::<Vec<_>>();
    let mut document = json!({
        "schema_version": 1,
        "candlefish_version": env!("CARGO_PKG_VERSION"),
        "started_at": started_at,
        "run_id": report.run_id,
        "source": report.source,
        "target": report.target,
        "mapping": report.mapping,
        "outcome": report.outcome.as_str(),
        "exit_reasons": report.exit_reasons.iter().map(|reason| json!({"code": reason.code, "object": reason.object, "count": reason.count})).collect::<Vec<_>>(),
        "rows_read": report.rows_read(),
        "rows_written": report.rows_written(),
        "rows_rejected": report.rows_rejected(),
        "bytes": report.bytes(),
        "seconds": report.elapsed.as_secs_f64(),
        "peak_rss_bytes": report.peak_rss_bytes,
        "source_changed": report.source_changed,
        "phases": report.phases.iter().map(|time| json!({"name": time.phase.as_str(), "seconds": time.seconds})).collect::<Vec<_>>(),
        "tables": null,
        "objects": {
            "created": report.objects_created,
            "missing": report.todo.len(),
            "todo_file": report.todo_file.as_ref().map(|file| file.display().to_string()),
        },
        "warnings": report.warnings,
        "rejects_dir": report.rejects_dir.as_ref().map(|folder| folder.display().to_string()),
        "resume": report.resume,
        "sections": {"asked": words(report.sections), "left": words(report.sections_left)},
    });
    let planned = report.outcome == Outcome::Planned && !is_refresh(report);
    if planned {
        let found = rehearsed(report);
        let tables = report.plan.tables.iter().zip(&report.ddl).zip(&found);
        document["tables"] = tables.map(|((table, ddl), found)| planned_table(table, ddl.as_deref(), found)).collect();
        document["order"] = order(report).into();
        document["estimate_seconds"] = report.estimate.map(|estimate| estimate.as_secs_f64()).into();
        document["rows_read"] = found.iter().map(|table| table.rows_read).sum::<u64>().into();
        document["rows_rejected"] = found.iter().map(|table| table.rows_rejected).sum::<u64>().into();
        document["bytes"] = found.iter().map(|table| table.bytes).sum::<u64>().into();
        document["warnings"] = serde_json::to_value(&report.plan.warnings).unwrap_or_default();
        document["objects"]["planned"] = report
            .plan
            .objects
            .iter()
            .map(|object| {
                json!({
                    "kind": object.kind.as_str(), "object": object.label, "statements": object.statements,
                    "otherwise": object.otherwise.as_ref().map(|otherwise| &otherwise.statements),
                })
            })
            .collect();
    }
    Document { frame: document, tables: (!planned).then_some(report) }
}

fn planned_table(table: &TablePlan, ddl: Option<&str>, found: &TableRehearsal) -> Json {
    // An empty name is the row as a whole: a duplicate, a check.
    let misfits = |source: &str| {
        let misfits = found.misfits.iter().find(|misfits| misfits.column == source);
        let example = |(key, reason): &(Json, String)| json!({"key": key, "reason": reason});
        json!({
            "count": misfits.map_or(0, |misfits| misfits.count),
            "examples": misfits.iter().flat_map(|misfits| &misfits.examples).map(example).collect::<Vec<_>>(),
        })
    };
    let columns: Vec<Json> = table
        .columns
        .iter()
        .map(|column| {
            let why = column.why.as_deref().cloned().unwrap_or_default();
            json!({
                "source": column.source, "declared": column.declared, "target": column.target.as_str(), "type": column.column_type.sql,
                "reason": why.reason, "evidence": {"rows": why.examples, "hint": why.hint}, "misfits": misfits(&column.source),
                "computed": column.computed,
            })
        })
        .collect();
    let unreadable = found.differences.unreadable.iter().map(|(column, reason)| json!({"column": column, "reason": reason}));
    let unreadable: Vec<Json> = unreadable.collect();
    json!({
        "source": table.source, "target": table.target.to_string(), "rows": table.rows, "rows_rejected": found.rows_rejected,
        "bytes": found.bytes, "columns": columns, "misfits": misfits(""), "ddl": ddl,
        "differences": {"count": found.differences.rows, "keys": found.differences.keys, "unreadable": unreadable},
    })
}

/// What the rehearsal found, a table of the plan each.
fn rehearsed(report: &MigrateReport) -> Vec<TableRehearsal> {
    let found = report.rehearsal.as_ref().map(|rehearsal| rehearsal.tables.clone()).unwrap_or_default();
    if found.is_empty() { vec![TableRehearsal::default(); report.plan.tables.len()] } else { found }
}

/// The tables in the order in which their copying begins: the biggest first.
fn order(report: &MigrateReport) -> Vec<String> {
    let mut tables: Vec<&TablePlan> = report.plan.tables.iter().filter(|table| !table.without_data).collect();
    tables.sort_by_key(|table| std::cmp::Reverse(table.bytes));
    tables.into_iter().map(|table| table.source.clone()).collect()
}

/// Rows that would be set aside, by column, with the first of them and what a mapping can do about text.
fn misfits(found: &TableRehearsal) -> String {
    let mut text = String::new();
    for misfits in &found.misfits {
        let examples: Vec<String> = misfits.examples.iter().map(|(key, reason)| format!("{key}: {}", visible(reason))).collect();
        let column = visible(&misfits.column);
        let place = if column.is_empty() { String::new() } else { format!(" for {column}") };
        text.push_str(&format!("-- set aside: {}{place}: {}\n", units::counted(misfits.count, "row"), examples.join("; ")));
        if misfits.examples.iter().any(|(_, reason)| reason.contains("NUL character") || reason.contains("not valid UTF-8")) {
            text.push_str("--   a mapping can keep them: bad_text = \"strip\", \"replace\", \"latin1\", \"windows1252\" or \"bytea\"\n");
        }
    }
    text
}

/// Rows and columns that would be other than the source's, since PostgreSQL computes them.
fn differences(found: &Differences) -> String {
    let mut text = String::new();
    if found.rows > 0 {
        let keys: Vec<String> = found.keys.iter().map(|key| visible(&key.to_string()).to_string()).collect();
        let rows = units::counted(found.rows, "row");
        text.push_str(&format!("-- different: {rows} by what PostgreSQL computes: {}\n", keys.join("; ")));
    }
    for (column, reason) in &found.unreadable {
        text.push_str(&format!("-- different: {} cannot be read in PostgreSQL: {}\n", visible(column), visible(reason)));
    }
    text
}

/// What a dry run shows a person: the DDL, why each column is what it is, and what will be made after the rows.
pub fn plan_text(report: &MigrateReport) -> String {
    let plan = &report.plan;
    let mut text = String::new();
    for ((table, ddl), found) in plan.tables.iter().zip(&report.ddl).zip(&rehearsed(report)) {
        let size = if found.rows_read > 0 { format!(", {}", units::bytes(found.bytes)) } else { String::new() };
        text.push_str(&format!("-- {}: {}{size}\n", visible(&table.source), units::counted(table.rows, "row")));
        if table.create.is_none() {
            text.push_str(&format!("-- into {}, which is there\n", visible(&table.target.to_string())));
        }
        if let Some(ddl) = ddl {
            text.push_str(&format!("{ddl};\n"));
        }
        let decided = table.columns.iter().filter_map(|column| Some((column, column.why.as_ref()?)));
        for (column, why) in decided.filter(|_| table.create.is_some()) {
            let rows = why.examples.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            let rows = if rows.is_empty() { String::new() } else { format!(" (rows {rows})") };
            let (name, reason) = (column.target.to_string(), visible(&why.reason));
            text.push_str(&format!("-- {} is {}: {reason}{rows}\n", visible(&name), column.column_type.sql));
            if let Some(hint) = &why.hint {
                text.push_str(&format!("--   {}\n", visible(hint)));
            }
        }
        text.push_str(&misfits(found));
        text.push_str(&differences(&found.differences));
        text.push('\n');
    }
    for object in &plan.objects {
        for statement in &object.statements {
            text.push_str(&format!("{statement};\n"));
        }
        if let Some(otherwise) = &object.otherwise {
            text.push_str(&other_form(otherwise));
        }
    }
    text.push('\n');
    for line in warnings(&plan.warnings).lines().filter(|line| !line.is_empty()) {
        text.push_str(&format!("-- {line}\n"));
    }
    if plan.tables.len() > 1 {
        text.push_str(&format!("-- order: {}\n", visible(&order(report).join(", "))));
    }
    if let Some(estimate) = report.estimate {
        text.push_str(&format!(
            "-- time: about {}, by how fast the rows are read here; the server may change that\n",
            units::duration(estimate)
        ));
    }
    text
}
/// What the rows may make of an object, where nobody could ask PostgreSQL.
fn other_form(otherwise: &Otherwise) -> String {
    let case = match otherwise.case {
        Case::NoRoom { .. } => "if a value has no room in it",
        Case::Keys(_) => "if a key that it names is an exclusion constraint",
    };
    let statements = match otherwise.statements.as_slice() {
        [] => "it is not made".to_string(),
        statements => statements.iter().map(|statement| format!("{statement};")).collect::<Vec<_>>().join(" "),
    };
    format!("-- {case}: {}\n", visible(&statements))
}

/// The most memory that was resident, where the system says.
fn peak(report: &MigrateReport) -> String {
    report.peak_rss_bytes.map_or_else(|| "unknown".to_string(), units::bytes)
}
