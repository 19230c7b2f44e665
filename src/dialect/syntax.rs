//! From text to `ast`: SQLite's expressions by precedence climbing, its SELECT, and the statements of triggers.
//!
//! Neither the parser nor those who walk its tree can overflow a stack: how deep a tree may be is counted as it grows.

use super::ast::*;
use super::parse::{Conflict, ParseError};
use super::token::{Cursor, Kind, unquote};

/// Deeper than anything people write (SQLite stops at 1,000), and shallow enough for a thread's stack.
const MAX_DEPTH: usize = 80;

/// How many levels more a SELECT counts for: it takes many calls to walk through one.
const SELECT_DEPTH: usize = 5;

type Parsed<T> = Result<T, ParseError>;

/// Reads one expression that is the whole of `sql`.
pub fn expression(sql: &str) -> Parsed<Expr> {
    let mut parser = Parser::new(sql);
    let expr = parser.expr(0)?;
    parser.finish()?;
    Ok(expr)
}

/// Reads one SELECT that is the whole of `sql`.
pub fn select(sql: &str) -> Parsed<Select> {
    let mut parser = Parser::new(sql);
    let select = parser.select()?;
    parser.finish()?;
    Ok(select)
}

/// Reads the statements of a trigger's body.
pub fn statements(sql: &str) -> Parsed<Vec<Statement>> {
    let mut parser = Parser::new(sql);
    let mut found = Vec::new();
    while !parser.at.is_end() {
        found.push(parser.statement()?);
        parser.at.expect_symbol(";")?;
    }
    Ok(found)
}

pub(super) struct Parser<'s> {
    pub(super) at: Cursor<'s>,
    sql: &'s str,
    depth: usize,
    /// The height of the tallest tree finished on this level.
    height: usize,
}

/// Words that are never a name unless quoted.
const RESERVED: [&str; 52] = [
    "ADD",
    "ALL",
    "ALTER",
    "AND",
    "AS",
    "BETWEEN",
    "CASE",
    "CHECK",
    "COLLATE",
    "COMMIT",
    "CONSTRAINT",
    "CREATE",
    "CROSS",
    "DEFAULT",
    "DEFERRABLE",
    "DELETE",
    "DISTINCT",
    "DROP",
    "ELSE",
    "ESCAPE",
    "EXCEPT",
    "EXISTS",
    "FOREIGN",
    "FROM",
    "GROUP",
    "HAVING",
    "IN",
    "INDEX",
    "INSERT",
    "INTERSECT",
    "INTO",
    "IS",
    "ISNULL",
    "JOIN",
    "LIMIT",
    "NOT",
    "NOTNULL",
    "NULL",
    "ON",
    "OR",
    "ORDER",
    "REFERENCES",
    "RETURNING",
    "SELECT",
    "SET",
    "THEN",
    "UNION",
    "UPDATE",
    "USING",
    "VALUES",
    "WHEN",
    "WHERE",
];

/// Words that cannot be an alias without AS, besides the reserved ones.
const NO_ALIAS: [&str; 12] = ["INNER", "LEFT", "NATURAL", "OUTER", "RIGHT", "FULL", "WINDOW", "INDEXED", "END", "FILTER", "OVER", "OFFSET"];

/// How tight an operator binds: SQLite's own table, loosest first.
mod binding {
    pub const OR: u8 = 1;
    pub const AND: u8 = 2;
    pub const NOT: u8 = 3;
    pub const EQUAL: u8 = 4;
    pub const LESS: u8 = 5;
    pub const BITS: u8 = 7;
    pub const ADD: u8 = 8;
    pub const MULTIPLY: u8 = 9;
    pub const CONCAT: u8 = 10;
    pub const COLLATE: u8 = 11;
    pub const SIGN: u8 = 12;
}

impl<'s> Parser<'s> {
    fn new(sql: &'s str) -> Self {
        Parser { at: Cursor::new(sql), sql, depth: 0, height: 0 }
    }

