//! The facts of a CREATE statement that SQLite's PRAGMAs do not tell.
//!
//! Our own reader, and not the crate of SQLite's grammar: a stored statement has to yield its facts even where one of its
//! expressions is beyond us, on any stack and without a panic, and every expression has to come out as the text that was
//! written. So the statements are read token by token, expressions are skipped by their parentheses (no recursion at all), and
//! `syntax` reads the expressions themselves, one by one, when they are translated.

use std::fmt;

use super::token::{Cursor, Kind, unquote};
use crate::model::{Check, ForeignKey, ForeignKeyAction, Generated};

/// Why a statement could not be read, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseError {
    /// Bytes from the start of the statement.
    pub offset: usize,
    pub message: String,
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at byte {}: {}", self.offset, self.message)
    }
}

impl std::error::Error for ParseError {}

/// A table as its CREATE statement says it. What is written at a column (PRIMARY KEY, UNIQUE, CHECK, REFERENCES) stands among the table's own, in the
/// order of the text. Names are bare; expressions are SQL text without outer parentheses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TableDdl {
    pub name: String,
    pub columns: Vec<ColumnDdl>,
    pub primary_key: Option<KeyDdl>,
    pub autoincrement: bool,
    pub uniques: Vec<KeyDdl>,
    pub checks: Vec<Check>,
    /// MATCH is read and left out: SQLite ignores it.
    pub foreign_keys: Vec<ForeignKey>,
    pub without_rowid: bool,
    pub strict: bool,
    /// `CREATE VIRTUAL TABLE … USING module(arguments)`; then everything above is empty.
    pub module: Option<ModuleDdl>,
    /// `CREATE TABLE … AS SELECT`, which SQLite itself never stores.
    pub as_select: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ColumnDdl {
    pub name: String,
    /// As written; empty when there is none.
    pub declared: String,
    pub not_null: bool,
    pub not_null_conflict: Option<Conflict>,
    pub default: Option<String>,
    pub generated: Option<Generated>,
    pub collation: Option<String>,
}

