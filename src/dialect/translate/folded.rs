//! What arithmetic over numbers alone comes to in SQLite: where integers leave 64 bits, it goes on with a REAL, and PostgreSQL with an error.

use super::literal;
use super::typed::Constant;
use crate::dialect::ast::{Binary, Expr, Unary};

/// The value of such an expression; none of any other, and none that is NULL.
pub fn value(expr: &Expr) -> Option<Constant> {
    match expr {
        Expr::Integer(text) => literal::integer(text, false).ok(),
        Expr::Float(text) => Some(literal::float(text, false)),
        Expr::Unary(Unary::Plus, operand) => value(operand),
        Expr::Unary(Unary::Negate, operand) => match &**operand {
            Expr::Integer(text) => literal::integer(text, true).ok(),
            operand => computed(Binary::Subtract, &Constant::Integer(0), &value(operand)?),
        },
        Expr::Binary(operator, left, right) => computed(*operator, &value(left)?, &value(right)?),
        _ => None,
    }
}

fn computed(operator: Binary, left: &Constant, right: &Constant) -> Option<Constant> {
    let in_integers = match (left, right) {
        (Constant::Integer(left), Constant::Integer(right)) => match operator {
            Binary::Add => left.checked_add(*right),
            Binary::Subtract => left.checked_sub(*right),
            Binary::Multiply => left.checked_mul(*right),
            Binary::Divide => left.checked_div(*right),
            Binary::Modulo => left.checked_rem(*right),
            _ => None,
        },
        _ => None,
    };
    if let Some(integer) = in_integers {
        return Some(Constant::Integer(integer));
    }
    let (left, right) = (real(left)?, real(right)?);
    let real = match operator {
        Binary::Add => left + right,
        Binary::Subtract => left - right,
        Binary::Multiply => left * right,
        Binary::Divide if right != 0.0 => left / right,
        _ => return None,
    };
    (!real.is_nan()).then_some(Constant::Real(real))
}

fn real(constant: &Constant) -> Option<f64> {
    match constant {
        Constant::Integer(integer) => Some(*integer as f64),
        Constant::Real(real) => Some(*real),
        Constant::Text(_) | Constant::Blob => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::syntax;

    #[test]
    fn integers_go_on_as_reals() {
        for (sql, expected) in [
            ("9223372036854775807 + 1", Some(Constant::Real(9223372036854775808.0))),
            ("(9223372036854775807 - 1) + 2", Some(Constant::Real(9223372036854775808.0))),
            ("-(-9223372036854775808)", Some(Constant::Real(9223372036854775808.0))),
            ("4611686018427387904 * -4", Some(Constant::Real(-18446744073709551616.0))),
            ("-9223372036854775808 / -1", Some(Constant::Real(9223372036854775808.0))),
            ("9223372036854775807 - -1 + 0.5", Some(Constant::Real(9223372036854775808.0))),
            ("+7 / 2 - -7 % 4", Some(Constant::Integer(6))),
            ("1 / 0", None),
            ("1 + 'a'", None),
            ("1 + abs(2)", None),
        ] {
            let expr = syntax::expression(sql).unwrap_or_else(|error| panic!("{sql}: {error:?}"));
            assert_eq!(value(&expr), expected, "{sql}");
        }
    }
}
