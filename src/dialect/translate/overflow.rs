//! Integers that outgrow their bits: SQLite goes on with a REAL where one leaves 64 of them. PostgreSQL ends with an error there, and already at 32 bits
//! where all operands are no wider.

use super::typed::{Class, Constant, Typed};
use crate::dialect::ast::Binary;

/// What is said where a row may be refused for it.
pub const OVERFLOWS: &str = "with values as large as those that there are, its integers may leave 64 bits: SQLite goes on with a REAL there, and PostgreSQL refuses the row";

/// What is said where nothing tells how large an integer is.
const UNKNOWN: &str = "how large its integers are is not known beforehand: where one leaves 64 bits, SQLite goes on with a REAL, and PostgreSQL refuses the row";

/// The least and the most that an integer is.
pub type Reach = (i128, i128);

const BIGINT: Reach = (i64::MIN as i128, i64::MAX as i128);

/// What is known of an integer's size.
#[derive(Clone, Debug, Default)]
pub struct Growth {
    /// In the rows that there are; none where that is not known.
    pub reach: Option<Reach>,
    /// PostgreSQL computes it in 64 bits.
    pub long: bool,
    /// Whether it is computed of integers that may leave 64 bits.
    pub leaves: Leaves,
    /// The same in numeric, where one operation is all that may leave 64 bits.
    pub unbounded: Option<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Leaves {
    #[default]
    Never,
    /// Nothing is known of their size.
    Unknown,
    /// In the rows that there are.
    InRows,
}

impl Leaves {
    /// What is said of it.
    pub fn note(self) -> Option<&'static str> {
        match self {
            Leaves::Never => None,
            Leaves::Unknown => Some(UNKNOWN),
            Leaves::InRows => Some(OVERFLOWS),
        }
    }
}

impl Growth {
    /// That of an integer of a known size, which PostgreSQL computes in 64 bits.
    pub fn within(least: i64, most: i64) -> Self {
        Growth { reach: Some((least.into(), most.into())), long: true, ..Growth::default() }
    }
}

/// That of the bits that two integers have both, or one of them has.
pub fn bits(operator: Binary, left: &Typed, right: &Typed) -> Growth {
    let most = |typed: &Typed| reach(typed).filter(|(least, _)| *least >= 0).map(|(_, most)| most);
    let reach = match (operator, most(left), most(right)) {
        (Binary::BitAnd, Some(a), Some(b)) => Some((0, a.min(b))),
        (Binary::BitAnd, Some(a), None) | (Binary::BitAnd, None, Some(a)) => Some((0, a)),
        // No bit is beyond the highest of both.
        (Binary::BitOr, Some(a), Some(b)) => Some((0, (a.max(b) + 1).unsigned_abs().next_power_of_two() as i128)),
        _ => None,
    };
    Growth { reach: reach.map(within), long: true, ..Growth::default() }
}

/// That of every bit turned.
pub fn inverted(value: &Typed) -> Growth {
    Growth { reach: reach(value).map(|(least, most)| (-most - 1, -least - 1)), long: true, ..Growth::default() }
}

fn reach(typed: &Typed) -> Option<Reach> {
    let known = match typed.constant {
        Some(Constant::Integer(value)) => Some((i128::from(value), i128::from(value))),
        _ => typed.growth.reach,
    };
    let by_kind = match typed {
        _ if typed.small => Some((-(1 << 31), 1 << 31)),
        _ if typed.short => Some((-(1 << 53), 1 << 53)),
        _ if typed.class == Class::Boolean => Some((0, 1)),
        _ => None,
    };
    known.or(by_kind).map(|(least, most)| if typed.non_negative { (least.max(0), most.max(0)) } else { (least, most) })
}

/// That of a value which is one of these.
pub fn one_of(values: &[Typed]) -> Growth {
    let numbers = || values.iter().filter(|value| value.class != Class::Null);
    let reaches: Option<Vec<Reach>> = numbers().map(reach).collect();
    let union = |reaches: Vec<Reach>| reaches.into_iter().reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)));
    Growth {
        reach: reaches.and_then(union),
        long: numbers().any(|value| value.growth.long),
        leaves: values.iter().map(|value| value.growth.leaves).max().unwrap_or_default(),
        unbounded: None,
    }
}

