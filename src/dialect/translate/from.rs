//! FROM: tables, subqueries and joins.

use super::expr::Translator;
use super::scope::ScopeSource;
use super::{Outcome, RelationColumn, no};
use crate::dialect::ast::*;
use crate::model::Name;

impl Translator<'_> {
    pub fn from(&mut self, from: &From) -> Outcome<String> {
        let mut sql = self.source(&from.first)?;
        for join in &from.joins {
            let before = self.scope().sources.len();
            let right = self.source(&join.source)?;
            let right = if matches!(join.source.item, SourceItem::Nested(_)) { format!("({right})") } else { right };
            let mut conditions = self.merge(join, before)?;
            if let Some(on) = &join.on {
                conditions.push(self.expr(on)?.condition()?);
            }
            let (is_left, is_right) =
                (matches!(join.kind, JoinKind::Left | JoinKind::Full), matches!(join.kind, JoinKind::Right | JoinKind::Full));
            for (index, source) in self.scope().sources.iter_mut().enumerate() {
                source.nullable |= if index < before { is_right } else { is_left };
            }
            let word = match join.kind {
                JoinKind::Inner if conditions.is_empty() => "CROSS JOIN",
                JoinKind::Inner => "JOIN",
                JoinKind::Left => "LEFT JOIN",
                JoinKind::Right => "RIGHT JOIN",
                JoinKind::Full => "FULL JOIN",
            };
            sql = format!("{sql} {word} {right}");
            if word != "CROSS JOIN" {
                let all = if conditions.is_empty() { "TRUE".to_string() } else { conditions.join(" AND ") };
                sql.push_str(&format!(" ON {all}"));
            }
        }
        Ok(sql)
    }

    /// The conditions of USING and NATURAL, whose columns show once, on the left.
    fn merge(&mut self, join: &Join, before: usize) -> Outcome<Vec<String>> {
        let sources = self.scope().sources.clone();
        let (lefts, rights) = sources.split_at(before);
        let names: Vec<String> = if join.natural {
            let shared = rights
                .iter()
                .flat_map(|source| &source.columns)
                .filter(|column| !column.hidden)
                .filter(|column| lefts.iter().any(|left| left.column(&column.source).is_some()));
            shared.map(|column| column.source.clone()).collect()
        } else {
            join.using.clone()
        };
        if !names.is_empty() && matches!(join.kind, JoinKind::Right | JoinKind::Full) {
            return no("a RIGHT or FULL JOIN by USING");
        }
        let mut conditions = Vec::new();
        for name in &names {
            let typed = |sources: &[ScopeSource]| {
                sources.iter().filter(|source| !source.is_merged(name)).find_map(|source| Some(source.typed(source.column(name)?)))
            };
            let (Some(left), Some(right)) = (typed(lefts), typed(rights)) else {
                return no(format!("USING a column, {name}, that is not on both sides"));
            };
            conditions.push(self.compare(Binary::Equal, &left, &right)?.condition_operand()?);
        }
        for source in self.scope().sources.iter_mut().skip(before) {
            source.merged.extend(names.iter().cloned());
        }
        Ok(conditions)
    }

    /// Adds the source to the scope; its SQL.
    fn source(&mut self, source: &Source) -> Outcome<String> {
        match &source.item {
            SourceItem::Table(name) => {
                let alias = source.alias.as_deref().unwrap_or(name);
                let qualifier = Name::fit(alias).to_string();
                if let Some(cte) = self.ctes.iter().rev().find(|cte| cte.name.eq_ignore_ascii_case(name)).cloned() {
                    let sql =
                        if Name::fit(alias) == cte.target { cte.target.to_string() } else { format!("{} AS {qualifier}", cte.target) };
                    self.add(alias, qualifier, cte.columns);
                    return Ok(sql);
                }
                let Some(relation) = self.catalog.relation(name) else {
                    return no(format!("it reads {name}, which is not copied"));
                };
                self.used.push(relation.source.clone());
                let is_same = relation.target.name.as_str() == Name::fit(alias).as_str();
                let sql = if is_same { relation.target.to_string() } else { format!("{} AS {qualifier}", relation.target) };
                let scoped = ScopeSource::of(relation, alias, &qualifier);
                self.scope().sources.push(scoped);
                Ok(sql)
            }
            SourceItem::Select(select) => {
                // A subquery in FROM does not see its neighbours.
                let scope = self.scopes.pop().unwrap_or_default();
                let translated = self.select(select);
                self.scopes.push(scope);
                let translated = translated?;
                self.unnamed += 1;
                let alias = source.alias.clone().unwrap_or_else(|| format!("subquery_{}", self.unnamed));
                let qualifier = Name::fit(&alias).to_string();
                let names = translated.columns.iter().map(|column| column.target.to_string()).collect::<Vec<_>>().join(", ");
                self.add(&alias, qualifier.clone(), translated.columns);
                Ok(format!("({}) AS {qualifier} ({names})", translated.sql))
            }
            SourceItem::Nested(_) if source.alias.is_some() => no("a join in parentheses with a name of its own"),
            SourceItem::Nested(from) => self.from(from),
            SourceItem::Function(name) => no(format!("it reads the table-valued function {name}()")),
        }
    }

    fn add(&mut self, name: &str, qualifier: String, columns: Vec<RelationColumn>) {
        let source = ScopeSource {
            name: name.to_string(),
            qualifier,
            columns,
            merged: Vec::new(),
            primary_key: Vec::new(),
            rowid_alias: None,
            full_text: false,
            left_out: Vec::new(),
            nullable: false,
        };
        self.scope().sources.push(source);
    }
}
