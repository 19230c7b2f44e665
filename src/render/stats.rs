//! Statistics as tables, JSON and CSV.

mod sessions;

use anyhow::Result;
use serde_json::{Map, Value, json};

use crate::render::table::{pasteable, visible};
use crate::render::{Format, Table, Ui, columns, csv, units};
use crate::stats::{Cell, Column, Sheet, Stat};
use sessions::{holders, sessions, tree};

/// How sheets are shown.
pub struct Shown {
    /// Several were asked for: each with its name, in one document.
    pub several: bool,
}

/// Numbers that are names: without thousands separators.
const NAMES: [&str; 5] = ["pid", "blocked_by", "locked_by", "depth", "blocks"];

/// The names of the shelf.
pub fn list(ui: &Ui, shelf: &[&Stat]) -> Result<()> {
    match ui.format {
        Format::Json => {
            let stats: Vec<Value> = shelf.iter().map(|stat| json!({ "name": stat.name, "about": stat.about })).collect();
            ui.print_json(&head(ui, [("stats", Value::Array(stats))]))
        }
        Format::Csv => ui.print(&csv(&["name", "about"], shelf.iter().map(|stat| [stat.name, stat.about]))),
        Format::Table => {
            let mut table = Table::new(&["name", "about"]);
            shelf.iter().for_each(|stat| table.push([stat.name, stat.about]));
            table.print(ui)
        }
    }
}

/// Sheets once.
pub fn sheets(ui: &Ui, sheets: &[Sheet], shown: &Shown) -> Result<()> {
    match ui.format {
        Format::Json => ui.print_json(&document(ui, sheets, shown)),
        Format::Csv => {
            let mut text = String::new();
            for sheet in sheets {
                if !text.is_empty() {
                    text.push('\n');
                }
                text.push_str(&csv_of(sheet));
            }
            ui.print(&text)?;
            for sheet in sheets {
                if let Some(more) = more(sheet) {
                    ui.say(&format!("note: {}: {more}", sheet.stat));
                }
                notes(ui, sheet);
            }
            Ok(())
        }
        Format::Table => tables(ui, sheets, shown),
    }
}

impl Shown {
    /// One sample of many: on a terminal in the place of the one before, as JSON a line. False when nobody reads any more.
    pub fn tick(&self, ui: &Ui, found: &[Sheet]) -> Result<bool> {
        if ui.format == Format::Json {
            let mut document = document(ui, found, self);
            document.insert("at".to_string(), Value::String(jiff::Timestamp::now().to_string()));
            return ui.print_line(&serde_json::to_string(&document)?);
        }
        if ui.terminal {
            ui.print_line("\x1b[H\x1b[2J\x1b[3J")?;
        }
        let now = jiff::Timestamp::now();
        let alive = ui.print_line(&format!("{}", now.strftime("%Y-%m-%dT%H:%M:%SZ")))?;
        tables(ui, found, self)?;
        Ok(alive)
    }
}

fn tables(ui: &Ui, sheets: &[Sheet], shown: &Shown) -> Result<()> {
    let mut said = None;
    for (position, sheet) in sheets.iter().enumerate() {
        if shown.several {
            ui.print(&format!("{}{}", if position > 0 { "\n" } else { "" }, ui.bold(sheet.stat)))?;
        }
        match &sheet.rows {
            None => ui.say(&format!("{} is unavailable", sheet.stat)),
            Some(rows) if rows.is_empty() => ui.say(&format!("{}: nothing to show", sheet.stat)),
            Some(rows) if sheet.stat == "overview" => upright(ui, sheet, rows)?,
            Some(rows) if sheet.stat == "vacuum" => sections(ui, sheet, rows)?,
            Some(rows) => table(ui, sheet, rows)?,
        }
        if let Some(more) = more(sheet).filter(|_| sheet.stat != "vacuum") {
            ui.print(&more)?;
        }
        // One reason for many, as when the server is down, is said once.
        let lacks = (!sheet.is_available()).then_some(&sheet.notes);
        if lacks.is_none() || lacks != said {
            notes(ui, sheet);
        }
        said = lacks.or(said);
        if let Some(since) = sheet.since.as_deref().filter(|_| !shown.several) {
            ui.say(&format!("since {since}"));
        }
    }
    Ok(())
}

