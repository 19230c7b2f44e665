//! Numbers and texts in one column, which numeric affinity keeps apart: no text of it looks like a number, so the decimal digits of a number are
//! those of no text, and as texts all of them are equal exactly when they are equal in SQLite. Only their order is another one.

use super::typed::{Class, Constant, Typed};
use super::{Form, Outcome, literal, no};
use crate::model::Affinity;

/// What a person should know of a column of a view that holds both.
pub const AS_TEXTS: &str = "numbers and texts are in one column: PostgreSQL gives the numbers as texts too, as their digits";

/// And of what is written into a column that holds both.
pub const WRITTEN_AS_TEXTS: &str = "writes a number into a column of texts, where SQLite would keep it a number: it becomes its digits";

impl Typed {
    pub fn is_mixed(&self) -> bool {
        self.form == Form::Mixed
    }

    /// An integer or a short decimal, or a text that cannot look like one.
    pub fn is_mixable(&self) -> bool {
        match (self.class, &self.constant) {
            (Class::Null | Class::Integer, _) => true,
            (Class::Boolean, _) => self.form == Form::Canonical,
            (Class::Numeric, _) => self.prints,
            (Class::Text, Some(Constant::Text(text))) => literal::looks_numeric(text).is_none(),
            (Class::Text, _) if self.is_mixed() || self.never_numeric => true,
            // Their spelling has a hyphen or a colon in it.
            (Class::Date | Class::Timestamp | Class::Time | Class::Uuid, _) => self.form == Form::Canonical,
            (Class::Text, _) => {
                let is_numeric = matches!(self.affinity, Some(Affinity::Integer | Affinity::Real | Affinity::Numeric));
                self.is_column && self.form == Form::Canonical && is_numeric
            }
            _ => false,
        }
    }

    /// For what needs an order.
    pub fn not_mixed(&self) -> Outcome<()> {
        if self.is_mixed() {
            no(format!("{} holds integers and texts, which SQLite sorts in another way than texts", self.describe()))
        } else {
            Ok(())
        }
    }
}

/// Whether the values may stand in one column of integers and texts.
pub fn all_mixable(values: &[Typed]) -> bool {
    values.iter().all(Typed::is_mixable)
}

/// Two sides of a comparison, at least one of which is mixed, after affinity: the texts whose equality is theirs.
pub fn sides(left: &Typed, right: &Typed) -> Outcome<(Typed, Typed)> {
    let (mixed, other) = if left.is_mixed() { (left, right) } else { (right, left) };
    // SQLite makes texts of the integers when the other side is a column of texts and this one has no affinity of its own.
    let as_texts = other.affinity == Some(Affinity::Text) && mixed.affinity.is_none() && other.class == Class::Text;
    if !other.is_mixable() && !as_texts {
        return no(format!("{} holds integers and texts", mixed.describe()));
    }
    Ok((left.text()?, right.text()?))
}