/// That of the value without its sign, or with the other one; and whether PostgreSQL must be told to compute it in 64 bits: the least integer of 32 has no
/// other there.
pub fn turned(operator: Turn, value: &Typed) -> (Growth, bool) {
    let reach = reach(value).map(|(least, most)| match operator {
        Turn::Negate => (-most, -least),
        Turn::Absolute => (0, most.abs().max(least.abs())),
    });
    // SQLite's abs() ends with an error too.
    let leaves = match reach {
        _ if operator == Turn::Absolute => Leaves::Never,
        None => Leaves::Unknown,
        Some((_, most)) if most > BIGINT.1 => Leaves::InRows,
        Some(_) => Leaves::Never,
    };
    let widen = value.class == Class::Integer && !value.growth.long && !value.small;
    let long = widen || value.growth.long;
    (Growth { reach: reach.map(within), long, leaves: leaves.max(value.growth.leaves), unbounded: None }, widen)
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    Negate,
    Absolute,
}

/// That of two integers' sum, difference, product, quotient or rest; and whether PostgreSQL must be told to compute it in 64 bits.
pub fn of(operator: Binary, left: &Typed, right: &Typed) -> (Growth, bool) {
    let grows = matches!(operator, Binary::Add | Binary::Subtract | Binary::Multiply);
    // The least integer divided by -1 is beyond the most.
    let turns = operator == Binary::Divide && reach(right).is_none_or(|(least, most)| (least..=most).contains(&-1));
    let far_from_ends = left.small && (turns || right.small && operator != Binary::Multiply);
    let widen = (grows || turns) && !left.growth.long && !right.growth.long && !far_from_ends;
    let computed = reach(left).zip(reach(right)).map(|((a, b), (c, d))| match operator {
        Binary::Add => (a + c, b + d),
        Binary::Subtract => (a - d, b - c),
        Binary::Multiply => {
            let products = [a * c, a * d, b * c, b * d];
            products.into_iter().fold((products[0], products[0]), |(least, most), product| (least.min(product), most.max(product)))
        }
        // Neither is farther from 0 than the left one.
        _ => (a.min(-b).min(0), b.max(-a).max(0)),
    });
    let beyond = match computed {
        _ if !grows && !turns => Leaves::Never,
        Some((least, most)) if least < BIGINT.0 || most > BIGINT.1 => Leaves::InRows,
        Some(_) => Leaves::Never,
        None => Leaves::Unknown,
    };
    let before = left.growth.leaves.max(right.growth.leaves);
    let symbol = match operator {
        Binary::Add => "+",
        Binary::Subtract => "-",
        _ => "*",
    };
    let unbounded = (grows && beyond == Leaves::InRows && before == Leaves::Never)
        .then(|| format!("{} {symbol} {}", left.cast("numeric"), right.operand()));
    let long = widen || left.growth.long || right.growth.long;
    (Growth { reach: computed.map(within), long, leaves: beyond.max(before), unbounded }, widen)
}

/// What has not become a REAL, or an error.
fn within((least, most): Reach) -> Reach {
    (least.clamp(BIGINT.0, BIGINT.1), most.clamp(BIGINT.0, BIGINT.1))
}

