//! A script's text into commands: expressions read, variables in their places, conditions as jumps.

use std::sync::Arc;
use std::time::Duration;

use super::expression::{self, Expression, is_name};
use super::scan::{self, Part};
use super::{Command, Control, Fault, Keep, Names, Pause, Piece, Place, Script, Statement, line_and_column};
use crate::store::Isolation;

/// Reads a script. Its statements are numbered from `*statements` on; `quoted` allows variables within quotes (the simple protocol).
pub fn read(name: &str, text: &str, weight: u32, quoted: bool, names: &mut Names, statements: &mut usize) -> Result<Script, Fault> {
    // A UTF-8 mark at the start is no SQL.
    let body = text.trim_start_matches('\u{feff}');
    let mut reader =
        Reader { name: name.into(), text: body, names, statements, quoted, commands: Vec::new(), open: Vec::new(), late: false };
    for piece in scan::scan(body)? {
        match piece {
            scan::Piece::Sql(sql) => reader.sql(&sql)?,
            scan::Piece::Meta { offset, name, rest, rest_offset } => reader.meta(offset, name, rest, rest_offset)?,
        }
    }
    if let Some(open) = reader.open.last() {
        return Err(Fault::new(open.offset, "\\if without its \\endif"));
    }
    let (commands, late) = (reader.commands, reader.late);
    if commands.is_empty() {
        return Err(Fault::new(0, "the script is empty"));
    }
    // What \gset brings is known only when it comes.
    if !late && let Some(fault) = names.missing() {
        return Err(fault);
    }
    let reads_only = commands.iter().all(|command| !matches!(command, Command::Statement(statement) if !statement.reads_only));
    Ok(Script { name: name.to_string(), weight, commands, reads_only })
}

struct Reader<'a> {
    name: Arc<str>,
    text: &'a str,
    names: &'a mut Names,
    statements: &'a mut usize,
    quoted: bool,
    commands: Vec<Command>,
    open: Vec<Condition>,
    /// A `\gset` stood before.
    late: bool,
}

/// An `\if` that is not ended yet.
struct Condition {
    offset: usize,
    /// The command that goes on here when its condition does not hold.
    unless: Option<usize>,
    /// The jumps from each branch's end to the `\endif`.
    ends: Vec<usize>,
    has_else: bool,
}

