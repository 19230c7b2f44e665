//! Plain tables: aligned columns without lines or trailing blanks, the same in a pipe as in a terminal.

use anyhow::Result;
use comfy_table::{CellAlignment, ColumnConstraint, ContentArrangement, Width, presets};

use crate::model::is_hidden;
pub use crate::model::visible;
use crate::render::Ui;

/// A table for people. The same rows for programs are `csv` and JSON.
///
/// ```
/// # use candlefish::render::Table;
/// let table = Table::new(&["table", "rows"]).right(1).row(["users", "4,182"]).row(["logs", "12"]);
/// assert_eq!(table.text(), "table   rows\nusers  4,182\nlogs      12\n");
/// ```
#[derive(Clone, Debug)]
pub struct Table {
    header: Vec<String>,
    right: Vec<usize>,
    whole: Vec<usize>,
    whole_words: bool,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub fn new(header: &[&str]) -> Self {
        Table {
            header: header.iter().map(ToString::to_string).collect(),
            right: Vec::new(),
            whole: Vec::new(),
            whole_words: false,
            rows: Vec::new(),
        }
    }

    /// Aligns this column (counted from 0) at the right: for numbers and sizes. Such a column is never wrapped.
    pub fn right(mut self, column: usize) -> Self {
        self.right.push(column);
        self
    }

    /// This column is never wrapped: for what is copied.
    pub fn whole(mut self, column: usize) -> Self {
        self.whole.push(column);
        self
    }

    /// Text is wrapped between words alone: where a name does not fit there is a line each cell instead.
    pub fn whole_words(mut self) -> Self {
        self.whole_words = true;
        self
    }

    /// Adds a row; for a builder's chain.
    pub fn row(mut self, cells: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.push(cells);
        self
    }

    /// Adds a row; for a loop.
    pub fn push(&mut self, cells: impl IntoIterator<Item = impl Into<String>>) {
        self.rows.push(cells.into_iter().map(|cell| visible(&cell.into())).collect());
    }

    /// Columns of the terminal at stdout; none where it is no terminal.
    pub fn terminal_width() -> Option<usize> {
        comfy_table::Table::new().width().map(usize::from)
    }

    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Prints the table to stdout, as wide as the terminal at most: where that is too narrow for its columns, a line each cell. In a pipe no line is
    /// ever wrapped.
    pub fn print(&self, ui: &Ui) -> Result<()> {
        match comfy_table::Table::new().width().filter(|width| !self.fits(usize::from(*width))) {
            Some(width) => ui.print(&self.cells(width, ui.color_out)),
            None => ui.print(&self.shown(ui)),
        }
    }

    /// Side by side, its columns have room in so many of a terminal.
    pub fn fits(&self, width: usize) -> bool {
        self.narrowest() <= width
    }

    /// So many columns of a terminal it takes when nothing is wrapped.
    pub fn widest(&self) -> usize {
        let table = self.arranged();
        let widths = table.column_max_content_widths();
        table.column_iter().map(|column| usize::from(widths[column.index]) + usize::from(column.padding_width())).sum()
    }

    /// So many columns of a terminal it takes when all that can be wrapped is.
    fn narrowest(&self) -> usize {
        let table = self.arranged();
        let widths = table.column_max_content_widths();
        let width = |column: &comfy_table::Column| match column.constraint() {
            // It counts the padding as well.
            Some(ColumnConstraint::LowerBoundary(Width::Fixed(least))) => usize::from(*least),
            _ => usize::from(widths[column.index]) + usize::from(column.padding_width()),
        };
        table.column_iter().map(width).sum()
    }

    /// The rows one after the other: the header's names at the left, what stands under them at the right. What is copied is no less whole here: the
    /// terminal itself breaks its line, which no copy has.
    fn cells(&self, width: u16, color: bool) -> String {
        let wrapped = |name: &str, name_width: usize, cell: &str| -> Vec<String> {
            let mut table = comfy_table::Table::new();
            table.force_no_tty().load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
            table.add_row([format!("{name:<name_width$}"), cell.to_string()]);
            for (index, column) in table.column_iter_mut().enumerate() {
                column.set_padding((0, if index == 0 { 2 } else { 0 }));
                if index == 0 {
                    column.set_constraint(ColumnConstraint::ContentWidth);
                }
            }
            table.lines().collect()
        };
        let row = |row: &Vec<String>| {
            let there = || self.header.iter().zip(row).enumerate().filter(|(_, (_, cell))| !cell.is_empty());
            let name_width = there().map(|(_, (name, _))| name.chars().count()).max().unwrap_or(0);
            let lines = there().flat_map(|(index, (name, cell))| match self.whole.contains(&index) {
                true => vec![format!("{name:<name_width$}  {cell}")],
                false => wrapped(name, name_width, cell),
            });
            let mut text = String::new();
            for (number, line) in lines.enumerate() {
                let line = line.trim_end();
                // Where the next row begins.
                text.push_str(&if number == 0 && color { format!("\x1b[1m{line}\x1b[0m") } else { line.to_string() });
                text.push('\n');
            }
            text
        };
        self.rows.iter().map(row).collect::<Vec<_>>().join("\n")
    }