/// `… and 13 more tables (--limit)`, `… and 3 more findings: 1 unused, 2 missing (--limit)`
fn more(sheet: &Sheet) -> Option<String> {
    let left_out = &sheet.left_out;
    let said = match (sheet.stat, left_out.all()) {
        (_, 0) => return None,
        ("indexes", all) => {
            let each: Vec<String> = left_out.0.iter().map(|(finding, count)| format!("{} {finding}", units::count(*count))).collect();
            format!("{}: {}", more_rows(all, "finding"), each.join(", "))
        }
        ("slow-queries", all) => more_rows(all, "statement"),
        ("connections", all) => more_rows(all, "client"),
        ("vacuum", _) => left_out.0.iter().map(|(section, count)| more_of_vacuum(section, *count)).collect::<Vec<_>>().join(", "),
        (_, all) => more_rows(all, "table"),
    };
    Some(format!("… and {said} (--limit)"))
}

fn more_rows(count: u64, noun: &str) -> String {
    format!("{} more {noun}{}", units::count(count), if count == 1 { "" } else { "s" })
}

fn more_of_vacuum(section: &str, count: u64) -> String {
    match section {
        "held back by" => format!("{} more who {} old rows back", units::count(count), if count == 1 { "holds" } else { "hold" }),
        "to freeze" => format!("{} to freeze", more_rows(count, "table")),
        _ => more_rows(count, "table"),
    }
}

/// A table for each kind of row, with the columns that say something of it; the kind stands over the names.
fn sections(ui: &Ui, sheet: &Sheet, rows: &[Vec<Cell>]) -> Result<()> {
    for (number, rows) in rows.chunk_by(|a, b| a[0] == b[0]).enumerate() {
        let section = rows[0][0].text().unwrap_or_default();
        let columns: Vec<Column> = [Column::new(section)].into_iter().chain(sheet.columns.iter().skip(2).cloned()).collect();
        let rows: Vec<Vec<Cell>> = rows.iter().map(|row| row[1..].to_vec()).collect();
        if number > 0 {
            ui.print("")?;
        }
        table(ui, &Sheet { rows: None, columns, notes: Vec::new(), ..sheet.clone() }, &rows)?;
        let left_out = sheet.left_out.of(section);
        if left_out > 0 {
            ui.print(&format!("… and {} (--limit)", more_of_vacuum(section, left_out)))?;
        }
    }
    Ok(())
}

fn notes(ui: &Ui, sheet: &Sheet) {
    sheet.notes.iter().for_each(|note| ui.say(&format!("note: {}: {}", sheet.stat, pasteable(note))));
}

fn table(ui: &Ui, sheet: &Sheet, rows: &[Vec<Cell>]) -> Result<()> {
    // A column that is unknown in every row says nothing; a tree says where its processes stand.
    let is_shown = |at: usize| {
        let name = sheet.columns[at].name.as_str();
        // What stands there for programs has its words beside it.
        let is_said = match sheet.stat {
            "locks" => matches!(name, "pid" | "depth" | "blocked_by"),
            "vacuum" => name == "pid",
            _ => matches!(name, "query_id" | "cause"),
        };
        !is_said && rows.iter().any(|row| !row[at].is_null())
    };
    let columns: Vec<usize> = (0..sheet.columns.len()).filter(|at| is_shown(*at)).collect();
    let header = headings(&columns.iter().map(|at| &sheet.columns[*at]).collect::<Vec<_>>());
    let mut cells: Vec<Vec<String>> =
        rows.iter().map(|row| columns.iter().map(|at| shown(&sheet.columns[*at], &row[*at])).collect()).collect();
    let all: Vec<usize> = (0..columns.len()).collect();
    let of = |kept: &[usize], cells: &[Vec<String>]| {
        let mut table = Table::new(&kept.iter().map(|at| header[*at].as_str()).collect::<Vec<_>>()).whole_words();
        for (position, at) in kept.iter().map(|at| columns[*at]).enumerate() {
            if rows.iter().any(|row| row[at].number().is_some()) {
                table = table.right(position);
            }
            // Half of a statement between other columns is nobody's to paste.
            if matches!(sheet.columns[at].name.as_str(), "ddl" | "remedy") {
                table = table.whole(position);
            }
        }
        cells.iter().for_each(|row| table.push(kept.iter().map(|at| row[*at].as_str())));
        table
    };
    let Some(width) = Table::terminal_width().filter(|_| ui.terminal) else { return of(&all, &cells).print(ui) };
    let names: Vec<&str> = columns.iter().map(|at| sheet.columns[*at].name.as_str()).collect();
    // In the data layer's cache a query goes by its name.
    let statement = names.iter().position(|name| *name == "query").filter(|_| sheet.stat != "cache");
    let least = match names.first() {
        Some(&"to freeze") => &LEAST_OF_FREEZE[..],
        _ if sheet.stat == "vacuum" => &LEAST_OF_VACUUM,
        _ => &LEAST,
    };
    let fitted = |longest: usize| {
        let mut cut = cells.clone();
        shorten_names(sheet.stat, &names, &mut cut, longest);
        let kept = fitting(&names, &header, &mut cut, width, statement, least);
        let table = of(&kept, &cut);
        (kept, table)
    };
    let (mut kept, mut table) = fitted(usize::MAX);
    for longest in [24, 16, 10] {
        if kept.len() == all.len() && table.fits(width) {
            break;
        }
        // Half of a long name is more than a column less.
        let shorter = fitted(longest);
        if shorter.0.len() > kept.len() || (shorter.1.fits(width) && !table.fits(width)) {
            (kept, table) = shorter;
        }
    }
    if sheet.stat == "locks" && (kept.len() < all.len() || table.widest() > width) {
        return ui.print(&tree(sheet, rows, width));
    }
    if sheet.stat == "activity" && !table.fits(width) {
        return ui.print(&sessions(sheet, rows, width));
    }
    if names.first() == Some(&"held back by") && !table.fits(width) {
        return ui.print(&format!("{}\n{}", ui.bold("held back by"), holders(sheet, rows, width)));
    }
    if !table.fits(width) {
        // A line each cell has room for all of them, and for more of a statement.
        let most = width * 3;
        let shorten = |text: &mut String| *text = format!("{}…", text.chars().take(most).collect::<String>());
        cells.iter_mut().filter_map(|row| row.get_mut(statement?)).filter(|text| text.chars().count() > most).for_each(shorten);
        return of(&all, &cells).print(ui);
    }
    let left_out: Vec<&str> = all.iter().filter(|at| !kept.contains(at)).map(|at| header[*at].as_str()).collect();
    if !left_out.is_empty() {
        ui.say(&format!("note: {}: too narrow for {} (--json has them)", sheet.stat, left_out.join(", ")));
    }
    table.print(ui)
}