/// One side of a comparison in numeric, where the other has not left 64 bits: on which side of that it lies the REAL that SQLite computes tells as well, but
/// for the least integer itself.
pub fn unbounded(typed: &Typed, other: &Typed) -> Option<Typed> {
    let sql = typed.growth.unbounded.clone()?;
    let has_reach =
        other.class == Class::Integer && other.growth.leaves == Leaves::Never && reach(other).is_none_or(|(least, _)| least > BIGINT.0);
    has_reach.then(|| Typed {
        sql,
        atom: false,
        growth: Growth { long: true, reach: typed.growth.reach, ..Growth::default() },
        ..typed.clone()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::translate::literal;

    fn column(least: i64, most: i64) -> Typed {
        let growth = Growth { reach: Some((least.into(), most.into())), long: true, ..Growth::default() };
        Typed { growth, ..Typed::atom("n", Class::Integer) }
    }

    /// Every corner, and what lies between: no answer is farther than is said.
    #[test]
    fn no_answer_is_out_of_reach() {
        let values = [i64::MIN, i64::MIN + 1, -7, -1, 0, 1, 3, 1 << 40, i64::MAX - 1, i64::MAX];
        let ranges = || values.iter().enumerate().flat_map(|(at, least)| values[at..].iter().map(move |most| (*least, *most)));
        for ((a, b), (c, d)) in ranges().flat_map(|left| ranges().map(move |right| (left, right))) {
            let (left, right) = (column(a, b), column(c, d));
            for operator in [Binary::Add, Binary::Subtract, Binary::Multiply, Binary::Divide, Binary::Modulo] {
                let (growth, widened) = of(operator, &left, &right);
                assert!(!widened);
                let (least, most) = growth.reach.unwrap();
                for (l, r) in [a, b, 0.clamp(a, b)].into_iter().flat_map(|l| [c, d, 0.clamp(c, d)].map(|r| (i128::from(l), i128::from(r))))
                {
                    let answer = match operator {
                        Binary::Add => l + r,
                        Binary::Subtract => l - r,
                        Binary::Multiply => l * r,
                        _ if r == 0 => continue,
                        Binary::Divide => l / r,
                        _ => l % r,
                    };
                    let leaves = answer < BIGINT.0 || answer > BIGINT.1;
                    let has_other = growth.unbounded.is_some() || operator == Binary::Divide;
                    assert!(!leaves || growth.leaves == Leaves::InRows && has_other, "{operator:?} of {l} and {r}");
                    assert!(leaves || (least..=most).contains(&answer), "{operator:?} of {l} and {r} is {answer}, not in {least}..{most}");
                }
            }
        }
    }

    #[test]
    fn what_is_known_of_the_rows_decides() {
        let leaves = |(growth, _): (Growth, bool)| growth.leaves != Leaves::Never;
        let far = column(0, i64::MAX);
        assert!(!leaves(of(Binary::Add, &column(0, 1_000_000), &column(0, i64::MAX - 1_000_000))));
        assert!(leaves(of(Binary::Add, &far, &literal::constant(Constant::Integer(1)))));
        assert!(!leaves(of(Binary::Subtract, &far, &literal::constant(Constant::Integer(1)))));
        // Of what nothing is known, it may be so; but it is left as it is.
        let unknown = Typed::atom("x", Class::Integer);
        let (growth, widened) = of(Binary::Add, &unknown, &literal::constant(Constant::Integer(1)));
        assert!(growth.leaves == Leaves::Unknown && growth.unbounded.is_none() && widened && growth.long);
        assert!(!of(Binary::Add, &Typed { small: true, ..unknown.clone() }, &literal::constant(Constant::Integer(1))).1);
        assert!(of(Binary::Multiply, &Typed { small: true, ..unknown.clone() }, &literal::constant(Constant::Integer(9))).1);
        // The least integer has no other sign.
        assert!(turned(Turn::Negate, &unknown).1 && !turned(Turn::Negate, &column(0, 1)).1);
        assert!(!turned(Turn::Absolute, &Typed { small: true, ..unknown.clone() }).1);
        assert!(of(Binary::Divide, &unknown, &literal::constant(Constant::Integer(-1))).1);
        assert!(!of(Binary::Divide, &unknown, &literal::constant(Constant::Integer(2))).1);
        assert!(leaves(of(Binary::Divide, &column(i64::MIN, 0), &literal::constant(Constant::Integer(-1)))));
        assert!(!leaves(of(Binary::Divide, &column(-9, 9), &column(-1, 1))));
    }

    #[test]
    fn bits_are_no_more_than_there_are() {
        let reach = |growth: Growth| growth.reach;
        assert_eq!(reach(bits(Binary::BitAnd, &column(-5, 5), &column(0, 255))), Some((0, 255)));
        assert_eq!(reach(bits(Binary::BitAnd, &column(-5, 5), &column(-1, 255))), None);
        assert_eq!(reach(bits(Binary::BitOr, &column(0, 5), &column(0, 8))), Some((0, 16)));
        assert_eq!(reach(inverted(&column(-5, 8))), Some((-9, 4)));
    }
}