    /// The table as [`print`](Table::print) prints it.
    pub fn shown(&self, ui: &Ui) -> String {
        self.lines(comfy_table::Table::new().width(), ui.color_out)
    }

    /// The table as a pipe gets it: no colour, no wrapping.
    pub fn text(&self) -> String {
        self.lines(None, false)
    }

    fn lines(&self, width: Option<u16>, color: bool) -> String {
        let mut text = String::new();
        let mut add = |table: &comfy_table::Table, with_header: bool| {
            for (number, line) in table.lines().enumerate().skip(usize::from(!with_header)) {
                let line = line.trim_end();
                // Bold marks the header only for those who see colour; its words and place say it to all.
                if number == 0 && color {
                    text.push_str(&format!("\x1b[1m{line}\x1b[0m"));
                } else {
                    text.push_str(line);
                }
                text.push('\n');
            }
        };
        match width {
            Some(width) => {
                let mut table = self.arranged();
                table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
                wrap_only_the_widest(&mut table, width);
                add(&table, true);
            }
            None if self.rows.len() <= ROWS_TOGETHER => add(&self.arranged(), true),
            None => {
                let widths = self.rows.chunks(ROWS_TOGETHER).map(|rows| self.arranged_of(rows).column_max_content_widths());
                let most = |widths: Vec<u16>, others: Vec<u16>| widths.iter().zip(&others).map(|(one, other)| *one.max(other)).collect();
                let widths: Vec<u16> = widths.reduce(most).unwrap_or_default();
                for (number, rows) in self.rows.chunks(ROWS_TOGETHER).enumerate() {
                    let mut table = self.arranged_of(rows);
                    for column in table.column_iter_mut() {
                        let width = widths[column.index].saturating_add(column.padding_width());
                        column.set_constraint(ColumnConstraint::Absolute(Width::Fixed(width)));
                    }
                    add(&table, number == 0);
                }
            }
        }
        text
    }

    fn arranged(&self) -> comfy_table::Table {
        self.arranged_of(&self.rows)
    }

    fn arranged_of(&self, rows: &[Vec<String>]) -> comfy_table::Table {
        let mut table = comfy_table::Table::new();
        table.force_no_tty().load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
        table.set_header(&self.header);
        for row in rows {
            table.add_row(row);
        }
        let last = self.header.len().saturating_sub(1);
        for (index, column) in table.column_iter_mut().enumerate() {
            column.set_padding((0, if index == last { 0 } else { 2 }));
            if self.right.contains(&index) {
                column.set_cell_alignment(CellAlignment::Right);
                column.set_constraint(ColumnConstraint::ContentWidth);
            } else if self.whole.contains(&index) {
                column.set_constraint(ColumnConstraint::ContentWidth);
            } else {
                // The header stays on one line.
                let header = self.header.get(index).map_or(0, |header| header.chars().count());
                let words = rows.iter().filter_map(|row| row.get(index)).filter(|_| self.whole_words).flat_map(|cell| cell.split(' '));
                let least = words.map(|word| word.chars().count()).max().unwrap_or(0).max(header) + usize::from(column.padding_width());
                column.set_constraint(ColumnConstraint::LowerBoundary(Width::Fixed(u16::try_from(least).unwrap_or(u16::MAX))));
            }
        }
        table
    }
}

/// Names stay whole where the longest text column can give way for all.
fn wrap_only_the_widest(table: &mut comfy_table::Table, width: u16) {
    let widths = table.column_max_content_widths();
    let wraps = |column: &comfy_table::Column| column.constraint() != Some(&ColumnConstraint::ContentWidth);
    let least = |column: &comfy_table::Column| match column.constraint() {
        Some(ColumnConstraint::LowerBoundary(Width::Fixed(least))) => usize::from(*least) - usize::from(column.padding_width()),
        _ => 0,
    };
    let widest = table.column_iter().filter(|column| wraps(column)).max_by_key(|column| widths[column.index]);
    let Some((widest, needed)) = widest.map(|column| (column.index, least(column).max(READABLE_WIDTH))) else { return };
    let others: usize = table.column_iter().map(|c| usize::from(c.padding_width()) + usize::from(widths[c.index])).sum();
    if others - usize::from(widths[widest]) + needed <= usize::from(width) {
        for column in table.column_iter_mut().filter(|column| column.index != widest) {
            column.set_constraint(ColumnConstraint::ContentWidth);
        }
    }
}