impl Reader<'_> {
    fn sql(&mut self, sql: &scan::Sql<'_>) -> Result<(), Fault> {
        let (mut text, mut pieces, mut parameters) = (String::new(), Vec::new(), Vec::new());
        for part in &sql.parts {
            match part {
                Part::Text(part) => {
                    text.push_str(part);
                    pieces.push(Piece::Text(part.to_string()));
                }
                // '10:30 am' is no variable, unless somebody set one of that name.
                Part::Variable { name, quoted: true, .. } if self.names.find(name).is_none() => {
                    text.push_str(&format!(":{name}"));
                    pieces.push(Piece::Text(format!(":{name}")));
                }
                Part::Variable { name, offset, quoted: true } if !self.quoted => {
                    return Err(Fault::new(
                        *offset,
                        format!("the variable :{name} stands within quotes, where only -M simple can put its value"),
                    ));
                }
                Part::Variable { name, offset, .. } => {
                    let slot = self.names.used(name, *offset);
                    parameters.push(slot);
                    text.push_str(&format!("${}", parameters.len()));
                    pieces.push(Piece::Variable(slot));
                }
            }
        }
        if sql.joined && !self.quoted {
            return Err(Fault::new(sql.offset, "commands joined by \\; need -M simple: the extended protocol sends one at a time"));
        }
        self.late |= sql.keep != Keep::Nothing;
        let statement = Statement {
            index: *self.statements,
            reads_only: reads_only(&text),
            pieces,
            parameters,
            sqlite: Vec::new(),
            query: None,
            keep: sql.keep.clone(),
            control: control(&text),
            leaves_open: leaves_open(&text),
            place: self.place(sql.offset),
            sql: text,
        };
        *self.statements += 1;
        self.commands.push(Command::Statement(Box::new(statement)));
        Ok(())
    }

    fn meta(&mut self, offset: usize, name: &str, rest: &str, rest_offset: usize) -> Result<(), Fault> {
        let argument_offset = rest_offset + (rest.len() - rest.trim_start().len());
        let argument = rest.trim_start();
        match name {
            "set" => {
                let length = argument.find(char::is_whitespace).unwrap_or(argument.len());
                let (variable, value) = argument.split_at(length);
                if variable.is_empty() {
                    return Err(Fault::new(argument_offset, "\\set takes a variable's name and an expression"));
                }
                if !variable.chars().all(is_name) {
                    return Err(Fault::new(argument_offset, format!("{variable:?} is no name of a variable")));
                }
                let expression = self.expression(value, argument_offset + length)?;
                let slot = self.names.set(variable);
                let place = self.place(argument_offset + length + (value.len() - value.trim_start().len()));
                self.commands.push(Command::Set(slot, expression, place));
            }
            "sleep" => {
                let pause = self.pause(argument, argument_offset)?;
                self.commands.push(Command::Sleep(pause, self.place(argument_offset)));
            }
            "if" => {
                let unless = self.unless(argument, argument_offset)?;
                self.open.push(Condition { offset, unless: Some(unless), ends: Vec::new(), has_else: false });
            }
            "elif" => {
                self.next_branch(offset, name)?;
                let unless = self.unless(argument, argument_offset)?;
                if let Some(condition) = self.open.last_mut() {
                    condition.unless = Some(unless);
                }
            }
            "else" => {
                self.next_branch(offset, name)?;
                if let Some(condition) = self.open.last_mut() {
                    condition.has_else = true;
                }
                nothing_more(argument, argument_offset, name)?;
            }
            "endif" => {
                let Some(condition) = self.open.pop() else { return Err(Fault::new(offset, "\\endif without its \\if")) };
                nothing_more(argument, argument_offset, name)?;
                let here = self.commands.len();
                for command in condition.unless.into_iter().chain(condition.ends) {
                    self.go_on_at(command, here);
                }
            }
            "startpipeline" | "endpipeline" | "syncpipeline" => {
                return Err(Fault::new(
                    offset,
                    format!("\\{name}: pipelines are not run; take the command out to run the statements one by one"),
                ));
            }
            "shell" | "setshell" => {
                return Err(Fault::new(offset, format!("\\{name}: a load test runs no programs of the shell")));
            }
            _ => {
                const KNOWN: [&str; 8] = ["set", "sleep", "if", "elif", "else", "endif", "gset", "aset"];
                let near = KNOWN.iter().map(|known| (strsim::damerau_levenshtein(known, name), known)).min().filter(|near| near.0 <= 2);
                let question = near.map_or(String::new(), |(_, near)| format!("; did you mean \\{near}?"));
                return Err(Fault::new(offset, format!("there is no command \\{name}{question}")));
            }
        }
        Ok(())
    }

    fn place(&self, offset: usize) -> Place {
        Place { script: Arc::clone(&self.name), at: Some(line_and_column(self.text, offset)) }
    }

    fn expression(&mut self, text: &str, offset: usize) -> Result<Expression, Fault> {
        expression::parse(text.trim_end(), offset, self.names)
    }

    fn unless(&mut self, text: &str, offset: usize) -> Result<usize, Fault> {
        let condition = self.expression(text, offset)?;
        let place = self.place(offset);
        self.commands.push(Command::Unless(condition, 0, place));
        Ok(self.commands.len() - 1)
    }

    /// Ends a branch: who ran it jumps to the end, who did not goes on behind it.
    fn next_branch(&mut self, offset: usize, name: &str) -> Result<(), Fault> {
        let jump = self.commands.len();
        let Some(condition) = self.open.last_mut() else { return Err(Fault::new(offset, format!("\\{name} without its \\if"))) };
        if condition.has_else {
            return Err(Fault::new(offset, format!("\\{name} behind \\else")));
        }
        condition.ends.push(jump);
        let unless = condition.unless.take();
        self.commands.push(Command::Jump(0));
        if let Some(unless) = unless {
            self.go_on_at(unless, jump + 1);
        }
        Ok(())
    }

    fn go_on_at(&mut self, command: usize, target: usize) {
        if let Command::Unless(_, at, _) | Command::Jump(at) = &mut self.commands[command] {
            *at = target;
        }
    }

    fn pause(&mut self, argument: &str, offset: usize) -> Result<Pause, Fault> {
        let argument = argument.trim_end();
        let length = argument.find(|c: char| !is_name(c) && c != ':').unwrap_or(argument.len());
        let (number, unit) = argument.split_at(length);
        let digits = number.find(|c: char| !c.is_ascii_digit()).filter(|_| !number.starts_with(':')).unwrap_or(number.len());
        // `10ms` and `10 ms` are the same.
        let (number, unit) = if digits < number.len() { number.split_at(digits) } else { (number, unit.trim()) };
        let wrong = || Fault::new(offset, "\\sleep takes a number or a variable, and us, ms or s");
        if !number.starts_with(|c: char| c.is_ascii_digit() || c == ':') {
            return Err(wrong());
        }
        let unit = match unit {
            "us" => Duration::from_micros(1),
            "ms" => Duration::from_millis(1),
            "s" | "" => Duration::from_secs(1),
            unit => return Err(Fault::new(offset, format!("\\sleep knows us, ms and s, not {unit:?}"))),
        };
        if let Some(name) = number.strip_prefix(':').filter(|name| !name.is_empty()) {
            return Ok(Pause::Variable(self.names.used(name, offset), unit));
        }
        match number.parse::<u32>() {
            Ok(count) => Ok(Pause::For(unit * count)),
            Err(_) => Err(wrong()),
        }
    }
}

