//! Integers beside reals. SQLite compares the two exactly; PostgreSQL makes a real of the integer, and beyond 2^53 that is another number.

use super::compare::spelling;
use super::typed::{Class, Constant, Typed};
use super::{Outcome, literal, no};
use crate::dialect::ast::Binary;

/// What is said where PostgreSQL's answer is all that there is.
pub const ROUNDED: &str = "compares integers with reals: an integer beyond 2^53 is compared as the nearest real there";

/// 2^53: below it every integer is a real.
const EXACT: f64 = 9_007_199_254_740_992.0;
/// 2^63: no integer is as large.
const BEYOND: f64 = 9_223_372_036_854_775_808.0;

/// How two numbers are compared.
pub enum Numbers {
    /// By PostgreSQL, these operands.
    Plain(String, String),
    Apart(Box<Apart>),
}

/// An integer and a real; which rows PostgreSQL would be wrong about, the rows decide.
pub struct Apart {
    integer: Typed,
    real: Typed,
    integer_is_left: bool,
}

/// How to compare numbers among which truths are integers.
pub fn numbers(left: &Typed, right: &Typed) -> Outcome<Numbers> {
    let plain = |left: String, right: String| Ok(Numbers::Plain(left, right));
    let (integer, real, integer_is_left) = match (left.class, right.class) {
        (Class::Integer, Class::Real) => (left, right, true),
        (Class::Real, Class::Integer) => (right, left, false),
        _ => return plain(left.operand(), right.operand()),
    };
    if !is_long(integer) || rounds(left, right) {
        return plain(left.operand(), right.operand());
    }
    if let Some(Constant::Real(value)) = real.constant {
        let (integer, real) = match value {
            value if value.abs() < EXACT => (integer.operand(), real.operand()),
            value if (-BEYOND..BEYOND).contains(&value) => (integer.operand(), literal::constant(Constant::Integer(value as i64)).sql),
            // The largest integers are rounded to 2^63; their halves are as far on this side of it.
            _ => (format!("{} / 2", integer.operand()), real.operand()),
        };
        return if integer_is_left { plain(integer, real) } else { plain(real, integer) };
    }
    if integer.volatile || real.volatile {
        return no("a random value is compared with a number of another kind");
    }
    Ok(Numbers::Apart(Box::new(Apart { integer: integer.clone(), real: real.clone(), integer_is_left })))
}

/// An operand is written several times, so that those within those grow by powers: a longer one is not.
const MOST_REPEATED: usize = 1_000;

/// True for what is not to be written several times: long ones, and subqueries, which would be asked each time.
pub fn is_dear(operand: &Typed) -> bool {
    operand.sql.len() > MOST_REPEATED || operand.sql.contains("(SELECT ")
}

/// True where integers beyond 2^53 are compared as reals after all.
pub fn rounds(left: &Typed, right: &Typed) -> bool {
    let has = |class: Class| left.class == class || right.class == class;
    // Of a column of both, each row tells which it has.
    let is_either = has(Class::Numeric) && (has(Class::Integer) || has(Class::Real));
    let are_dear = has(Class::Integer) && has(Class::Real) && (is_dear(left) || is_dear(right));
    (is_either || are_dear) && is_long(left) && is_long(right)
}

/// A number that may lie beyond 2^53.
fn is_long(number: &Typed) -> bool {
    match number.constant {
        Some(Constant::Integer(value)) => value.unsigned_abs() > 1 << 53,
        Some(Constant::Real(value)) => value.abs() >= EXACT,
        _ => !number.small && !number.short,
    }
}