/// How many rows are laid out at the same time: each takes a kilobyte or two for that, and there may be thousands.
const ROWS_TOGETHER: usize = 500;

/// The narrowest column of running text that one likes to read.
const READABLE_WIDTH: usize = 15;

/// Rows for a spreadsheet or `cut`: RFC 4180 with a header line and `\n` line ends. An unknown value is an empty cell.
pub fn csv<R, C>(header: &[&str], rows: impl IntoIterator<Item = R>) -> String
where
    R: IntoIterator<Item = C>,
    C: AsRef<str>,
{
    let mut text = String::new();
    csv_line(&mut text, header);
    for row in rows {
        csv_line(&mut text, row);
    }
    text
}

fn csv_line<C: AsRef<str>>(text: &mut String, cells: impl IntoIterator<Item = C>) {
    for (index, cell) in cells.into_iter().enumerate() {
        if index > 0 {
            text.push(',');
        }
        let cell = cell.as_ref();
        if cell.contains([',', '"', '\n', '\r']) {
            text.push('"');
            text.push_str(&cell.replace('"', "\"\""));
            text.push('"');
        } else {
            text.push_str(cell);
        }
    }
    text.push('\n');
}

/// SQL that is shown to be copied: a quoted name or literal with characters that a terminal cannot be shown is said as PostgreSQL reads it without
/// them (`"a\nb"` with a line end is `U&"a\000Ab"`). What is not quoted stays as it is, and prose may stand around it.
pub fn pasteable(sql: &str) -> String {
    if !sql.contains(is_hidden) {
        return sql.to_string();
    }
    let mut said = String::with_capacity(sql.len() + 16);
    let mut rest = sql;
    while let Some(start) = opening_quote(rest, &said) {
        let quote = rest.as_bytes()[start] as char;
        let Some(length) = quoted_length(&rest[start + 1..], quote) else { break };
        let (before, quoted) = (&rest[..start], &rest[start..start + 1 + length]);
        said.push_str(before);
        if quoted.contains(is_hidden) {
            said.push_str("U&");
            for c in quoted.chars() {
                match c {
                    '\\' => said.push_str("\\\\"),
                    c if is_hidden(c) => said.push_str(&format!("\\{:04X}", u32::from(c))),
                    c => said.push(c),
                }
            }
        } else {
            said.push_str(quoted);
        }
        rest = &rest[start + 1 + length..];
    }
    said + rest
}

/// Where the next quoted name or literal begins; an apostrophe within prose begins none.
fn opening_quote(rest: &str, said: &str) -> Option<usize> {
    let in_word = |at: usize| rest[..at].chars().next_back().or_else(|| said.chars().next_back()).is_some_and(char::is_alphanumeric);
    rest.char_indices().find(|(at, c)| *c == '"' || (*c == '\'' && !in_word(*at))).map(|(at, _)| at)
}

/// How long it is from behind its first quote to its last; two quotes stand for one.
fn quoted_length(text: &str, quote: char) -> Option<usize> {
    let mut from = 0;
    loop {
        let end = from + text[from..].find(quote)? + 1;
        if !text[end..].starts_with(quote) {
            return Some(end);
        }
        from = end + 1;
    }
}

