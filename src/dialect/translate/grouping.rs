//! What an expression means in a SELECT that groups: a key, a column that the keys decide, or a column of any row of the group.

use super::expr::Translator;
use super::scope::ScopeSource;
use super::typed::Typed;
use super::{Outcome, no};
use crate::dialect::ast::Expr;

#[derive(Clone, Debug, Default)]
pub struct Grouping {
    /// The GROUP BY expressions, as translated.
    pub keys: Vec<String>,
    /// Keys that are more than columns, so that whole expressions must be compared with them.
    pub has_expressions: bool,
    /// Sources whose primary key is among the keys.
    pub determined: Vec<usize>,
    /// `ORDER BY …` of the row that a lone min() or max() points at; empty for any row.
    pub row: String,
}

impl Translator<'_> {
    /// The expression, when it is itself a key of the innermost grouping.
    pub fn group_key(&mut self, expr: &Expr) -> Outcome<Option<Typed>> {
        let is_candidate =
            matches!(expr, Expr::Unary(..) | Expr::Binary(..) | Expr::Chain(..) | Expr::Case { .. } | Expr::Cast(..) | Expr::Call(..));
        let Some(scope) = self.scopes.last_mut() else { return Ok(None) };
        if !is_candidate || !scope.grouping.as_ref().is_some_and(|grouping| grouping.has_expressions) {
            return Ok(None);
        }
        let Some(grouping) = scope.grouping.take() else { return Ok(None) };
        let typed = self.expr(expr);
        // What is computed once more, as a time's spelling is, must be computed from the key.
        let key = typed.ok().and_then(|typed| {
            if grouping.keys.contains(&typed.sql) {
                return Some(Typed { spelling: None, ..typed });
            }
            // Texts alike under the key's collation: SQLite shows the one of some row.
            let is_key = typed.ordered().is_ok_and(|key| grouping.keys.contains(&key));
            is_key.then(|| Typed { sql: format!("(array_agg({}{}))[1]", typed.sql, grouping.row), atom: true, ..typed })
        });
        if let Some(scope) = self.scopes.last_mut() {
            scope.grouping = Some(grouping);
        }
        Ok(key)
    }

    /// The sources whose whole primary key is among these columns.
    pub fn determined(&mut self, columns: &[String]) -> Vec<usize> {
        let is_determined = |source: &ScopeSource| {
            let is_there = |name: &String| source.column(name).is_some_and(|column| columns.contains(&source.typed(column).sql));
            !source.primary_key.is_empty() && source.primary_key.iter().all(is_there)
        };
        let sources = self.scope().sources.iter().enumerate();
        sources.filter(|(_, source)| is_determined(source)).map(|(index, _)| index).collect()
    }

    /// Fails where rows that SQLite keeps apart by these values would be one. Beside the whole key of its table a column tells nothing apart.
    pub fn not_merged(&mut self, values: &[Typed], determined: &[usize]) -> Outcome<()> {
        let sources = &self.scope().sources;
        let is_decided = |value: &&Typed| {
            let mut columns =
                determined.iter().flat_map(|index| sources[*index].columns.iter().map(|column| sources[*index].typed(column)));
            columns.any(|column| column.sql == value.sql)
        };
        values.iter().filter(|value| !is_decided(value)).try_for_each(Typed::not_merged)
    }

    /// A column of source `index` of the scope at `depth`.
    pub fn grouped_column(&mut self, depth: usize, index: usize, typed: Typed) -> Outcome<Typed> {
        let Some(grouping) = &self.scopes[depth].grouping else { return Ok(typed) };
        if grouping.keys.contains(&typed.sql) || grouping.determined.contains(&index) {
            return Ok(typed);
        }
        if depth + 1 != self.scopes.len() {
            return no("a subquery uses a column of an arbitrary row of the group");
        }
        let sql = format!("(array_agg({}{}))[1]", typed.sql, grouping.row);
        // Without GROUP BY there may be no row at all.
        Ok(Typed { sql, not_null: typed.not_null && !grouping.keys.is_empty(), ..typed })
    }
}