fn nothing_more(argument: &str, offset: usize, name: &str) -> Result<(), Fault> {
    if argument.trim().is_empty() { Ok(()) } else { Err(Fault::new(offset, format!("\\{name} takes nothing"))) }
}

/// What its first word tells; a function that a SELECT calls may still write, and PostgreSQL is what forbids.
pub fn reads_only(sql: &str) -> bool {
    let upper = sql.to_ascii_uppercase();
    let words: Vec<&str> = upper.split(|c: char| !is_name(c)).filter(|word| !word.is_empty()).collect();
    let writes = ["INSERT", "UPDATE", "DELETE", "MERGE"];
    match words.first().copied().unwrap_or_default() {
        "SELECT" => {
            !words.contains(&"INTO")
                && !words.windows(2).any(|pair| pair[0] == "FOR" && matches!(pair[1], "UPDATE" | "SHARE" | "NO" | "KEY"))
        }
        "WITH" => !words.iter().any(|word| writes.contains(word)),
        first => ["VALUES", "TABLE", "SHOW", "BEGIN", "START", "END", "COMMIT", "ROLLBACK", "SET", "EXPLAIN", "FETCH"].contains(&first),
    }
}

/// Whether a transaction is open after it: none where it neither begins nor ends one. Of several in one the last decides.
fn leaves_open(sql: &str) -> Option<bool> {
    let of = |part: &str| {
        let mut words = part.split(|c: char| !is_name(c)).filter(|word| !word.is_empty()).map(str::to_ascii_uppercase);
        match (words.next()?.as_str(), words.next().as_deref()) {
            ("BEGIN", _) | ("START", Some("TRANSACTION")) => Some(true),
            // ROLLBACK TO a savepoint, COMMIT AND CHAIN.
            ("COMMIT" | "END" | "ROLLBACK" | "ABORT", None | Some("WORK" | "TRANSACTION" | "PREPARED")) => Some(false),
            _ => None,
        }
    };
    sql.split(';').filter_map(of).next_back()
}

/// What it does to the transaction; what says more than that (COMMIT PREPARED, ROLLBACK TO) is a statement like others.
fn control(sql: &str) -> Option<Control> {
    let upper = sql.to_ascii_uppercase();
    let words: Vec<&str> = upper.split(|c: char| !is_name(c)).filter(|word| !word.is_empty()).collect();
    let (first, rest) = words.split_first()?;
    let rest = match rest {
        ["WORK" | "TRANSACTION", rest @ ..] => rest,
        rest => rest,
    };
    match (*first, rest) {
        ("COMMIT" | "END", []) => Some(Control::Commit),
        ("ROLLBACK" | "ABORT", []) => Some(Control::Rollback),
        ("BEGIN" | "START", modes) => {
            let has = |wanted: &[&str]| modes.windows(wanted.len()).any(|words| words == wanted);
            let isolation = if has(&["SERIALIZABLE"]) {
                Isolation::Serializable
            } else if has(&["REPEATABLE", "READ"]) {
                Isolation::RepeatableRead
            } else {
                Isolation::ReadCommitted
            };
            Some(Control::Begin { isolation, read_only: has(&["READ", "ONLY"]) })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests;
