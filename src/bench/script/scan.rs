//! Where commands begin and end in a script: SQL up to its semicolon, backslash commands up to the line's end. As psql scans it.

use super::expression::is_name;
use super::{Fault, Keep};

/// One command as it stands in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    Sql(Sql<'a>),
    /// `name`, and what follows it; both with where they stand.
    Meta {
        offset: usize,
        name: &'a str,
        rest: &'a str,
        rest_offset: usize,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sql<'a> {
    pub offset: usize,
    pub parts: Vec<Part<'a>>,
    pub keep: Keep,
    /// Several commands joined by `\;`.
    pub joined: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part<'a> {
    Text(&'a str),
    Variable { name: &'a str, offset: usize, quoted: bool },
}

pub fn scan(text: &str) -> Result<Vec<Piece<'_>>, Fault> {
    let mut scanner = Scanner { text, at: 0, part: 0, sql: None, pieces: Vec::new(), depth: 0 };
    scanner.run()?;
    Ok(scanner.pieces)
}

struct Scanner<'a> {
    text: &'a str,
    at: usize,
    /// Where the part that is being read began.
    part: usize,
    sql: Option<Sql<'a>>,
    pieces: Vec<Piece<'a>>,
    /// Of parentheses.
    depth: u32,
}

impl<'a> Scanner<'a> {
    fn run(&mut self) -> Result<(), Fault> {
        while let Some(c) = self.rest().chars().next() {
            let rest = self.rest();
            if rest.starts_with("--") {
                self.end_part();
                self.at += rest.find('\n').unwrap_or(rest.len());
                self.part = self.at;
            } else if rest.starts_with("/*") {
                self.comment()?;
            } else if c == '\\' && rest[1..].starts_with(';') {
                if let Some(sql) = &mut self.sql {
                    sql.joined = true;
                }
                self.end_part();
                self.part = self.at + 1;
                self.at += 2;
            } else if c == '\\' {
                self.end_sql();
                self.meta()?;
            } else if c == ';' && self.depth == 0 {
                self.end_sql();
                self.at += 1;
                self.part = self.at;
            } else if c.is_whitespace() && self.sql.is_none() {
                self.at += c.len_utf8();
                self.part = self.at;
            } else {
                self.begin_sql();
                self.sql_character(c)?;
            }
        }
        self.end_sql();
        Ok(())
    }

    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn begin_sql(&mut self) {
        if self.sql.is_none() {
            self.part = self.at;
            self.depth = 0;
            self.sql = Some(Sql { offset: self.at, parts: Vec::new(), keep: Keep::Nothing, joined: false });
        }
    }

    fn end_part(&mut self) {
        if let Some(sql) = &mut self.sql
            && self.part < self.at
        {
            sql.parts.push(Part::Text(&self.text[self.part..self.at]));
        }
        self.part = self.at;
    }

    fn end_sql(&mut self) {
        self.end_part();
        if let Some(mut sql) = self.sql.take() {
            if let Some(Part::Text(last)) = sql.parts.last_mut() {
                *last = last.trim_end();
            }
            self.pieces.push(Piece::Sql(sql));
        }
    }

    fn sql_character(&mut self, c: char) -> Result<(), Fault> {
        let rest = self.rest();
        let before = self.text[..self.at].chars().next_back();
        match c {
            '\'' => {
                let escapes = matches!(before, Some('e' | 'E')) && !self.text[..self.at - 1].chars().next_back().is_some_and(is_name);
                return self.quoted('\'', escapes);
            }
            '"' => return self.quoted('"', false),
            '$' if !before.is_some_and(is_name) => {
                if let Some(tag) = dollar_tag(rest) {
                    let Some(end) = rest[tag.len()..].find(tag) else {
                        return Err(Fault::new(self.at, format!("the text that {tag} opens is never closed")));
                    };
                    self.at += 2 * tag.len() + end;
                    return Ok(());
                }
            }
            '(' => self.depth += 1,
            ')' => self.depth = self.depth.saturating_sub(1),
            ':' if rest[1..].starts_with(':') || rest[1..].starts_with('=') => {
                self.at += 2;
                return Ok(());
            }
            ':' => {
                self.variable(false);
                return Ok(());
            }
            _ => {}
        }
        self.at += c.len_utf8();
        Ok(())
    }

