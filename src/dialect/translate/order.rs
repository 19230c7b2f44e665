//! Which row comes first where nobody says so: SQLite reads a table by its rowids.

use super::collect;
use super::expr::Translator;
use crate::dialect::ast::*;

/// What a person should know of a choice among rows in no order.
pub const NO_ORDER: &str =
    "takes rows, or joins texts, in an order that it does not name: PostgreSQL may take another than SQLite (add ORDER BY)";

impl Translator<'_> {
    /// True when WHERE says the whole key of the only table: there is one such row, or none.
    pub fn is_by_key(&mut self, select: &Select) -> bool {
        let (Core::Select(body), [], [only]) = (&select.first, select.compound.as_slice(), self.scope().sources.as_slice()) else {
            return false;
        };
        let terms: Vec<&Expr> = match &body.filter {
            Some(Expr::Chain(Chain::And, terms)) => terms.iter().collect(),
            filter => filter.iter().collect(),
        };
        let is_own = |column: &ColumnRef| column.table.as_ref().is_none_or(|table| table.eq_ignore_ascii_case(&only.name));
        let names =
            |expr: &Expr, key: &str| matches!(expr, Expr::Column(column) if is_own(column) && column.name.eq_ignore_ascii_case(key));
        // Of another column of the same row it would say nothing.
        let is_elsewhere = |expr: &Expr| {
            let mut open = vec![expr];
            while let Some(expr) = open.pop() {
                if matches!(expr, Expr::Column(column) if is_own(column)) {
                    return false;
                }
                collect::children(expr, &mut open);
            }
            true
        };
        let says = |key: &String| {
            terms.iter().any(|term| match term {
                Expr::Binary(Binary::Equal, left, right) => {
                    names(left, key) && is_elsewhere(right) || names(right, key) && is_elsewhere(left)
                }
                _ => false,
            })
        };
        !only.primary_key.is_empty() && only.primary_key.iter().all(says)
    }

    /// In what order SQLite reads the only table of the innermost scope, where nothing else is asked for; none where there is no telling.
    pub fn order_of_rowids(&mut self) -> Option<String> {
        let [only] = self.scope().sources.as_slice() else { return None };
        let rowid = only.column(only.rowid_alias.as_deref()?)?;
        Some(only.typed(rowid).sql)
    }
}
