//! Sessions in a few lines each, where a terminal is too narrow for all columns: who waits for whom, what they do, and who holds old rows back.

use super::shown;
use crate::render::columns;
use crate::render::table::visible;
use crate::stats::{Cell, Sheet};

/// Who waits for whom on a terminal that is too narrow for all columns: a few lines a session, indented as it waits.
pub(super) fn tree(sheet: &Sheet, rows: &[Vec<Cell>], width: usize) -> String {
    let lines = |row: &Vec<Cell>| {
        let session = Session { sheet, row, width };
        let depth = sheet.position("depth").and_then(|at| row[at].number()).unwrap_or_default() as usize;
        let is_root = session.cell("blocked_by").is_empty();
        let pieces = [
            Some(session.cell("pid")),
            session.named("", "application").or_else(|| session.named("", "user")),
            if is_root { session.said("", "state") } else { session.said("waits for ", "wait") },
            session.said("for ", "state_seconds"),
            session.said("blocks ", "blocks").filter(|_| session.cell("blocks") != "0"),
        ];
        session.lines(&pieces, (depth * 2).min(width / 2))
    };
    rows.iter().map(lines).collect()
}

/// What sessions do, in the same way.
pub(super) fn sessions(sheet: &Sheet, rows: &[Vec<Cell>], width: usize) -> String {
    let lines = |row: &Vec<Cell>| {
        let session = Session { sheet, row, width };
        let pieces = [
            Some(session.cell("pid")),
            session.named("", "application"),
            session.named("as ", "user"),
            session.named("in ", "database"),
            session.said("", "state"),
            session.said("for ", "state_seconds"),
            session.said("in a transaction for ", "transaction_seconds"),
            session.said("waits for ", "wait"),
        ];
        session.lines(&pieces, 0)
    };
    rows.iter().map(lines).collect()
}

/// Who holds old rows back, in the same way.
pub(super) fn holders(sheet: &Sheet, rows: &[Vec<Cell>], width: usize) -> String {
    let lines = |row: &Vec<Cell>| {
        let session = Session { sheet, row, width };
        let pieces = [
            session.said("", "held back by"),
            session.named("", "application"),
            session.named("as ", "user"),
            session.said("", "state"),
            session.said("for ", "transaction_seconds"),
            session.said("xid age ", "xid_age"),
        ];
        session.lines(&pieces, 0)
    };
    rows.iter().map(lines).collect()
}

/// A session in a few lines: a statement is cut to one; a remedy never is.
struct Session<'a> {
    sheet: &'a Sheet,
    row: &'a [Cell],
    width: usize,
}

impl Session<'_> {
    fn cell(&self, name: &str) -> String {
        self.sheet.position(name).map_or(String::new(), |at| visible(&shown(&self.sheet.columns[at], &self.row[at])))
    }

    fn said(&self, before: &str, name: &str) -> Option<String> {
        Some(self.cell(name)).filter(|said| !said.is_empty()).map(|said| format!("{before}{said}"))
    }

    /// The same of a name; of a long one the beginning.
    fn named(&self, before: &str, name: &str) -> Option<String> {
        self.said(before, name).map(|said| columns::cut(&said, (self.width / 2).max(10)))
    }

    fn lines(&self, pieces: &[Option<String>], indent: usize) -> String {
        let (mut text, mut line) = (String::new(), " ".repeat(indent));
        for piece in pieces.iter().flatten() {
            let is_first = line.trim().is_empty();
            if !is_first && columns::columns_of(&line) + 2 + columns::columns_of(piece) > self.width {
                text.push_str(&format!("{line}\n"));
                line = " ".repeat(indent + 2);
            } else if !is_first {
                line.push_str("  ");
            }
            line.push_str(piece);
        }
        text.push_str(&format!("{line}\n"));
        for (before, name) in [("", "query"), ("end it: ", "remedy")] {
            let Some(said) = self.said(before, name) else { continue };
            let room = self.width.saturating_sub(indent + 2);
            let said = if name == "query" { columns::cut(&said, room) } else { said };
            text.push_str(&format!("{}{said}\n", " ".repeat(indent + 2)));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::{Column, LeftOut};

    #[test]
    fn a_chain_of_locks_stays_a_tree_where_columns_have_no_room() {
        let names =
            ["tree", "depth", "pid", "blocked_by", "blocks", "user", "application", "state", "wait", "state_seconds", "remedy", "query"];
        let row = |depth: i64, pid: i64, by: Option<i64>, application: &str, wait: &str, remedy: Option<&str>| {
            let query = format!("UPDATE orders\n SET state = ? WHERE id = ? AND {application} <> ?");
            let text = |text: &str| Cell::from(text);
            let numbers = [Cell::Int(depth), Cell::Int(pid), by.into(), Cell::Int(2 - depth)];
            let texts = [
                text("shop"),
                text(application),
                text("active"),
                text(wait),
                Cell::Real(72.0),
                remedy.map(str::to_string).into(),
                Cell::Text(query),
            ];
            [text("")].into_iter().chain(numbers).chain(texts).collect::<Vec<Cell>>()
        };
        let sheet = Sheet {
            stat: "locks",
            server_version: Some("15".to_string()),
            since: None,
            rows: None,
            columns: names.map(Column::new).to_vec(),
            notes: Vec::new(),
            skipped: Vec::new(),
            left_out: LeftOut::default(),
            passing: false,
        };
        let rows = [
            row(0, 71, None, "inventory", "Client: ClientRead", Some("SELECT pg_cancel_backend(71) -- as shop, as a superuser")),
            row(1, 72, Some(71), "billing", "ShareLock on a row of transaction 863", None),
            row(2, 73, Some(72), "a report of last month", "ExclusiveLock on a row of public.orders", None),
        ];
        assert_eq!(
            tree(&sheet, &rows, 52),
            "71  inventory  active  for 1m 12s  blocks 2\n\
             \x20 UPDATE orders SET state = ? WHERE id = ? AND inve…\n\
             \x20 end it: SELECT pg_cancel_backend(71) -- as shop, as a superuser\n\
             \x20 72  billing\n\
             \x20   waits for ShareLock on a row of transaction 863\n\
             \x20   for 1m 12s  blocks 1\n\
             \x20   UPDATE orders SET state = ? WHERE id = ? AND bi…\n\
             \x20   73  a report of last month\n\
             \x20     waits for ExclusiveLock on a row of public.orders\n\
             \x20     for 1m 12s\n\
             \x20     UPDATE orders SET state = ? WHERE id = ? AND …\n"
        );
    }
}