/// The same as [`visible`], of text that has lines.
pub fn visible_lines(text: &str) -> String {
    text.split('\n').map(visible).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Table {
        Table::new(&["table", "rows", "note"]).right(1).row(["users", "4,182", ""]).row([
            "service_dependencies",
            "12",
            "two orphans set aside",
        ])
    }

    #[test]
    fn a_pipe_gets_aligned_columns_without_trailing_blanks() {
        assert_eq!(
            sample().text(),
            "table                  rows  note\n\
             users                 4,182\n\
             service_dependencies     12  two orphans set aside\n"
        );
    }

    #[test]
    fn many_rows_are_laid_out_as_few_are() {
        let mut table = Table::new(&["table", "rows", "note"]).right(1);
        for number in 0..ROWS_TOGETHER * 2 {
            table.push(["t".to_string(), number.to_string(), String::new()]);
        }
        table.push(["the_longest".to_string(), "1,000,000".to_string(), "表".to_string()]);
        let text = table.text();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), ROWS_TOGETHER * 2 + 2);
        assert_eq!(lines[..2], ["table             rows  note", "t                    0"]);
        assert_eq!(lines[ROWS_TOGETHER + 1], "t                  500");
        assert_eq!(lines[lines.len() - 1], "the_longest  1,000,000  表");
    }

    #[test]
    fn a_narrow_terminal_wraps_words_but_no_numbers() {
        assert_eq!(
            sample().lines(Some(44), false),
            "table                  rows  note\n\
             users                 4,182\n\
             service_dependencies     12  two orphans set\n\
             \x20                            aside\n"
        );
    }

    #[test]
    fn a_terminal_too_narrow_for_the_columns_gets_a_line_each_cell() {
        let table = sample();
        assert_eq!(table.narrowest(), 18);
        assert_eq!(
            table.cells(16, false),
            "table  users\n\
             rows   4,182\n\
             \n\
             table  service_d\n\
             \x20      ependenci\n\
             \x20      es\n\
             rows   12\n\
             note   two\n\
             \x20      orphans\n\
             \x20      set aside\n"
        );
    }

    #[test]
    fn names_stay_whole_where_they_are_asked_to() {
        let table = sample().whole_words();
        assert_eq!((table.narrowest(), table.lines(Some(44), false)), (36, sample().lines(Some(44), false)));
        assert_eq!(sample().whole(2).narrowest(), 35, "the last column is not wrapped, the first is");
        // Where several columns have to give way, too.
        let table = Table::new(&["application", "state", "wait"]).whole_words();
        let table = table.row(["inventory-service", "idle in transaction", "ShareLock on a row of transaction 869"]);
        assert_eq!(table.narrowest(), 43);
        let shown = table.lines(Some(45), false);
        assert!(["inventory-service", "transaction", "ShareLock"].iter().all(|word| shown.contains(word)), "{shown}");
    }

    #[test]
    fn colour_marks_the_header_and_changes_no_word() {
        let colored = sample().lines(None, true);
        assert!(colored.starts_with("\x1b[1mtable                  rows  note\x1b[0m\n"));
        assert_eq!(colored.replace("\x1b[1m", "").replace("\x1b[0m", ""), sample().text());
    }

    #[test]
    fn wide_letters_count_as_two() {
        assert_eq!(Table::new(&["name", "n"]).right(1).row(["表", "1"]).row(["abc", "22"]).text(), "name   n\n表     1\nabc   22\n");
    }

    #[test]
    fn a_hostile_cell_stays_on_its_line() {
        let text = Table::new(&["a", "b"]).row(["x\n\x1b[2Jy", "\u{202e}z"]).text();
        assert_eq!(text, "a              b\nx\\n\\u{1b}[2Jy  \\u{202e}z\n");
    }

    #[test]
    fn what_is_copied_is_what_postgresql_reads() {
        let same = "DROP INDEX CONCURRENTLY public.\"it's \\ a \"\"T\"; -- as \"x\"";
        assert_eq!(pasteable(same), same);
        let said =
            pasteable("this user's DROP INDEX public.\"it's \\ \"\"a\tb\", \"\u{202e}c\";\nSELECT 'd\ne', 'f'\n-- isn't \"g\rh\" it's");
        let wanted = "this user's DROP INDEX public.U&\"it's \\\\ \"\"a\\0009b\", U&\"\\202Ec\";\nSELECT U&'d\\000Ae', 'f'\n-- isn't U&\"g\\000Dh\" it's";
        assert_eq!(said, wanted);
        assert_eq!(pasteable("no end of \"a\nb"), "no end of \"a\nb");
    }

    #[test]
    fn what_is_copied_is_not_wrapped_where_each_cell_has_a_line() {
        let table = Table::new(&["index", "ddl"]).whole(1).row(["public.an index", "DROP INDEX public.\"an index with blanks\""]);
        assert_eq!(table.cells(20, false), "index  public.an\n       index\nddl    DROP INDEX public.\"an index with blanks\"\n");
    }

    #[test]
    fn rows_may_be_short() {
        assert_eq!(Table::new(&["a", "b"]).row(["1"]).text(), "a  b\n1\n");
    }

    #[test]
    fn csv_quotes_what_needs_it() {
        let text = csv(&["name", "note"], [["plain", "a,b"], ["say \"hi\"", "two\nlines"]]);
        assert_eq!(text, "name,note\nplain,\"a,b\"\n\"say \"\"hi\"\"\",\"two\nlines\"\n");
    }
}
