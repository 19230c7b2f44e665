//! Triggers before a row that write rows of its own table: in PostgreSQL none of them may be that row.

use super::expr::Translator;
use super::{Outcome, Relation, no};
use crate::dialect::ast::{Binary, Chain, ColumnRef, Expr, Statement};
use crate::dialect::parse::Conflict;

/// Why a trigger that may write the row it fires for is not made.
pub const OWN_ROWS: &str = "before a row of its table is written it writes rows of that table itself: where it meets the same row, PostgreSQL ends the statement with an error";

impl Translator<'_> {
    /// Fails where a BEFORE trigger of `own` may write the row that it fires for: PostgreSQL ends such a statement with an error.
    pub fn not_own_rows(&mut self, statement: &Statement, own: &Relation) -> Outcome<()> {
        let (table, filter) = match statement {
            Statement::Update { table, filter, .. } | Statement::Delete { table, filter } => (table, filter.as_ref()),
            Statement::Insert { or, table, upsert, .. } if *or == Some(Conflict::Replace) || upsert.iter().any(|one| one.set.is_some()) => {
                (table, None)
            }
            _ => return Ok(()),
        };
        if !table.eq_ignore_ascii_case(&own.source) {
            return Ok(());
        }
        if !filter.is_some_and(|filter| leaves_own_row(filter, own)) {
            return no(OWN_ROWS);
        }
        self.note(
            "writes other rows of its own table before each row: a statement that comes to one of those itself ends in an error in PostgreSQL",
        );
        Ok(())
    }
}

/// Whether a condition says that the key is another than that of the row at hand: `id <> NEW.id`.
fn leaves_own_row(filter: &Expr, own: &Relation) -> bool {
    let [key] = own.primary_key.as_slice() else { return false };
    let is_key = |name: &str| own.assignable(name).is_some_and(|column| column.source.eq_ignore_ascii_case(key));
    let is_of = |expr: &Expr, tables: &[&str]| match expr {
        Expr::Column(ColumnRef { table: Some(table), name, .. }) => {
            tables.iter().any(|one| table.eq_ignore_ascii_case(one)) && is_key(name)
        }
        Expr::Column(ColumnRef { table: None, name, .. }) => tables.len() == 1 && is_key(name),
        _ => false,
    };
    let (there, here): (&[&str], &[&str]) = (&[own.source.as_str()], &["new", "old"]);
    let terms = match filter {
        Expr::Chain(Chain::And, terms) => terms.as_slice(),
        one => std::slice::from_ref(one),
    };
    terms.iter().any(|term| match term {
        Expr::Binary(Binary::NotEqual | Binary::IsNot, left, right) => {
            is_of(left, there) && is_of(right, here) || is_of(left, here) && is_of(right, there)
        }
        _ => false,
    })
}