/// What a narrow terminal can do without, the least important first.
const LEAST: [&str; 42] = [
    "toast_bytes",
    "deletes",
    "updates",
    "inserts",
    "seq_rows",
    "evictions",
    "fsyncs",
    "extends",
    "extend_bytes",
    "damaged",
    "unavailable",
    "unproven",
    "evicted",
    "max_ms",
    "temp_bytes",
    "wal_bytes",
    "hits",
    "reads",
    "analyzed_seconds",
    "kind",
    "rows",
    "share_ratio",
    "database",
    "client",
    "sessions_seen",
    "mode",
    "servers_idle",
    "state_seconds",
    "write_ms",
    "read_ms",
    "index_scans",
    "dead_ratio",
    "index_bytes",
    "phase",
    "vacuumed_seconds",
    "io_ms",
    "invalidated",
    "expired",
    "cold",
    "instances",
    "seq_scans",
    "bloat_est_bytes",
];

/// The same of the sections of vacuum: who holds old rows back, and what ends that, goes last; what freezes a table can be made out of its name.
const LEAST_OF_VACUUM: [&str; 8] =
    ["phase", "progress_ratio", "vacuumed_seconds", "wraparound_ratio", "due_at", "user", "state", "transaction_seconds"];
const LEAST_OF_FREEZE: [&str; 5] = ["vacuumed_seconds", "remedy", "wraparound_ratio", "freeze_at", "state"];

/// Names of who is connected, which nobody pastes: of a word of theirs so much is enough, where all of it would leave no room for a table.
fn shorten_names(stat: &str, names: &[&str], cells: &mut [Vec<String>], longest: usize) {
    let is_name = |name: &str| matches!(name, "user" | "database" | "application" | "client") || (name, stat) == ("name", "connections");
    for at in (0..names.len()).filter(|at| is_name(names[*at])) {
        for cell in cells.iter_mut().map(|row| &mut row[at]) {
            let words = visible(cell);
            let shorter = words.split_inclusive([' ', '@']).map(|word| {
                let bare = word.trim_end_matches([' ', '@']);
                format!("{}{}", columns::cut(bare, longest), &word[bare.len()..])
            });
            *cell = shorter.collect();
        }
    }
}

/// A statement is never cut shorter than this, as long as something else can go.
const QUERY_LEAST: usize = 40;

