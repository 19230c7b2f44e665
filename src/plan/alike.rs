//! Whether the values of a foreign key meet in PostgreSQL as they do in SQLite: SQLite's word for who has a parent is PostgreSQL's only where they do.

use crate::model::TypeKind;
use crate::plan::convert::Conversion;
use crate::plan::decision::ColumnPlan;
use crate::plan::objects::is_integer;
use crate::plan::profile::{ColumnProfile, Trait};

/// How far what is equal in SQLite is what is equal in PostgreSQL, from the least to the most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Alike {
    /// Values that meet in SQLite may miss each other in PostgreSQL: 2 and ' 2' of an integer column and a text column that are both text there.
    No,
    /// Those that meet in SQLite meet in PostgreSQL, and others may: two spellings of one UUID.
    Kept,
    /// The very same.
    Exactly,
}

/// Of the values of one column of a key and of the one that it references.
pub fn alike((child, of_child): (&ColumnPlan, &ColumnProfile), (parent, of_parent): (&ColumnPlan, &ColumnProfile)) -> Alike {
    let all = |fits: fn(&TypeKind) -> bool| [child, parent].iter().all(|column| fits(&column.conversion.kind));
    let classes = [Trait::Integer, Trait::Real, Trait::Text, Trait::Blob];
    let seen: Vec<Trait> = classes.into_iter().filter(|class| of_child.has(*class) || of_parent.has(*class)).collect();
    let changes = |column: &ColumnPlan| !column.conversion.transform.is_none() || column.conversion.rounding.is_some() || column.computed;
    let is_plain = ![child, parent].into_iter().any(changes) && !of_child.has_bad_text() && !of_parent.has_bad_text();
    let same = is_plain
        && match seen[..] {
            [] => true,
            [Trait::Integer] => all(|kind| is_integer(kind) || matches!(kind, TypeKind::Numeric { .. })) || all(is_unlimited),
            // A REAL in a column of integers is a whole number of 64 bits.
            [Trait::Integer, Trait::Real] => all(is_integer),
            [Trait::Real] => all(is_integer) || all(|kind| *kind == TypeKind::Float8),
            [Trait::Text] => all(|kind| matches!(kind, TypeKind::Text { .. })),
            [Trait::Blob] => all(|kind| *kind == TypeKind::Bytea),
            _ => false,
        };
    let rule = |column: &ColumnPlan| Conversion { text_is_clean: false, ..column.conversion.clone() };
    let by_one_rule = !child.computed && !parent.computed && rule(child) == rule(parent);
    match seen[..] {
        _ if same => Alike::Exactly,
        // Two zeros, which SQLite takes for one, are told apart by a REAL that becomes a text.
        [Trait::Integer | Trait::Text | Trait::Blob] if by_one_rule => Alike::Kept,
        _ => Alike::No,
    }
}

fn is_unlimited(kind: &TypeKind) -> bool {
    *kind == TypeKind::TEXT
}