    fn finish(&mut self) -> Parsed<()> {
        self.at.take_symbol(";");
        if self.at.is_end() { Ok(()) } else { Err(self.at.expected("the end")) }
    }

    fn too_deep(&self) -> ParseError {
        ParseError { offset: self.at.peek().start, message: format!("nested more than {MAX_DEPTH} levels deep") }
    }

    /// Runs `parse` one level down; also says how tall what it read is.
    fn measured<T>(&mut self, parse: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<(T, usize)> {
        if self.depth >= MAX_DEPTH {
            return Err(self.too_deep());
        }
        let outer = std::mem::replace(&mut self.height, 0);
        self.depth += 1;
        let value = parse(self)?;
        self.depth -= 1;
        let inner = std::mem::replace(&mut self.height, outer);
        Ok((value, inner))
    }

    pub(super) fn expr(&mut self, loosest: u8) -> Parsed<Expr> {
        let (mut left, below) = self.measured(Self::prefix)?;
        let mut height = below + 1;
        while let Some(binding) = self.infix_binding().filter(|binding| *binding >= loosest) {
            let (folded, right) = self.measured(|parser| parser.infix(left, binding))?;
            let grew = !matches!(folded, Expr::Chain(_, ref operands) if operands.len() > 2);
            left = folded;
            height = (height + usize::from(grew)).max(right + 1);
            if height > MAX_DEPTH {
                return Err(self.too_deep());
            }
        }
        self.height = self.height.max(height);
        Ok(left)
    }

    fn infix_binding(&self) -> Option<u8> {
        let token = self.at.peek();
        let text = self.at.text(token);
        Some(match token.kind {
            Kind::Symbol => match text {
                "=" | "==" | "!=" | "<>" => binding::EQUAL,
                "<" | "<=" | ">" | ">=" => binding::LESS,
                "&" | "|" | "<<" | ">>" => binding::BITS,
                "+" | "-" => binding::ADD,
                "*" | "/" | "%" => binding::MULTIPLY,
                "||" | "->" | "->>" => binding::CONCAT,
                _ => return None,
            },
            Kind::Word => match text.to_ascii_uppercase().as_str() {
                "OR" => binding::OR,
                "AND" => binding::AND,
                "IS" | "ISNULL" | "NOTNULL" | "BETWEEN" | "IN" | "LIKE" | "GLOB" | "REGEXP" | "MATCH" => binding::EQUAL,
                "NOT" if ["NULL", "BETWEEN", "IN", "LIKE", "GLOB", "REGEXP", "MATCH"].iter().any(|w| self.at.word_at(1, w)) => {
                    binding::EQUAL
                }
                "COLLATE" => binding::COLLATE,
                _ => return None,
            },
            _ => return None,
        })
    }

    fn infix(&mut self, left: Expr, binding: u8) -> Parsed<Expr> {
        let token = self.at.take();
        let text = self.at.text(token).to_ascii_uppercase();
        let operator = match text.as_str() {
            "OR" => return self.chain(Chain::Or, left, binding),
            "AND" => return self.chain(Chain::And, left, binding),
            "||" => return self.chain(Chain::Concat, left, binding),
            "COLLATE" => return Ok(Expr::Collate(Box::new(left), self.at.expect_name()?)),
            "ISNULL" => return Ok(Expr::IsNull(Box::new(left))),
            "NOTNULL" => return Ok(not(Expr::IsNull(Box::new(left)))),
            "NOT" if self.at.take_word("NULL") => return Ok(not(Expr::IsNull(Box::new(left)))),
            "NOT" => {
                let word = self.at.take();
                let word = self.at.text(word).to_ascii_uppercase();
                return Ok(not(self.membership(left, &word)?));
            }
            "BETWEEN" | "IN" | "LIKE" | "GLOB" | "REGEXP" | "MATCH" => return self.membership(left, &text),
            "IS" => return self.is(left),
            "=" | "==" => Binary::Equal,
            "!=" | "<>" => Binary::NotEqual,
            "<" => Binary::Less,
            "<=" => Binary::LessEqual,
            ">" => Binary::Greater,
            ">=" => Binary::GreaterEqual,
            "&" => Binary::BitAnd,
            "|" => Binary::BitOr,
            "<<" => Binary::ShiftLeft,
            ">>" => Binary::ShiftRight,
            "+" => Binary::Add,
            "-" => Binary::Subtract,
            "*" => Binary::Multiply,
            "/" => Binary::Divide,
            "%" => Binary::Modulo,
            "->" => Binary::Json,
            _ => Binary::JsonValue,
        };
        let right = self.expr(binding + 1)?;
        Ok(Expr::Binary(operator, Box::new(left), Box::new(right)))
    }

    fn chain(&mut self, chain: Chain, left: Expr, binding: u8) -> Parsed<Expr> {
        let right = self.expr(binding + 1)?;
        Ok(match left {
            // `(a AND b) AND c` is the same, so a parenthesis on the left may dissolve.
            Expr::Chain(same, mut operands) if same == chain => {
                operands.push(right);
                Expr::Chain(chain, operands)
            }
            left => Expr::Chain(chain, vec![left, right]),
        })
    }

    fn is(&mut self, left: Expr) -> Parsed<Expr> {
        let mut negated = self.at.take_word("NOT");
        if self.at.take_words(&["DISTINCT", "FROM"]) {
            negated = !negated;
        }
        let right = self.expr(binding::EQUAL + 1)?;
        Ok(match right {
            Expr::Null if negated => not(Expr::IsNull(Box::new(left))),
            Expr::Null => Expr::IsNull(Box::new(left)),
            right => Expr::Binary(if negated { Binary::IsNot } else { Binary::Is }, Box::new(left), Box::new(right)),
        })
    }

    fn membership(&mut self, left: Expr, word: &str) -> Parsed<Expr> {
        let left = Box::new(left);
        let like = match word {
            "BETWEEN" => {
                let low = self.expr(binding::EQUAL + 1)?;
                self.at.expect_word("AND")?;
                return Ok(Expr::Between(left, Box::new(low), Box::new(self.expr(binding::EQUAL + 1)?)));
            }
            "IN" => return Ok(Expr::In(left, self.set()?)),
            "LIKE" => Like::Like,
            "GLOB" => Like::Glob,
            "REGEXP" => Like::Regexp,
            _ => Like::Match,
        };
        let pattern = Box::new(self.expr(binding::EQUAL + 1)?);
        let escape = if self.at.take_word("ESCAPE") { Some(Box::new(self.expr(binding::EQUAL + 1)?)) } else { None };
        Ok(Expr::Like { like, text: left, pattern, escape })
    }

    fn set(&mut self) -> Parsed<Set> {
        if !self.at.is_symbol("(") {
            let mut name = self.at.expect_name()?;
            if self.at.take_symbol(".") {
                name = self.at.expect_name()?;
            }
            return Ok(Set::Table(name));
        }
        self.at.take();
        if self.is_select() {
            let select = self.select()?;
            self.at.expect_symbol(")")?;
            return Ok(Set::Select(Box::new(select)));
        }
        let list = if self.at.is_symbol(")") { Vec::new() } else { self.exprs()? };
        self.at.expect_symbol(")")?;
        Ok(Set::List(list))
    }

    fn exprs(&mut self) -> Parsed<Vec<Expr>> {
        let mut list = vec![self.expr(0)?];
        while self.at.take_symbol(",") {
            list.push(self.expr(0)?);
        }
        Ok(list)
    }

    fn prefix(&mut self) -> Parsed<Expr> {
        let token = self.at.peek();
        let text = self.at.text(token);
        match token.kind {
            Kind::Symbol => {
                self.at.take();
                let unary = match text {
                    "-" => Unary::Negate,
                    "+" => Unary::Plus,
                    "~" => Unary::BitNot,
                    "(" => return self.parenthesis(),
                    _ => return Err(ParseError { offset: token.start, message: format!("expected an expression, found {text}") }),
                };
                Ok(Expr::Unary(unary, Box::new(self.expr(binding::SIGN)?)))
            }
            Kind::Integer | Kind::Float | Kind::Text | Kind::Blob | Kind::Variable => {
                self.at.take();
                Ok(match token.kind {
                    Kind::Integer => Expr::Integer(text.to_string()),
                    Kind::Float => Expr::Float(text.to_string()),
                    Kind::Text => Expr::Text(unquote(text)),
                    Kind::Blob => Expr::Blob(text[2..text.len() - 1].to_string()),
                    _ => Expr::Variable,
                })
            }
            Kind::Word => self.word(),
            Kind::DoubleQuoted | Kind::Quoted => self.column(),
            Kind::Illegal | Kind::End => Err(self.at.expected("an expression")),
        }
    }

    fn parenthesis(&mut self) -> Parsed<Expr> {
        if self.is_select() {
            let select = self.select()?;
            self.at.expect_symbol(")")?;
            return Ok(Expr::Subquery(Box::new(select)));
        }
        let mut list = self.exprs()?;
        self.at.expect_symbol(")")?;
        if list.len() == 1
            && let Some(only) = list.pop()
        {
            return Ok(only);
        }
        Ok(Expr::Row(list))
    }

    fn word(&mut self) -> Parsed<Expr> {
        let text = self.at.text(self.at.peek()).to_ascii_uppercase();
        let is_call = self.at.symbol_at(1, "(");
        match text.as_str() {
            "NOT" => {
                self.at.take();
                // NOT EXISTS binds as one; NOT before anything else takes a whole comparison.
                Ok(not(self.expr(binding::NOT)?))
            }
            "NULL" => Ok(self.skip(Expr::Null)),
            "CURRENT_DATE" => Ok(self.skip(Expr::CurrentDate)),
            "CURRENT_TIME" => Ok(self.skip(Expr::CurrentTime)),
            "CURRENT_TIMESTAMP" => Ok(self.skip(Expr::CurrentTimestamp)),
            "CASE" => self.case(),
            "CAST" if is_call => self.cast(),
            "EXISTS" if is_call => {
                self.at.take();
                self.at.take();
                let select = self.select()?;
                self.at.expect_symbol(")")?;
                Ok(Expr::Exists(Box::new(select)))
            }
            "RAISE" if is_call => self.raise(),
            word if RESERVED.contains(&word) => Err(self.at.expected("an expression")),
            _ if is_call => self.call(),
            _ => self.column(),
        }
    }

    fn skip(&mut self, expr: Expr) -> Expr {
        self.at.take();
        expr
    }

    fn column(&mut self) -> Parsed<Expr> {
        let mut double_quoted = self.at.kind() == Kind::DoubleQuoted;
        let mut table = None;
        let mut name = self.at.expect_name()?;
        while self.at.take_symbol(".") {
            double_quoted = false;
            table = Some(std::mem::replace(&mut name, self.at.expect_name()?));
        }
        Ok(Expr::Column(ColumnRef { table, name, double_quoted }))
    }

    fn case(&mut self) -> Parsed<Expr> {
        self.at.take();
        let operand = if self.at.is_word("WHEN") { None } else { Some(Box::new(self.expr(0)?)) };
        let mut whens = Vec::new();
        while self.at.take_word("WHEN") {
            let when = self.expr(0)?;
            self.at.expect_word("THEN")?;
            whens.push((when, self.expr(0)?));
        }
        if whens.is_empty() {
            return Err(self.at.expected("WHEN"));
        }
        let otherwise = if self.at.take_word("ELSE") { Some(Box::new(self.expr(0)?)) } else { None };
        self.at.expect_word("END")?;
        Ok(Expr::Case { operand, whens, otherwise })
    }

    fn cast(&mut self) -> Parsed<Expr> {
        self.at.take();
        self.at.expect_symbol("(")?;
        let expr = self.expr(0)?;
        self.at.expect_word("AS")?;
        let declared = self.at.take_until(|_| false).to_string();
        self.at.expect_symbol(")")?;
        Ok(Expr::Cast(Box::new(expr), declared))
    }

    fn raise(&mut self) -> Parsed<Expr> {
        self.at.take();
        self.at.expect_symbol("(")?;
        let way = match self.at.expect_name()?.to_ascii_uppercase().as_str() {
            "IGNORE" => None,
            "ABORT" => Some(Conflict::Abort),
            "FAIL" => Some(Conflict::Fail),
            _ => Some(Conflict::Rollback),
        };
        let message = if self.at.take_symbol(",") { Some(Box::new(self.expr(0)?)) } else { None };
        self.at.expect_symbol(")")?;
        Ok(Expr::Raise(way, message))
    }

    fn call(&mut self) -> Parsed<Expr> {
        let name = self.at.expect_name()?.to_ascii_lowercase();
        self.at.expect_symbol("(")?;
        let mut call = Call { name, distinct: false, star: false, arguments: Vec::new(), order_by: Vec::new(), filter: None, over: None };
        if self.at.take_symbol("*") {
            call.star = true;
        } else if !self.at.is_symbol(")") {
            call.distinct = self.at.take_word("DISTINCT");
            if !call.distinct {
                self.at.take_word("ALL");
            }
            call.arguments = self.exprs()?;
            call.order_by = self.order_by()?;
        }
        self.at.expect_symbol(")")?;
        if self.at.is_word("FILTER") && self.at.symbol_at(1, "(") {
            self.at.take();
            self.at.take();
            self.at.expect_word("WHERE")?;
            call.filter = Some(self.expr(0)?);
            self.at.expect_symbol(")")?;
        }
        if self.at.take_word("OVER") {
            call.over = Some(if self.at.is_symbol("(") {
                self.window()?
            } else {
                Window { base: Some(self.at.expect_name()?), ..Window::default() }
            });
        }
        Ok(Expr::Call(Box::new(call)))
    }

    fn window(&mut self) -> Parsed<Window> {
        self.at.expect_symbol("(")?;
        let mut window = Window::default();
        let starts = ["PARTITION", "ORDER", "RANGE", "ROWS", "GROUPS"];
        if !self.at.is_symbol(")") && !self.at.is_any_word(&starts) {
            window.base = Some(self.at.expect_name()?);
        }
        if self.at.take_words(&["PARTITION", "BY"]) {
            window.partition_by = self.exprs()?;
        }
        window.order_by = self.order_by()?;
        if self.at.is_any_word(&["RANGE", "ROWS", "GROUPS"]) {
            window.frame = Some(self.at.take_until(|_| false).to_string());
        }
        self.at.expect_symbol(")")?;
        Ok(window)
    }

    fn order_by(&mut self) -> Parsed<Vec<Order>> {
        let mut terms = Vec::new();
        if !self.at.take_words(&["ORDER", "BY"]) {
            return Ok(terms);
        }
        loop {
            let expr = self.expr(0)?;
            let descending = self.at.take_word("DESC");
            if !descending {
                self.at.take_word("ASC");
            }
            let nulls_first = if self.at.take_words(&["NULLS", "FIRST"]) {
                Some(true)
            } else if self.at.take_words(&["NULLS", "LAST"]) {
                Some(false)
            } else {
                None
            };
            terms.push(Order { expr, descending, nulls_first });
            if !self.at.take_symbol(",") {
                return Ok(terms);
            }
        }
    }

    fn is_select(&self) -> bool {
        self.at.is_any_word(&["SELECT", "VALUES", "WITH"])
    }

    pub(super) fn select(&mut self) -> Parsed<Select> {
        self.depth += SELECT_DEPTH;
        let (select, height) = self.measured(Self::select_statement)?;
        self.depth -= SELECT_DEPTH;
        self.height = self.height.max(height + 1 + SELECT_DEPTH);
        if self.height > MAX_DEPTH {
            return Err(self.too_deep());
        }
        Ok(select)
    }

    fn select_statement(&mut self) -> Parsed<Select> {
        let mut with = Vec::new();
        let mut recursive = false;
        if self.at.take_word("WITH") {
            recursive = self.at.take_word("RECURSIVE");
            loop {
                with.push(self.cte()?);
                if !self.at.take_symbol(",") {
                    break;
                }
            }
        }
        let first = self.core()?;
        let mut compound = Vec::new();
        loop {
            let operator = if self.at.take_words(&["UNION", "ALL"]) {
                Compound::UnionAll
            } else if self.at.take_word("UNION") {
                Compound::Union
            } else if self.at.take_word("INTERSECT") {
                Compound::Intersect
            } else if self.at.take_word("EXCEPT") {
                Compound::Except
            } else {
                break;
            };
            compound.push((operator, self.core()?));
        }
        let order_by = self.order_by()?;
        let (mut limit, mut offset) = (None, None);
        if self.at.take_word("LIMIT") {
            limit = Some(self.expr(0)?);
            if self.at.take_word("OFFSET") {
                offset = Some(self.expr(0)?);
            } else if self.at.take_symbol(",") {
                offset = limit.replace(self.expr(0)?);
            }
        }
        Ok(Select { recursive, with, first, compound, order_by, limit, offset })
    }

    fn cte(&mut self) -> Parsed<Cte> {
        let name = self.at.expect_name()?;
        let columns = if self.at.is_symbol("(") { self.names()? } else { Vec::new() };
        self.at.expect_word("AS")?;
        let materialized =
            if self.at.take_words(&["NOT", "MATERIALIZED"]) { Some(false) } else { self.at.take_word("MATERIALIZED").then_some(true) };
        self.at.expect_symbol("(")?;
        let select = self.select()?;
        self.at.expect_symbol(")")?;
        Ok(Cte { name, columns, select, materialized })
    }

    pub(super) fn names(&mut self) -> Parsed<Vec<String>> {
        self.at.expect_symbol("(")?;
        let mut names = vec![self.at.expect_name()?];
        while self.at.take_symbol(",") {
            names.push(self.at.expect_name()?);
        }
        self.at.expect_symbol(")")?;
        Ok(names)
    }

    fn core(&mut self) -> Parsed<Core> {
        if self.at.take_word("VALUES") {
            let mut rows = Vec::new();
            loop {
                self.at.expect_symbol("(")?;
                rows.push(self.exprs()?);
                self.at.expect_symbol(")")?;
                if !self.at.take_symbol(",") {
                    return Ok(Core::Values(rows));
                }
            }
        }
        self.at.expect_word("SELECT")?;
        let distinct = self.at.take_word("DISTINCT");
        if !distinct {
            self.at.take_word("ALL");
        }
        let mut body = Body { distinct, ..Body::default() };
        loop {
            body.results.push(self.result()?);
            if !self.at.take_symbol(",") {
                break;
            }
        }
        if self.at.take_word("FROM") {
            body.from = Some(self.from()?);
        }
        if self.at.take_word("WHERE") {
            body.filter = Some(self.expr(0)?);
        }
        if self.at.take_words(&["GROUP", "BY"]) {
            body.group_by = self.exprs()?;
        }
        if self.at.take_word("HAVING") {
            body.having = Some(self.expr(0)?);
        }
        if self.at.take_word("WINDOW") {
            loop {
                let name = self.at.expect_name()?;
                self.at.expect_word("AS")?;
                body.windows.push((name, self.window()?));
                if !self.at.take_symbol(",") {
                    break;
                }
            }
        }
        Ok(Core::Select(Box::new(body)))
    }

    fn result(&mut self) -> Parsed<ResultColumn> {
        if self.at.take_symbol("*") {
            return Ok(ResultColumn::Star);
        }
        if self.at.symbol_at(1, ".") && self.at.symbol_at(2, "*") {
            let table = self.at.expect_name()?;
            self.at.take();
            self.at.take();
            return Ok(ResultColumn::TableStar(table));
        }
        let start = self.at.peek().start;
        let expr = self.expr(0)?;
        let text = self.sql[start..self.at.peek().start].trim().to_string();
        Ok(ResultColumn::Expr(expr, self.alias()?, text))
    }

    fn alias(&mut self) -> Parsed<Option<String>> {
        if self.at.take_word("AS") {
            return self.at.expect_name().map(Some);
        }
        let is_name = match self.at.kind() {
            Kind::DoubleQuoted | Kind::Quoted | Kind::Text => true,
            Kind::Word => !self.at.is_any_word(&RESERVED) && !self.at.is_any_word(&NO_ALIAS),
            _ => false,
        };
        if is_name { self.at.expect_name().map(Some) } else { Ok(None) }
    }

    fn from(&mut self) -> Parsed<From> {
        let mut from = From { first: self.source()?, joins: Vec::new() };
        while let Some((kind, natural)) = self.join_operator()? {
            let mut join = Join { kind, natural, source: self.source()?, on: None, using: Vec::new() };
            if self.at.take_word("ON") {
                join.on = Some(self.expr(0)?);
            } else if self.at.take_word("USING") {
                join.using = self.names()?;
            }
            from.joins.push(join);
        }
        Ok(from)
    }

    fn join_operator(&mut self) -> Parsed<Option<(JoinKind, bool)>> {
        if self.at.take_symbol(",") {
            return Ok(Some((JoinKind::Inner, false)));
        }
        if !self.at.is_any_word(&["JOIN", "NATURAL", "LEFT", "RIGHT", "FULL", "INNER", "CROSS", "OUTER"]) {
            return Ok(None);
        }
        let (mut kind, mut natural) = (JoinKind::Inner, false);
        while !self.at.take_word("JOIN") {
            match self.at.text(self.at.peek()).to_ascii_uppercase().as_str() {
                "NATURAL" => natural = true,
                "LEFT" => kind = JoinKind::Left,
                "RIGHT" => kind = JoinKind::Right,
                "FULL" => kind = JoinKind::Full,
                "INNER" | "CROSS" | "OUTER" => {}
                _ => return Err(self.at.expected("JOIN")),
            }
            self.at.take();
        }
        Ok(Some((kind, natural)))
    }

    fn source(&mut self) -> Parsed<Source> {
        let item = if self.at.take_symbol("(") {
            let item = if self.is_select() {
                SourceItem::Select(Box::new(self.select()?))
            } else {
                let (from, height) = self.measured(Self::from)?;
                self.height = self.height.max(height + 1);
                SourceItem::Nested(Box::new(from))
            };
            self.at.expect_symbol(")")?;
            item
        } else {
            let mut name = self.at.expect_name()?;
            if self.at.take_symbol(".") {
                name = self.at.expect_name()?;
            }
            if self.at.is_symbol("(") {
                self.at.take_parenthesis()?;
                SourceItem::Function(name)
            } else {
                SourceItem::Table(name)
            }
        };
        let alias = self.alias()?;
        // Hints for SQLite's planner mean nothing elsewhere.
        if self.at.take_words(&["INDEXED", "BY"]) {
            self.at.expect_name()?;
        } else {
            self.at.take_words(&["NOT", "INDEXED"]);
        }
        Ok(Source { item, alias })
    }

    fn statement(&mut self) -> Parsed<Statement> {
        if self.is_select() {
            return self.select().map(Statement::Select);
        }
        if self.at.is_word("INSERT") || self.at.is_word("REPLACE") {
            return self.insert();
        }
        if self.at.take_words(&["DELETE", "FROM"]) {
            let table = self.target()?;
            let filter = if self.at.take_word("WHERE") { Some(self.expr(0)?) } else { None };
            return Ok(Statement::Delete { table, filter });
        }
        self.at.expect_word("UPDATE")?;
        let or = self.or()?;
        let table = self.target()?;
        self.at.expect_word("SET")?;
        let set = self.assignments()?;
        let from = if self.at.take_word("FROM") { Some(self.from()?) } else { None };
        let filter = if self.at.take_word("WHERE") { Some(self.expr(0)?) } else { None };
        Ok(Statement::Update { or, table, set, from, filter })
    }

    fn target(&mut self) -> Parsed<String> {
        let name = self.at.expect_name()?;
        let name = if self.at.take_symbol(".") { self.at.expect_name()? } else { name };
        if self.at.take_words(&["INDEXED", "BY"]) {
            self.at.expect_name()?;
        }
        Ok(name)
    }

    fn or(&mut self) -> Parsed<Option<Conflict>> {
        if !self.at.take_word("OR") {
            return Ok(None);
        }
        Ok(Some(match self.at.expect_name()?.to_ascii_uppercase().as_str() {
            "ROLLBACK" => Conflict::Rollback,
            "ABORT" => Conflict::Abort,
            "FAIL" => Conflict::Fail,
            "IGNORE" => Conflict::Ignore,
            "REPLACE" => Conflict::Replace,
            _ => return Err(self.at.expected("a way to resolve the conflict")),
        }))
    }

    fn insert(&mut self) -> Parsed<Statement> {
        let or = if self.at.take_word("REPLACE") {
            Some(Conflict::Replace)
        } else {
            self.at.take();
            self.or()?
        };
        self.at.expect_word("INTO")?;
        let table = self.target()?;
        let columns = if self.at.is_symbol("(") { self.names()? } else { Vec::new() };
        let source = if self.at.take_words(&["DEFAULT", "VALUES"]) { None } else { Some(self.select()?) };
        let mut upsert = Vec::new();
        while self.at.take_words(&["ON", "CONFLICT"]) {
            upsert.push(self.upsert()?);
        }
        Ok(Statement::Insert { or, table, columns, source, upsert })
    }

    fn upsert(&mut self) -> Parsed<Upsert> {
        let mut upsert = Upsert { target: Vec::new(), target_filter: None, set: None, filter: None };
        if self.at.take_symbol("(") {
            upsert.target = self.exprs()?;
            self.at.expect_symbol(")")?;
            if self.at.take_word("WHERE") {
                upsert.target_filter = Some(self.expr(0)?);
            }
        }
        self.at.expect_word("DO")?;
        if self.at.take_word("NOTHING") {
            return Ok(upsert);
        }
        self.at.expect_word("UPDATE")?;
        self.at.expect_word("SET")?;
        upsert.set = Some(self.assignments()?);
        if self.at.take_word("WHERE") {
            upsert.filter = Some(self.expr(0)?);
        }
        Ok(upsert)
    }

    fn assignments(&mut self) -> Parsed<Vec<(Vec<String>, Expr)>> {
        let mut set = Vec::new();
        loop {
            let columns = if self.at.is_symbol("(") { self.names()? } else { vec![self.at.expect_name()?] };
            self.at.expect_symbol("=")?;
            set.push((columns, self.expr(0)?));
            if !self.at.take_symbol(",") {
                return Ok(set);
            }
        }
    }
}

fn not(expr: Expr) -> Expr {
    Expr::Unary(Unary::Not, Box::new(expr))
}