/// Which columns fit, and the statements, in column `query`, cut to what is left for them. Names are nobody's to wrap after three letters.
fn fitting(names: &[&str], header: &[String], cells: &mut [Vec<String>], width: usize, query: Option<usize>, least: &[&str]) -> Vec<usize> {
    let widest =
        |at: usize| cells.iter().map(|row| columns::columns_of(&row[at])).chain([header[at].chars().count()]).max().unwrap_or(0) + 2;
    let widths: Vec<usize> = (0..names.len()).map(|at| if Some(at) == query { widest(at).min(QUERY_LEAST) } else { widest(at) }).collect();
    let mut kept: Vec<usize> = (0..names.len()).collect();
    for name in least {
        if kept.iter().map(|at| widths[*at]).sum::<usize>() <= width + 2 {
            break;
        }
        // A column of rates goes as the column itself does.
        kept.retain(|at| names[*at].trim_end_matches("_per_s") != *name);
    }
    if let Some(query) = query {
        let others: usize = kept.iter().filter(|at| **at != query).map(|at| widths[*at]).sum();
        let room = width.saturating_sub(others).max(10);
        cells.iter_mut().for_each(|row| row[query] = columns::cut(&row[query], room));
    }
    kept
}

/// One row, a line a column.
fn upright(ui: &Ui, sheet: &Sheet, rows: &[Vec<Cell>]) -> Result<()> {
    let mut table =
        Table::new(&["what", "now"]).row(["server", &format!("PostgreSQL {}", sheet.server_version.as_deref().unwrap_or_default())]);
    for row in rows {
        for (column, cell) in sheet.columns.iter().zip(row).filter(|(_, cell)| !cell.is_null()) {
            table.push([heading(column), shown(column, cell)]);
        }
    }
    table.print(ui)
}

/// The columns' headings, each its own: `read` bytes beside `read` milliseconds and how many `reads` say what they are.
fn headings(columns: &[&Column]) -> Vec<String> {
    let plain: Vec<String> = columns.iter().map(|column| heading(column)).collect();
    let told_apart = |(column, plain_heading): (&&Column, &String)| {
        let (stem, per_second) = plain_heading.strip_suffix("/s").map_or((plain_heading.as_str(), ""), |stem| (stem, "/s"));
        let counts = format!("{stem}s{per_second}");
        let is_twice = plain.iter().filter(|other| *other == plain_heading).count() > 1 || plain.contains(&counts);
        match column.unit {
            Some("ms" | "ms/s") if is_twice => format!("{stem} time{per_second}"),
            Some("bytes" | "bytes/s") if is_twice => format!("{stem} bytes{per_second}"),
            _ => plain_heading.clone(),
        }
    };
    columns.iter().zip(&plain).map(told_apart).collect()
}

/// Names that without their unit would say something else.
const SAID: [(&str, &str); 7] = [
    ("connections_most", "connections at most"),
    ("rollback_ratio", "rolled back"),
    ("dead_ratio", "dead rows"),
    ("due_at", "vacuum from"),
    ("due_ratio", "vacuum due"),
    ("freeze_at", "freeze from"),
    ("freeze_ratio", "freeze due"),
];

/// `size_bytes` is `size`, `calls_per_s` is `calls/s`.
fn heading(column: &Column) -> String {
    let (name, per_second) = match column.name.strip_suffix("_per_s") {
        Some(name) => (name, "/s"),
        None => (column.name.as_str(), ""),
    };
    if let Some((_, said)) = SAID.iter().find(|(said_of, _)| *said_of == name) {
        return format!("{said}{per_second}");
    }
    let stem = ["_bytes", "_ms", "_seconds", "_ratio"].iter().find_map(|unit| name.strip_suffix(unit)).unwrap_or(name);
    format!("{}{per_second}", stem.replace('_', " "))
}

fn shown(column: &Column, cell: &Cell) -> String {
    let number = cell.number();
    match (column.unit, cell) {
        (_, Cell::Null) => String::new(),
        (_, Cell::Bool(yes)) => if *yes { "yes" } else { "no" }.to_string(),
        (_, Cell::Text(text)) if column.name == "query" => visible(&text.split_whitespace().collect::<Vec<_>>().join(" ")),
        (_, Cell::Text(text)) => pasteable(text),
        (Some("bytes"), _) => number.map_or(String::new(), |number| units::bytes(number.max(0.0) as u64)),
        (Some("bytes/s"), _) => number.map_or(String::new(), |number| format!("{}/s", units::bytes(number.max(0.0) as u64))),
        (Some("ms"), _) => number.map_or(String::new(), |number| units::seconds(number / 1000.0)),
        (Some("ms/s"), _) => number.map_or(String::new(), |number| format!("{}/s", units::seconds(number / 1000.0))),
        (Some("seconds"), _) => number.map_or(String::new(), units::seconds),
        (Some("ratio"), _) => number.map_or(String::new(), units::percent),
        (_, Cell::Int(number)) if NAMES.contains(&column.name.as_str()) || *number < 0 => number.to_string(),
        (_, Cell::Int(number)) => units::count(number.unsigned_abs()),
        (_, Cell::Real(number)) if *number >= 100.0 => units::count(number.round() as u64),
        (_, Cell::Real(number)) => format!("{number:.1}"),
    }
}