    /// Takes `:name`; anything else behind the colon (an array's slice) is text.
    fn variable(&mut self, quoted: bool) {
        let name: &str = &self.rest()[1..];
        let name = &name[..name.find(|c| !is_name(c)).unwrap_or(name.len())];
        if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
            self.at += 1;
            return;
        }
        self.end_part();
        let part = Part::Variable { name, offset: self.at, quoted };
        self.at += 1 + name.len();
        self.part = self.at;
        if let Some(sql) = &mut self.sql {
            sql.parts.push(part);
        }
    }

    fn quoted(&mut self, quote: char, escapes: bool) -> Result<(), Fault> {
        let start = self.at;
        self.at += 1;
        loop {
            let Some(c) = self.rest().chars().next() else {
                return Err(Fault::new(start, format!("the text that {quote} opens is never closed")));
            };
            match c {
                '\\' if escapes => self.at += 1 + self.rest()[1..].chars().next().map_or(0, char::len_utf8),
                ':' if quote == '\'' && !self.rest()[1..].starts_with(':') => self.variable(true),
                c => self.at += c.len_utf8(),
            }
            if c == quote {
                return Ok(());
            }
        }
    }

    /// A comment in stars stays in the text: it may be a hint to a planner.
    fn comment(&mut self) -> Result<(), Fault> {
        let start = self.at;
        let mut depth = 0;
        loop {
            let rest = self.rest();
            if rest.starts_with("/*") {
                depth += 1;
                self.at += 2;
            } else if rest.starts_with("*/") {
                depth -= 1;
                self.at += 2;
                if depth == 0 {
                    break;
                }
            } else if let Some(c) = rest.chars().next() {
                self.at += c.len_utf8();
            } else {
                return Err(Fault::new(start, "the comment is never closed"));
            }
        }
        if self.sql.is_none() {
            self.part = self.at;
        }
        Ok(())
    }

    fn meta(&mut self) -> Result<(), Fault> {
        let offset = self.at;
        let line = self.rest();
        // A backslash at the line's end goes on with the next.
        let mut end = 0;
        loop {
            end += line[end..].find('\n').unwrap_or(line.len() - end);
            if end < line.len() && line[..end].trim_end_matches('\r').ends_with('\\') {
                end += 1;
            } else {
                break;
            }
        }
        let line = &line[..end];
        self.at += end;
        self.part = self.at;
        let name_length = line[1..].find(|c: char| !is_name(c)).unwrap_or(line.len() - 1);
        let (name, rest) = (&line[1..1 + name_length], &line[1 + name_length..]);
        let rest_offset = offset + 1 + name_length;
        match name {
            "gset" | "aset" => match self.pieces.last_mut() {
                Some(Piece::Sql(sql)) if sql.keep == Keep::Nothing => {
                    sql.keep = Keep::Variables { prefix: rest.trim().to_string(), each: name == "aset" };
                    Ok(())
                }
                _ => Err(Fault::new(offset, format!("\\{name} follows an SQL command"))),
            },
            _ => {
                self.pieces.push(Piece::Meta { offset, name, rest, rest_offset });
                Ok(())
            }
        }
    }
}

/// `$$` or `$tag$` at the start of a text.
fn dollar_tag(text: &str) -> Option<&str> {
    let end = text[1..].find('$')? + 1;
    let tag = &text[1..end];
    (tag.chars().all(is_name) && !tag.starts_with(|c: char| c.is_ascii_digit())).then(|| &text[..=end])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sql(text: &str) -> Vec<String> {
        let show = |part: &Part<'_>| match part {
            Part::Text(text) => text.to_string(),
            Part::Variable { name, quoted, .. } => format!("<{name}{}>", if *quoted { "'" } else { "" }),
        };
        let pieces = scan(text).unwrap().into_iter();
        pieces
            .map(|piece| match piece {
                Piece::Sql(sql) => sql.parts.iter().map(show).collect(),
                Piece::Meta { name, rest, .. } => format!("\\{name}{rest}"),
            })
            .collect()
    }

    #[test]
    fn commands_end_where_psql_ends_them() {
        assert_eq!(sql("SELECT 1; SELECT 2"), ["SELECT 1", "SELECT 2"]);
        assert_eq!(
            sql("SELECT ';' || $a$ ; $a$ || \";\" FROM (SELECT 1;) t; x"),
            ["SELECT ';' || $a$ ; $a$ || \";\" FROM (SELECT 1;) t", "x"]
        );
        assert_eq!(sql("SELECT E'\\';' ; x"), ["SELECT E'\\';'", "x"]);
        assert_eq!(sql("-- a;b\nSELECT 1 -- c;\n + 1;"), ["SELECT 1 \n + 1"]);
        assert_eq!(sql("/* ; /* ; */ */ SELECT /*+ hint; */ 1;"), ["SELECT /*+ hint; */ 1"]);
        assert_eq!(sql("SELECT 1 \\; SELECT 2;"), ["SELECT 1 ; SELECT 2"]);
        assert_eq!(
            sql("\\set a 1 + \\\n  2\nSELECT :a::int, a[1:3], ':a', x:=1;"),
            ["\\set a 1 + \\\n  2", "SELECT <a>::int, a[1:3], '<a'>', x:=1"]
        );
        assert_eq!(sql("SELECT 1 AS a \\gset p_\nSELECT :p_a;"), ["SELECT 1 AS a", "SELECT <p_a>"]);
    }

    #[test]
    fn what_is_never_closed_is_told_with_its_place() {
        assert_eq!(scan("SELECT 'a").unwrap_err().offset, 7);
        assert_eq!(scan("SELECT $x$ a $y$").unwrap_err().offset, 7);
        assert_eq!(scan("/* a").unwrap_err().offset, 0);
        assert_eq!(scan("\\gset").unwrap_err().message, "\\gset follows an SQL command");
    }
}
