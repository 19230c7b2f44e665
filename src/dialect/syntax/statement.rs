//! The statements of triggers.

use super::{Parsed, Parser};
use crate::dialect::ast::*;
use crate::dialect::parse::Conflict;

impl Parser<'_> {
    pub(super) fn statement(&mut self) -> Parsed<Statement> {
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

    pub(super) fn target(&mut self) -> Parsed<String> {
        let name = self.at.expect_name()?;
        let name = if self.at.take_symbol(".") { self.at.expect_name()? } else { name };
        if self.at.take_words(&["INDEXED", "BY"]) {
            self.at.expect_name()?;
        }
        Ok(name)
    }

    pub(super) fn or(&mut self) -> Parsed<Option<Conflict>> {
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

    pub(super) fn insert(&mut self) -> Parsed<Statement> {
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

    pub(super) fn upsert(&mut self) -> Parsed<Upsert> {
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

    pub(super) fn assignments(&mut self) -> Parsed<Vec<(Vec<String>, Expr)>> {
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