fn csv_of(sheet: &Sheet) -> String {
    let header: Vec<&str> = sheet.columns.iter().map(|column| column.name.as_str()).collect();
    let plain = |cell: &Cell| match cell {
        Cell::Null => String::new(),
        Cell::Bool(yes) => yes.to_string(),
        Cell::Int(number) => number.to_string(),
        Cell::Real(number) => number.to_string(),
        Cell::Text(text) => text.clone(),
    };
    csv(&header, sheet.rows.iter().flatten().map(|row| row.iter().map(plain)))
}

fn document(ui: &Ui, sheets: &[Sheet], shown: &Shown) -> Map<String, Value> {
    match sheets {
        [sheet] if !shown.several => head(ui, object(sheet)),
        sheets => head(ui, [("stats", Value::Array(sheets.iter().map(|sheet| Value::Object(object_map(sheet))).collect()))]),
    }
}

fn head(ui: &Ui, body: impl IntoIterator<Item = (&'static str, Value)>) -> Map<String, Value> {
    let head =
        [("schema_version", json!(1)), ("candlefish_version", json!(env!("CARGO_PKG_VERSION"))), ("started_at", json!(ui.started_at))];
    head.into_iter().chain(body).map(|(name, value)| (name.to_string(), value)).collect()
}

fn object_map(sheet: &Sheet) -> Map<String, Value> {
    object(sheet).into_iter().map(|(name, value)| (name.to_string(), value)).collect()
}

fn object(sheet: &Sheet) -> [(&'static str, Value); 8] {
    let columns: Vec<Value> = sheet.columns.iter().map(|column| json!({ "name": column.name, "unit": column.unit })).collect();
    let row = |row: &Vec<Cell>| -> Value {
        Value::Object(sheet.columns.iter().zip(row).map(|(column, cell)| (column.name.clone(), json_of(cell))).collect())
    };
    let rows = sheet.rows.as_ref().map_or(Value::Null, |rows| Value::Array(rows.iter().map(row).collect()));
    [
        ("stat", json!(sheet.stat)),
        ("server_version", json!(sheet.server_version)),
        ("since", json!(sheet.since)),
        ("available", json!(sheet.is_available())),
        ("columns", Value::Array(columns)),
        ("rows", rows),
        ("rows_left_out", json!(sheet.left_out.all())),
        ("notes", json!(sheet.notes)),
    ]
}

fn json_of(cell: &Cell) -> Value {
    match cell {
        Cell::Null => Value::Null,
        Cell::Bool(yes) => json!(yes),
        Cell::Int(number) => json!(number),
        Cell::Real(number) => json!(number),
        Cell::Text(text) => json!(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_heading_is_there_twice() {
        let said = |columns: Vec<Column>| headings(&columns.iter().collect::<Vec<_>>());
        let names = ["reads", "read_bytes", "read_ms", "size_bytes"];
        assert_eq!(said(names.map(Column::new).to_vec()), ["reads", "read bytes", "read time", "size"]);
        assert_eq!(said(names.map(Column::per_second).to_vec()), ["reads/s", "read bytes/s", "read time/s", "size/s"]);
    }

    #[test]
    fn a_narrow_terminal_leaves_out_what_matters_least_and_cuts_statements() {
        let names = ["user", "calls", "wal_bytes", "query"];
        let header = names.map(str::to_string);
        let row = || vec!["candlefish".to_string(), "12".to_string(), "1.0 MB".to_string(), "SELECT ".repeat(20)];
        let mut cells = vec![row()];
        assert_eq!(fitting(&names, &header, &mut cells, 200, Some(3), &LEAST), [0, 1, 2, 3]);
        assert_eq!(cells[0], row(), "there was room for all of it");
        let mut cells = vec![row()];
        assert_eq!(fitting(&names, &header, &mut cells, 60, Some(3), &LEAST), [0, 1, 3]);
        assert_eq!(cells[0][3].chars().count(), 60 - 12 - 7);
        assert!(cells[0][3].ends_with('…'));
    }
}
