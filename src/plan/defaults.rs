//! Defaults against the limits of types: SQLite holds no value to `decimal(4,2)` or `varchar(3)`, PostgreSQL holds every one.

use crate::dialect::translate::{Constant, default_constant};
use crate::model::TypeKind;
use crate::plan::decimal::Decimal;

/// False for a DEFAULT whose value has more digits or characters than the type has room for: PostgreSQL would round it, or refuse each row that takes it.
pub fn has_room(kind: &TypeKind, default: &str) -> bool {
    match kind {
        TypeKind::Numeric { limits: Some((precision, scale)) } => digits(default).is_none_or(|digits| digits.fits(*precision, *scale)),
        TypeKind::Text { max_chars: Some(most) } | TypeKind::Char { chars: most } => {
            characters(default).is_none_or(|characters| characters <= *most as usize)
        }
        _ => true,
    }
}

/// The number that a constant is, or is the text of.
fn digits(default: &str) -> Option<Decimal> {
    match default_constant(default)? {
        Constant::Integer(integer) => Some(Decimal::from_integer(integer)),
        Constant::Real(real) => real.is_finite().then(|| Decimal::from_real(real)),
        Constant::Text(text) => Decimal::parse(text.trim().as_bytes()),
        Constant::Blob => None,
    }
}

fn characters(default: &str) -> Option<usize> {
    // As SQLite spells them.
    let spelled = [("current_timestamp", 19), ("current_date", 10), ("current_time", 8)];
    if let Some((_, length)) = spelled.into_iter().find(|(word, _)| default.eq_ignore_ascii_case(word)) {
        return Some(length);
    }
    match default_constant(default)? {
        Constant::Integer(integer) => Some(integer.to_string().len()),
        Constant::Real(real) => Some(format!("{real:?}").len()),
        Constant::Text(text) => Some(text.chars().count()),
        Constant::Blob => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_default_has_room_or_has_not() {
        let (money, code) = (TypeKind::Numeric { limits: Some((4, 2)) }, TypeKind::Text { max_chars: Some(3) });
        for (kind, default, fits) in [
            (&money, "12.34", true),
            (&money, "-12.34", true),
            (&money, "'12.5'", true),
            (&money, "123.4", false),
            (&money, "1.005", false),
            (&money, "' 99.999'", false),
            (&money, "5000", false),
            (&money, "1e1", true),
            (&money, "NULL", true),
            (&money, "(1 + 1)", true),
            (&code, "'abc'", true),
            (&code, "'äöü'", true),
            (&code, "\"abcd\"", false),
            (&code, "1234", false),
            (&code, "CURRENT_TIMESTAMP", false),
            (&code, "''", true),
            (&TypeKind::TEXT, "'abcd'", true),
        ] {
            assert_eq!(has_room(kind, default), fits, "{kind:?} {default}");
        }
    }
}
