//! Values that a mapping lets be rounded: what the type keeps of them, computed here a second time.

use crate::digest::source::{Normalise, is_written_plainly, numeric, write_value};
use crate::digest::{VALUE, decimal};
use crate::model::{TypeKind, Value};
use crate::plan::CopyColumn;
use crate::plan::convert::Conversion;
use crate::plan::rounding::Rounding;

/// Appends the canonical form of what a column holds of a value that is not quite its type's; none for one that cannot be rounded to it.
pub fn write_rounded(
    column: &CopyColumn,
    value: Value<'_>,
    out: &mut Vec<u8>,
    scratch: &mut Vec<u8>,
    normalise: &mut impl Normalise,
) -> Option<()> {
    let conversion = &column.conversion;
    match (&conversion.kind, &conversion.rounding) {
        (TypeKind::Float8, _) => {
            let double = nearest_double(value)?;
            out.push(VALUE);
            out.extend_from_slice(&double.to_bits().to_le_bytes());
        }
        (TypeKind::Float4, _) => {
            let single = nearest_single(value)?;
            out.push(VALUE);
            out.extend_from_slice(&single.to_bits().to_le_bytes());
        }
        (TypeKind::Numeric { limits: Some((precision, scale)) }, _) => {
            out.push(VALUE);
            let start = out.len();
            numeric(value, None, out, scratch)?;
            let point = decimal::round(start, *scale, out);
            (point <= i32::from(*precision) - i32::from(*scale)).then_some(())?;
        }
        (TypeKind::Time | TypeKind::Timestamp | TypeKind::TimestampTz, Some(Rounding::Seconds(digits))) => {
            let whole = CopyColumn { conversion: Conversion { rounding: None, ..conversion.clone() }, ..column.clone() };
            write_value(&whole, value, out, scratch, normalise)?;
            let at = out.len() - 8;
            let micros = i64::from_le_bytes(out[at..].try_into().ok()?);
            let zero = if conversion.kind == TypeKind::Time { 0 } else { 946_684_800_000_000 };
            out[at..].copy_from_slice(&(zero + nearest_step(micros - zero, *digits)).to_le_bytes());
        }
        (TypeKind::Other, _) => return write_value(column, value, out, scratch, normalise),
        _ => return None,
    }
    Some(())
}

fn nearest_double(value: Value<'_>) -> Option<f64> {
    match value {
        Value::Integer(integer) => Some(integer as f64),
        Value::Real(real) => Some(real),
        Value::Text(text) => number(text).filter(|double: &f64| double.is_finite() && (*double != 0.0 || is_zero(text))),
        _ => None,
    }
}

fn nearest_single(value: Value<'_>) -> Option<f32> {
    let single = match value {
        Value::Integer(integer) => integer as f32,
        Value::Real(real) if real.is_infinite() => return Some(real as f32),
        Value::Real(real) => Some(real as f32).filter(|single| *single != 0.0 || real == 0.0)?,
        Value::Text(text) => number(text).filter(|single: &f32| *single != 0.0 || is_zero(text))?,
        _ => return None,
    };
    single.is_finite().then_some(single)
}

/// Digits with a point and an exponent, as a float of either kind.
fn number<F: std::str::FromStr>(text: &[u8]) -> Option<F> {
    decimal::write_number(text, &mut Vec::new()).filter(|_| is_written_plainly(text))?;
    std::str::from_utf8(text).ok()?.parse().ok()
}

fn is_zero(text: &[u8]) -> bool {
    decimal::write_number(text, &mut Vec::new()).is_some_and(|number| number.digits == 0)
}

/// Halves go away from zero.
fn nearest_step(distance: i64, digits: u8) -> i64 {
    let step = (digits..6).fold(1i64, |step, _| step * 10);
    let rest = distance % step;
    let down = distance - rest;
    if rest.abs() * 2 >= step && step > 1 { down + step * rest.signum() } else { down }
}