/// PRIMARY KEY or UNIQUE.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyDdl {
    pub name: Option<String>,
    pub columns: Vec<IndexItem>,
    pub conflict: Option<Conflict>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conflict {
    Rollback,
    Abort,
    Fail,
    Ignore,
    Replace,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModuleDdl {
    pub name: String,
    /// The text between the parentheses; empty without them.
    pub arguments: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IndexDdl {
    pub name: String,
    pub table: String,
    pub unique: bool,
    pub items: Vec<IndexItem>,
    pub predicate: Option<String>,
}

/// One column or expression of an index or key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IndexItem {
    /// The bare name when the item is a lone name. In an index, a double-quoted name that is no column is a string: see `expression`.
    pub column: Option<String>,
    /// The item as SQL text, without COLLATE and DESC.
    pub expression: String,
    pub collation: Option<String>,
    pub descending: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ViewDdl {
    pub name: String,
    /// The view's own names of its columns; empty when the SELECT names them.
    pub columns: Vec<String>,
    pub select: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timing {
    Before,
    After,
    InsteadOf,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TriggerEvent {
    Insert,
    Delete,
    /// With the columns of `UPDATE OF`; none means any.
    Update(Vec<String>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TriggerDdl {
    pub name: String,
    pub table: String,
    pub timing: Timing,
    pub event: TriggerEvent,
    pub when: Option<String>,
    /// The statements between BEGIN and END, each with its semicolon.
    pub body: String,
}

/// Reads `CREATE TABLE` and `CREATE VIRTUAL TABLE`.
pub fn create_table(sql: &str) -> Result<TableDdl, ParseError> {
    let mut cursor = Cursor::new(sql);
    cursor.expect_word("CREATE")?;
    if cursor.take_word("VIRTUAL") {
        return virtual_table(&mut cursor);
    }
    let _ = cursor.take_word("TEMP") || cursor.take_word("TEMPORARY");
    cursor.expect_word("TABLE")?;
    let mut table = TableDdl { name: object_name(&mut cursor)?, ..TableDdl::default() };
    if cursor.take_word("AS") {
        table.as_select = Some(cursor.rest().to_string());
        return Ok(table);
    }
    cursor.expect_symbol("(")?;
    let mut constraints = false;
    loop {
        constraints = constraints || cursor.is_any_word(&["CONSTRAINT", "PRIMARY", "UNIQUE", "CHECK", "FOREIGN"]);
        if constraints {
            table_constraint(&mut cursor, &mut table)?;
        } else {
            column(&mut cursor, &mut table)?;
        }
        if cursor.take_symbol(")") {
            break;
        }
        // Between table constraints SQLite lets the comma be left out.
        if !cursor.take_symbol(",") && !constraints {
            return Err(cursor.expected(", or )"));
        }
    }
    while !cursor.is_end() && !cursor.is_symbol(";") {
        if cursor.take_words(&["WITHOUT", "ROWID"]) {
            table.without_rowid = true;
        } else if cursor.take_word("STRICT") {
            table.strict = true;
        } else if !cursor.take_symbol(",") {
            return Err(cursor.expected("a table option"));
        }
    }
    Ok(table)
}

fn virtual_table(cursor: &mut Cursor) -> Result<TableDdl, ParseError> {
    cursor.expect_word("TABLE")?;
    let name = object_name(cursor)?;
    cursor.expect_word("USING")?;
    let module = cursor.expect_name()?;
    let arguments = if cursor.is_symbol("(") { cursor.take_parenthesis()?.to_string() } else { String::new() };
    Ok(TableDdl { name, module: Some(ModuleDdl { name: module, arguments }), ..TableDdl::default() })
}

/// `[IF NOT EXISTS] [schema.]name`.
fn object_name(cursor: &mut Cursor) -> Result<String, ParseError> {
    if cursor.is_words(&["IF", "NOT", "EXISTS"]) {
        cursor.take_words(&["IF", "NOT", "EXISTS"]);
    }
    let name = cursor.expect_name()?;
    if cursor.take_symbol(".") { cursor.expect_name() } else { Ok(name) }
}

fn column(cursor: &mut Cursor, table: &mut TableDdl) -> Result<(), ParseError> {
    let name = cursor.expect_name()?;
    let mut column = ColumnDdl { name, declared: declared_type(cursor)?, ..ColumnDdl::default() };
    let mut constraint = None;
    loop {
        if cursor.take_word("CONSTRAINT") {
            constraint = Some(cursor.expect_name()?);
            continue;
        }
        if cursor.take_word("DEFAULT") {
            column.default = Some(default_text(cursor)?);
        } else if cursor.take_words(&["NOT", "NULL"]) {
            column.not_null = true;
            column.not_null_conflict = conflict(cursor)?;
        } else if cursor.take_word("NULL") {
            conflict(cursor)?;
        } else if cursor.take_words(&["PRIMARY", "KEY"]) {
            let descending = direction(cursor);
            let key = KeyDdl { name: constraint.take(), columns: vec![own_item(&column.name, descending)], conflict: conflict(cursor)? };
            table.autoincrement |= cursor.take_word("AUTOINCREMENT");
            table.primary_key = Some(key);
        } else if cursor.take_word("UNIQUE") {
            let key = KeyDdl { name: constraint.take(), columns: vec![own_item(&column.name, false)], conflict: conflict(cursor)? };
            table.uniques.push(key);
        } else if cursor.take_word("CHECK") {
            table.checks.push(Check { name: constraint.take(), expression: cursor.take_parenthesis()?.to_string() });
            conflict(cursor)?;
        } else if cursor.is_word("REFERENCES") {
            let key = references(cursor, constraint.take(), vec![column.name.clone()])?;
            table.foreign_keys.push(key);
        } else if cursor.take_word("COLLATE") {
            column.collation = Some(cursor.expect_name()?);
        } else if cursor.is_words(&["GENERATED", "ALWAYS", "AS"]) || cursor.is_word("AS") {
            column.generated = Some(generated(cursor)?);
        } else {
            break;
        }
    }
    table.columns.push(column);
    Ok(())
}

fn own_item(name: &str, descending: bool) -> IndexItem {
    IndexItem { column: Some(name.to_string()), expression: name.to_string(), collation: None, descending }
}

/// Any run of words and quoted names up to the first constraint, and what stands in parentheses after it.
fn declared_type(cursor: &mut Cursor) -> Result<String, ParseError> {
    const CONSTRAINTS: [&str; 12] = [
        "CONSTRAINT",
        "DEFAULT",
        "NOT",
        "NULL",
        "PRIMARY",
        "UNIQUE",
        "CHECK",
        "REFERENCES",
        "COLLATE",
        "AS",
        "DEFERRABLE",
        "AUTOINCREMENT",
    ];
    let mut from = cursor.clone();
    while matches!(cursor.kind(), Kind::Word | Kind::DoubleQuoted | Kind::Quoted | Kind::Text)
        && !cursor.is_any_word(&CONSTRAINTS)
        && !cursor.is_words(&["GENERATED", "ALWAYS"])
    {
        cursor.take();
    }
    let before = cursor.peek().start;
    if from.peek().start == before {
        return Ok(String::new());
    }
    if cursor.is_symbol("(") {
        cursor.take_parenthesis()?;
    }
    let end = cursor.peek().start;
    let written = from.take_until(|at| at.peek().start >= end);
    // A lone quoted name is its bare text, as SQLite keeps it.
    let quoted = written.starts_with(['"', '\'', '`', '[']) && !written.contains(char::is_whitespace) && !written.contains('(');
    Ok(if quoted { unquote(written) } else { written.to_string() })
}

fn default_text(cursor: &mut Cursor) -> Result<String, ParseError> {
    if cursor.is_symbol("(") {
        return Ok(cursor.take_parenthesis()?.to_string());
    }
    let mut text = String::new();
    while cursor.is_symbol("-") || cursor.is_symbol("+") {
        text.push_str(cursor.text(cursor.peek()));
        cursor.take();
    }
    let token = cursor.peek();
    if matches!(token.kind, Kind::Symbol | Kind::End | Kind::Illegal) {
        return Err(cursor.expected("a default"));
    }
    cursor.take();
    Ok(text + cursor.text(token))
}

fn conflict(cursor: &mut Cursor) -> Result<Option<Conflict>, ParseError> {
    if !cursor.take_words(&["ON", "CONFLICT"]) {
        return Ok(None);
    }
    let way = match cursor.text(cursor.peek()).to_ascii_uppercase().as_str() {
        "ROLLBACK" => Conflict::Rollback,
        "ABORT" => Conflict::Abort,
        "FAIL" => Conflict::Fail,
        "IGNORE" => Conflict::Ignore,
        "REPLACE" => Conflict::Replace,
        _ => return Err(cursor.expected("a way to resolve the conflict")),
    };
    cursor.take();
    Ok(Some(way))
}

/// True after DESC.
fn direction(cursor: &mut Cursor) -> bool {
    let descending = cursor.take_word("DESC");
    if !descending {
        cursor.take_word("ASC");
    }
    descending
}

fn generated(cursor: &mut Cursor) -> Result<Generated, ParseError> {
    cursor.take_words(&["GENERATED", "ALWAYS"]);
    cursor.expect_word("AS")?;
    let expression = cursor.take_parenthesis()?.to_string();
    let stored = cursor.take_word("STORED");
    if !stored {
        cursor.take_word("VIRTUAL");
    }
    Ok(Generated { expression, stored, unknown: None })
}

fn table_constraint(cursor: &mut Cursor, table: &mut TableDdl) -> Result<(), ParseError> {
    let mut name = None;
    // A name without a constraint is legal, and names nothing.
    while cursor.take_word("CONSTRAINT") {
        name = Some(cursor.expect_name()?);
    }
    if cursor.take_words(&["PRIMARY", "KEY"]) {
        let (columns, autoincrement) = key_items(cursor)?;
        table.autoincrement |= autoincrement;
        table.primary_key = Some(KeyDdl { name, columns, conflict: conflict(cursor)? });
    } else if cursor.take_word("UNIQUE") {
        let (columns, _) = key_items(cursor)?;
        table.uniques.push(KeyDdl { name, columns, conflict: conflict(cursor)? });
    } else if cursor.take_word("CHECK") {
        table.checks.push(Check { name, expression: cursor.take_parenthesis()?.to_string() });
        conflict(cursor)?;
    } else if cursor.take_words(&["FOREIGN", "KEY"]) {
        let columns = names(cursor)?;
        table.foreign_keys.push(references(cursor, name, columns)?);
    } else if !(name.is_some() && (cursor.is_symbol(",") || cursor.is_symbol(")"))) {
        return Err(cursor.expected("a constraint"));
    }
    Ok(())
}

fn key_items(cursor: &mut Cursor) -> Result<(Vec<IndexItem>, bool), ParseError> {
    cursor.expect_symbol("(")?;
    let mut items = Vec::new();
    loop {
        items.push(index_item(cursor)?);
        if !cursor.take_symbol(",") {
            let autoincrement = cursor.take_word("AUTOINCREMENT");
            cursor.expect_symbol(")")?;
            return Ok((items, autoincrement));
        }
    }
}

fn index_item(cursor: &mut Cursor) -> Result<IndexItem, ParseError> {
    let first = cursor.peek();
    let start = cursor.clone();
    let is_tail = |at: &Cursor| {
        at.is_symbol(",")
            || (at.is_any_word(&["ASC", "DESC", "AUTOINCREMENT"]) && (at.symbol_at(1, ",") || at.symbol_at(1, ")")))
            || (at.is_words(&["ASC", "AUTOINCREMENT"]) || at.is_words(&["DESC", "AUTOINCREMENT"]))
            || (at.is_word("COLLATE") && ends_item(at, 2))
    };
    let expression = cursor.take_until(is_tail).to_string();
    if expression.is_empty() {
        return Err(cursor.expected("a column or an expression"));
    }
    let lone = start.peek_at(1).start >= cursor.peek().start;
    let is_name = match first.kind {
        Kind::DoubleQuoted | Kind::Quoted | Kind::Text => true,
        Kind::Word => !start.is_any_word(&["NULL", "CURRENT_TIME", "CURRENT_DATE", "CURRENT_TIMESTAMP"]),
        _ => false,
    };
    let column = (lone && is_name).then(|| unquote(&expression));
    let collation = if cursor.take_word("COLLATE") { Some(cursor.expect_name()?) } else { None };
    let descending = direction(cursor);
    Ok(IndexItem { column, expression, collation, descending })
}

/// True when the item of an index ends `ahead`, or only its direction is left.
fn ends_item(cursor: &Cursor, ahead: usize) -> bool {
    let ends = |ahead| cursor.symbol_at(ahead, ",") || cursor.symbol_at(ahead, ")") || cursor.word_at(ahead, "AUTOINCREMENT");
    ends(ahead) || ((cursor.word_at(ahead, "ASC") || cursor.word_at(ahead, "DESC")) && ends(ahead + 1))
}

fn names(cursor: &mut Cursor) -> Result<Vec<String>, ParseError> {
    cursor.expect_symbol("(")?;
    let mut names = Vec::new();
    loop {
        names.push(cursor.expect_name()?);
        if cursor.take_word("COLLATE") {
            cursor.expect_name()?;
        }
        direction(cursor);
        if !cursor.take_symbol(",") {
            cursor.expect_symbol(")")?;
            return Ok(names);
        }
    }
}

fn references(cursor: &mut Cursor, name: Option<String>, columns: Vec<String>) -> Result<ForeignKey, ParseError> {
    cursor.expect_word("REFERENCES")?;
    let mut key = ForeignKey {
        name,
        columns,
        parent: cursor.expect_name()?,
        parent_columns: if cursor.is_symbol("(") { names(cursor)? } else { Vec::new() },
        on_update: ForeignKeyAction::NoAction,
        on_delete: ForeignKeyAction::NoAction,
        deferrable: false,
        initially_deferred: false,
    };
    loop {
        if cursor.take_words(&["ON", "DELETE"]) {
            key.on_delete = action(cursor)?;
        } else if cursor.take_words(&["ON", "UPDATE"]) {
            key.on_update = action(cursor)?;
        } else if cursor.take_words(&["ON", "INSERT"]) {
            action(cursor)?;
        } else if cursor.take_word("MATCH") {
            cursor.expect_name()?;
        } else if cursor.is_words(&["NOT", "DEFERRABLE"]) || cursor.is_word("DEFERRABLE") {
            key.deferrable = !cursor.take_word("NOT");
            cursor.expect_word("DEFERRABLE")?;
            if cursor.take_word("INITIALLY") {
                key.initially_deferred = key.deferrable && cursor.is_word("DEFERRED");
                cursor.take();
            }
        } else {
            return Ok(key);
        }
    }
}

fn action(cursor: &mut Cursor) -> Result<ForeignKeyAction, ParseError> {
    Ok(if cursor.take_words(&["SET", "NULL"]) {
        ForeignKeyAction::SetNull
    } else if cursor.take_words(&["SET", "DEFAULT"]) {
        ForeignKeyAction::SetDefault
    } else if cursor.take_word("CASCADE") {
        ForeignKeyAction::Cascade
    } else if cursor.take_word("RESTRICT") {
        ForeignKeyAction::Restrict
    } else if cursor.take_words(&["NO", "ACTION"]) {
        ForeignKeyAction::NoAction
    } else {
        return Err(cursor.expected("an action"));
    })
}

/// Reads `CREATE [UNIQUE] INDEX`.
pub fn create_index(sql: &str) -> Result<IndexDdl, ParseError> {
    let mut cursor = Cursor::new(sql);
    cursor.expect_word("CREATE")?;
    let unique = cursor.take_word("UNIQUE");
    cursor.expect_word("INDEX")?;
    let name = object_name(&mut cursor)?;
    cursor.expect_word("ON")?;
    let table = cursor.expect_name()?;
    let (items, _) = key_items(&mut cursor)?;
    let predicate = if cursor.take_word("WHERE") { Some(cursor.rest().to_string()) } else { None };
    Ok(IndexDdl { name, table, unique, items, predicate })
}

/// Reads `CREATE VIEW`.
pub fn create_view(sql: &str) -> Result<ViewDdl, ParseError> {
    let mut cursor = Cursor::new(sql);
    cursor.expect_word("CREATE")?;
    let _ = cursor.take_word("TEMP") || cursor.take_word("TEMPORARY");
    cursor.expect_word("VIEW")?;
    let name = object_name(&mut cursor)?;
    let columns = if cursor.is_symbol("(") { names(&mut cursor)? } else { Vec::new() };
    cursor.expect_word("AS")?;
    Ok(ViewDdl { name, columns, select: cursor.rest().to_string() })
}

/// Reads `CREATE TRIGGER`.
pub fn create_trigger(sql: &str) -> Result<TriggerDdl, ParseError> {
    let mut cursor = Cursor::new(sql);
    cursor.expect_word("CREATE")?;
    let _ = cursor.take_word("TEMP") || cursor.take_word("TEMPORARY");
    cursor.expect_word("TRIGGER")?;
    let name = object_name(&mut cursor)?;
    let timing = if cursor.take_word("AFTER") {
        Timing::After
    } else if cursor.take_words(&["INSTEAD", "OF"]) {
        Timing::InsteadOf
    } else {
        cursor.take_word("BEFORE");
        Timing::Before
    };
    let event = trigger_event(&mut cursor)?;
    cursor.expect_word("ON")?;
    let mut table = cursor.expect_name()?;
    if cursor.take_symbol(".") {
        table = cursor.expect_name()?;
    }
    cursor.take_words(&["FOR", "EACH", "ROW"]);
    let when = if cursor.take_word("WHEN") { Some(cursor.take_until(|at| at.is_word("BEGIN")).to_string()) } else { None };
    cursor.expect_word("BEGIN")?;
    let body = cursor.rest();
    let body = match body.len().checked_sub(3).and_then(|at| body.split_at_checked(at)) {
        Some((statements, end)) if end.eq_ignore_ascii_case("END") => statements.trim().to_string(),
        _ => return Err(ParseError { offset: sql.len(), message: "expected END".to_string() }),
    };
    Ok(TriggerDdl { name, table, timing, event, when, body })
}

fn trigger_event(cursor: &mut Cursor) -> Result<TriggerEvent, ParseError> {
    if cursor.take_word("INSERT") {
        return Ok(TriggerEvent::Insert);
    }
    if cursor.take_word("DELETE") {
        return Ok(TriggerEvent::Delete);
    }
    cursor.expect_word("UPDATE")?;
    let mut columns = Vec::new();
    if cursor.take_word("OF") {
        loop {
            columns.push(cursor.expect_name()?);
            if !cursor.take_symbol(",") {
                break;
            }
        }
    }
    Ok(TriggerEvent::Update(columns))
}

#[cfg(test)]
pub(in crate::dialect) mod tests;