/// The number, if it is one of the other class's too, in that class's type; else NULL. None for one that cannot be written several times.
pub fn as_the_other(number: &Typed) -> Option<String> {
    let constant = |constant: Constant| Some(literal::constant(constant).sql);
    match (number.class, &number.constant) {
        (Class::Real, Some(Constant::Real(value))) => match *value {
            value if value.trunc() == value && (-BEYOND..BEYOND).contains(&value) => constant(Constant::Integer(value as i64)),
            _ => Some("NULL::bigint".into()),
        },
        (Class::Integer, Some(Constant::Integer(value))) => match *value as f64 {
            real if real as i128 == i128::from(*value) => constant(Constant::Real(real)),
            _ => Some("NULL::double precision".into()),
        },
        (Class::Integer, None) if !is_long(number) => Some(number.cast("double precision")),
        _ if number.volatile || is_dear(number) => None,
        (Class::Real, _) => {
            let r = number.operand();
            Some(format!("CASE WHEN {r} = trunc({r}) AND {} THEN {} END", in_range(&r), number.cast("bigint")))
        }
        (Class::Integer, _) => {
            let (i, real) = (number.operand(), number.cast("double precision"));
            // The largest are rounded to 2^63, which is no bigint.
            Some(format!("CASE WHEN {i} > 9223372036854774784 THEN NULL WHEN {real}::bigint = {i} THEN {real} END"))
        }
        _ => None,
    }
}

fn in_range(real: &str) -> String {
    format!("{real} >= -9223372036854775808 AND {real} < 9223372036854775808")
}

impl Apart {
    /// The whole condition; NULL where either is.
    pub fn compare(&self, operator: Binary, both_set: bool) -> String {
        let (i, r) = (self.integer.operand(), self.real.operand());
        match operator {
            Binary::Equal => self.equal(),
            Binary::NotEqual => format!("NOT ({})", self.equal()),
            Binary::Is if both_set => self.equal(),
            Binary::IsNot if both_set => format!("NOT ({})", self.equal()),
            Binary::Is => format!("({}) IS TRUE OR ({i} IS NULL AND {r} IS NULL)", self.equal()),
            Binary::IsNot => format!("({}) IS NOT TRUE AND ({i} IS NOT NULL OR {r} IS NOT NULL)", self.equal()),
            _ => {
                let symbol = spelling(if self.integer_is_left { operator } else { mirrored(operator) }, both_set);
                self.by_size(&format!("{i} {symbol} {r}"), &format!("{i} {symbol} {}", self.whole()), &format!("{i} / 2 {symbol} {r}"))
            }
        }
    }

    /// Equal as reals, which an index and a join can use, and then exactly so.
    fn equal(&self) -> String {
        let (i, r) = (self.integer.operand(), self.real.operand());
        let exactly = self.by_size("TRUE", &format!("{i} = {}", self.whole()), &format!("{i} / 2 = {r}"));
        format!("{i} = {r} AND {exactly}")
    }

    /// One of three, by where the real lies: every integer is a real there; every real is an integer; no integer is as large, nor is half of one
    /// rounded to what is.
    fn by_size(&self, small: &str, large: &str, beyond: &str) -> String {
        format!("CASE WHEN abs({}) < 9007199254740992 THEN {small} WHEN {} THEN {large} ELSE {beyond} END", self.real.sql, self.in_range())
    }

    fn in_range(&self) -> String {
        in_range(&self.real.operand())
    }

    /// The real as the integer that it is.
    fn whole(&self) -> String {
        self.real.cast("bigint")
    }

    /// For `left IN (SELECT right)`: both as the integer that they are; a half stands for a real that is none.
    pub fn members(&self) -> (String, String) {
        let (i, r) = (self.integer.cast("numeric"), self.real.operand());
        let real =
            format!("CASE WHEN {r} = trunc({r}) AND {} THEN {}::numeric WHEN {r} IS NOT NULL THEN 0.5 END", self.in_range(), self.whole());
        if self.integer_is_left { (i, real) } else { (real, i) }
    }
}

/// The operator for the sides exchanged.
fn mirrored(operator: Binary) -> Binary {
    match operator {
        Binary::Less => Binary::Greater,
        Binary::LessEqual => Binary::GreaterEqual,
        Binary::Greater => Binary::Less,
        Binary::GreaterEqual => Binary::LessEqual,
        other => other,
    }
}
