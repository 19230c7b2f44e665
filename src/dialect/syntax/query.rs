//! SELECT: its parts, its sources, its joins.

use super::{MAX_DEPTH, NO_ALIAS, Parsed, Parser, RESERVED, SELECT_DEPTH};
use crate::dialect::ast::*;
use crate::dialect::token::Kind;

impl Parser<'_> {
    pub(super) fn is_select(&self) -> bool {
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

    pub(super) fn select_statement(&mut self) -> Parsed<Select> {
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

    pub(super) fn cte(&mut self) -> Parsed<Cte> {
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

    pub(super) fn core(&mut self) -> Parsed<Core> {
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

    pub(super) fn result(&mut self) -> Parsed<ResultColumn> {
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

    pub(super) fn alias(&mut self) -> Parsed<Option<String>> {
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

    pub(super) fn from(&mut self) -> Parsed<From> {
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

    pub(super) fn join_operator(&mut self) -> Parsed<Option<(JoinKind, bool)>> {
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

    pub(super) fn source(&mut self) -> Parsed<Source> {
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
}
