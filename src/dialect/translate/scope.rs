//! Which column a name means, by SQLite's rules, and how PostgreSQL says it.

use super::expr::Translator;
use super::grouping::Grouping;
use super::typed::{Class, Constant, Typed};
use super::{Outcome, Relation, RelationColumn, literal, no};
use crate::dialect::ast::{ColumnRef, Expr};
use crate::model::Name;

/// The names that one SELECT, or one statement of a trigger, can see.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    pub sources: Vec<ScopeSource>,
    /// Result columns by alias: SQLite lets WHERE, GROUP BY and HAVING use them.
    pub aliases: Vec<(String, Expr)>,
    pub grouping: Option<Grouping>,
}

#[derive(Clone, Debug)]
pub struct ScopeSource {
    /// By which the statement calls it.
    pub name: String,
    /// What PostgreSQL puts before the dot; empty for none.
    pub qualifier: String,
    pub columns: Vec<RelationColumn>,
    /// Columns that a USING or NATURAL join shows only once, on its left.
    pub merged: Vec<String>,
    pub primary_key: Vec<String>,
    pub rowid_alias: Option<String>,
    /// Its rowid has one name more.
    pub full_text: bool,
    /// What `*` shows in SQLite and not here: `table.column`.
    pub left_out: Vec<String>,
    /// Behind an outer join: its columns may all be NULL.
    pub nullable: bool,
}

impl ScopeSource {
    pub fn of(relation: &Relation, name: &str, qualifier: &str) -> Self {
        ScopeSource {
            name: name.to_string(),
            qualifier: qualifier.to_string(),
            columns: relation.columns.clone(),
            merged: Vec::new(),
            primary_key: relation.primary_key.clone(),
            rowid_alias: relation.rowid_alias.clone(),
            full_text: relation.full_text,
            left_out: relation.left_out.iter().map(|column| format!("{}.{column}", relation.source)).collect(),
            nullable: false,
        }
    }

    pub fn column(&self, name: &str) -> Option<&RelationColumn> {
        let found = self.columns.iter().find(|column| column.source.eq_ignore_ascii_case(name));
        let names: &[&str] = if self.full_text { &["rowid", "oid", "_rowid_", "docid"] } else { &["rowid", "oid", "_rowid_"] };
        let is_rowid = names.iter().any(|rowid| rowid.eq_ignore_ascii_case(name));
        match (&found, &self.rowid_alias) {
            (None, Some(alias)) if is_rowid => self.columns.iter().find(|column| column.source.eq_ignore_ascii_case(alias)),
            _ => found,
        }
    }

    pub fn typed(&self, column: &RelationColumn) -> Typed {
        let sql = if self.qualifier.is_empty() { column.target.to_string() } else { format!("{}.{}", self.qualifier, column.target) };
        Typed::column(sql, column, self.nullable)
    }

    pub fn is_merged(&self, name: &str) -> bool {
        self.merged.iter().any(|merged| merged.eq_ignore_ascii_case(name))
    }
}

/// Gives the column another name where one before it has the same, as SQLite does: `x:1`.
pub fn make_unique(column: &mut RelationColumn, before: &[RelationColumn]) {
    let taken = |name: &str| before.iter().any(|other| other.source.eq_ignore_ascii_case(name));
    let stem = column.source.clone();
    let mut count = 0;
    while taken(&column.source) {
        count += 1;
        column.source = format!("{stem}:{count}");
        column.target = Name::with_suffix(&stem, &format!(":{count}"));
    }
    while before.iter().any(|other| other.target == column.target) {
        count += 1;
        column.target = Name::with_suffix(&stem, &format!(":{count}"));
    }
}

impl Translator<'_> {
    pub fn column(&mut self, reference: &ColumnRef) -> Outcome<Typed> {
        for depth in (0..self.scopes.len()).rev() {
            if let Some(found) = self.column_at(reference, depth)? {
                return Ok(found);
            }
            let alias = self.scopes[depth]
                .aliases
                .iter()
                .find(|(alias, _)| reference.table.is_none() && alias.eq_ignore_ascii_case(&reference.name));
            if let Some((alias, expr)) = alias {
                let (alias, expr) = (alias.clone(), expr.clone());
                return self.aliased(&alias, &expr, depth);
            }
        }
        let lower = reference.name.to_ascii_lowercase();
        if reference.double_quoted {
            return self.string(&reference.name);
        }
        match lower.as_str() {
            "true" if reference.table.is_none() => Ok(literal::constant(Constant::Integer(1))),
            "false" if reference.table.is_none() => Ok(literal::constant(Constant::Integer(0))),
            "rowid" | "oid" | "_rowid_" => no("the rowid is not kept where no column is another name of it"),
            _ => no(format!("no column is named {}", reference.name)),
        }
    }

    fn column_at(&mut self, reference: &ColumnRef, depth: usize) -> Outcome<Option<Typed>> {
        let scope = &self.scopes[depth];
        let mut found: Option<(usize, Typed)> = None;
        for (index, source) in scope.sources.iter().enumerate() {
            if reference.table.as_ref().is_some_and(|table| !table.eq_ignore_ascii_case(&source.name)) {
                continue;
            }
            let Some(column) = source.column(&reference.name) else { continue };
            if reference.table.is_none() && source.is_merged(&column.source) {
                continue;
            }
            if found.is_some() {
                return no(format!("{} could be a column of two tables", reference.name));
            }
            found = Some((index, source.typed(column)));
        }
        let Some((index, typed)) = found else { return Ok(None) };
        if typed.class == Class::Text && typed.sql.is_empty() {
            return Ok(None);
        }
        self.grouped_column(depth, index, typed).map(Some)
    }

    /// An alias stands for its expression; the alias itself is not seen inside.
    fn aliased(&mut self, alias: &str, expr: &Expr, depth: usize) -> Outcome<Typed> {
        let inner = self.scopes.split_off(depth + 1);
        let aliases = std::mem::take(&mut self.scopes[depth].aliases);
        let typed = self.expr(expr);
        self.scopes[depth].aliases = aliases;
        self.scopes.extend(inner);
        let typed = typed?;
        if typed.volatile { no(format!("{alias} would be computed twice, and differ")) } else { Ok(typed) }
    }
}
