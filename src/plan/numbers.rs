//! Numbers of SQLite as PostgreSQL's floats and decimals.

use crate::model::Value;
use crate::plan::convert::{Converted, Datum, Misfit, Scratch, misfit};
use crate::plan::decimal::Decimal;
use crate::plan::transform::Inexact;

pub fn float8(value: Value<'_>, inexact: Inexact) -> Result<f64, Misfit> {
    let failed = |why: &str| misfit(value, why).map(|_| 0.0);
    match value {
        Value::Real(real) => Ok(real),
        Value::Integer(integer) if (integer as f64) as i128 == i128::from(integer) || inexact == Inexact::Round => Ok(integer as f64),
        Value::Integer(_) => failed("a double cannot hold the integer exactly"),
        Value::Text(text) => {
            let read = || nearest::<f64>(text).filter(|real| real.is_finite());
            match (Decimal::parse(text).filter(|_| is_plain(text)), read()) {
                // The double prints as the number that was written.
                (Some(decimal), Some(real)) if decimal == Decimal::from_real(real) => Ok(real),
                (_, Some(real)) if inexact == Inexact::Round && is_plain(text) && (real != 0.0 || !has_digit(text)) => Ok(real),
                (Some(_), _) => failed("a double cannot hold the number exactly"),
                _ => failed("not a number"),
            }
        }
        Value::Null | Value::Blob(_) => failed("not a number"),
    }
}

/// The float that is nearest to a number; none for a text that is no number.
fn nearest<F: std::str::FromStr>(text: &[u8]) -> Option<F> {
    std::str::from_utf8(text).ok().filter(|text| !text.contains(|c: char| c.is_alphabetic() && !matches!(c, 'e' | 'E')))?.parse().ok()
}

/// True unless the number is written as zero.
fn has_digit(text: &[u8]) -> bool {
    text.iter().take_while(|byte| !matches!(byte, b'e' | b'E')).any(|byte| matches!(byte, b'1'..=b'9'))
}

/// A text that loses nothing but zeros after the point when it becomes a number: no zeros in front, no plus sign, no minus before a zero.
pub fn is_plain(text: &[u8]) -> bool {
    let unsigned = text.strip_prefix(b"-").unwrap_or(text);
    let in_front = matches!(unsigned, [b'+', ..] | [b'0', b'0'..=b'9', ..]);
    let is_minus_zero = unsigned.len() < text.len() && !has_digit(unsigned);
    !in_front && !is_minus_zero
}

/// A number that a single holds; of a text, one that the nearest single is written as.
pub fn float4<'a>(value: Value<'a>, inexact: Inexact) -> Converted<'a> {
    let real = float8(value, inexact)?;
    // From the number itself: by way of a double it may be rounded twice.
    let single = match value {
        Value::Integer(integer) => integer as f32,
        Value::Text(text) => nearest(text).unwrap_or(real as f32),
        _ => real as f32,
    };
    let same = match value {
        Value::Text(_) => single.is_finite() && format!("{single:e}") == format!("{real:e}"),
        _ => f64::from(single) == real && (!matches!(value, Value::Integer(_)) || single as i128 == real as i128),
    };
    let is_near = || (single.is_finite() || !real.is_finite()) && (single != 0.0 || real == 0.0);
    if same || inexact == Inexact::Round && is_near() {
        Ok(Datum::Float(f64::from(single)))
    } else {
        misfit(value, "real (float4) keeps fewer digits, and makes another number of it")
    }
}

pub fn numeric<'a>(value: Value<'a>, limits: Option<(u16, i16)>, inexact: Inexact, scratch: &'a mut Scratch) -> Converted<'a> {
    let (negative, mut point, mut scale) = match value {
        Value::Integer(integer) => take_decimal(&Decimal::from_integer(integer), scratch),
        Value::Real(real) if real == 0.0 && real.is_sign_negative() => return misfit(value, "numeric has no minus zero"),
        Value::Real(real) if real.is_finite() => take_decimal(&Decimal::from_real(real), scratch),
        Value::Text(text) => match parse_numeric(text, &mut scratch.bytes).filter(|_| is_plain(text)) {
            Some(parsed) => parsed,
            None => return misfit(value, "not a number, or one that numeric would write in another way"),
        },
        _ => return misfit(value, "not a number"),
    };
    if let Some((precision, most)) = limits {
        if inexact == Inexact::Round {
            point = round(&mut scratch.bytes, point, most);
            scale = scale.min(u32::try_from(most).unwrap_or(0));
        }
        // Below 0, so many digits before the point are zeros.
        let needed_scale = scratch.bytes.len() as i32 - point;
        let fits = needed_scale <= i32::from(most) && point <= i32::from(precision) - i32::from(most);
        if !fits && !scratch.bytes.is_empty() {
            return misfit(value, &format!("does not fit numeric({precision},{most})"));
        }
    }
    let negative = negative && !scratch.bytes.is_empty();
    Ok(Datum::Numeric { negative, digits: &scratch.bytes, point, scale })
}

/// 0.d₁d₂… × 10^point with `most` digits after the point, halves away from zero as PostgreSQL rounds; the point afterwards.
fn round(digits: &mut Vec<u8>, point: i32, most: i16) -> i32 {
    let kept = point + i32::from(most);
    let Ok(kept) = usize::try_from(kept) else {
        digits.clear();
        return 0;
    };
    let Some(next) = digits.get(kept).copied() else { return point };
    digits.truncate(kept);
    let mut point = point;
    if next >= 5 {
        while digits.last() == Some(&9) {
            digits.pop();
        }
        match digits.last_mut() {
            Some(last) => *last += 1,
            None => {
                digits.push(1);
                point += 1;
            }
        }
    }
    while digits.last() == Some(&0) {
        digits.pop();
    }
    if digits.is_empty() { 0 } else { point }
}

fn take_decimal(decimal: &Decimal, scratch: &mut Scratch) -> (bool, i32, u32) {
    scratch.bytes.clear();
    scratch.bytes.extend_from_slice(decimal.digits());
    (decimal.negative, decimal.point, decimal.scale())
}

/// Decimal text of any length: the sign, the point, and the digits after the point as written.
fn parse_numeric(text: &[u8], digits: &mut Vec<u8>) -> Option<(bool, i32, u32)> {
    digits.clear();
    let (negative, text) = match text.first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let mantissa_end = text.iter().position(|byte| matches!(byte, b'e' | b'E')).unwrap_or(text.len());
    let exponent: i32 = match text.get(mantissa_end + 1..) {
        None => 0,
        Some(exponent) => std::str::from_utf8(exponent).ok()?.parse().ok().filter(|e: &i32| e.abs() < 10_000)?,
    };
    let mantissa = &text[..mantissa_end];
    let point_at = mantissa.iter().position(|byte| *byte == b'.');
    let whole = point_at.unwrap_or(mantissa.len());
    for (at, byte) in mantissa.iter().enumerate() {
        match byte {
            b'0'..=b'9' => digits.push(byte - b'0'),
            b'.' if Some(at) == point_at => {}
            _ => return None,
        }
    }
    if digits.is_empty() || digits.len() > 100_000 {
        return None;
    }
    let scale = ((digits.len() - whole) as i32 - exponent).max(0) as u32;
    let mut point = whole as i32 + exponent;
    let leading = digits.iter().take_while(|digit| **digit == 0).count();
    digits.drain(..leading);
    point -= leading as i32;
    while digits.last() == Some(&0) {
        digits.pop();
    }
    // PostgreSQL's numeric ends at 16383 digits after the point.
    if scale > 16_383 || point > 131_072 {
        return None;
    }
    Some(if digits.is_empty() { (false, 0, scale) } else { (negative, point, scale) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_rounded_is_the_nearest_that_the_type_has() {
        let decimal =
            |text: &str, limits| match numeric(Value::Text(text.as_bytes()), Some(limits), Inexact::Round, &mut Scratch::default()) {
                Ok(Datum::Numeric { negative, digits, point, scale }) => {
                    let digits: String = digits.iter().map(|digit| char::from(b'0' + digit)).collect();
                    format!("{}0.{digits}e{point} scale {scale}", if negative { "-" } else { "" })
                }
                other => format!("{:?}", other.err()),
            };
        assert_eq!(decimal("1.255", (5, 2)), "0.126e1 scale 2");
        assert_eq!(decimal("-1.245", (5, 2)), "-0.125e1 scale 2");
        assert_eq!(decimal("9.999", (5, 2)), "0.1e2 scale 2");
        assert_eq!(decimal("0.005", (5, 2)), "0.1e-1 scale 2");
        assert_eq!(decimal("0.0049", (5, 2)), "0.e0 scale 2");
        assert_eq!(decimal("-0.001", (5, 2)), "0.e0 scale 2");
        assert_eq!(decimal("1250", (5, -2)), "0.13e4 scale 0");
        assert_eq!(decimal("1.25", (5, 2)), "0.125e1 scale 2");
        assert!(decimal("999.995", (5, 2)).contains("does not fit"));
        let single = |value| float4(value, Inexact::Round).ok();
        assert_eq!(single(Value::Real(1.1)), Some(Datum::Float(f64::from(1.1f32))));
        assert_eq!(single(Value::Integer(16_777_217)), Some(Datum::Float(16_777_216.0)));
        assert_eq!(single(Value::Text(b"0.123456789")), Some(Datum::Float(f64::from(0.123_456_79f32))));
        assert_eq!((single(Value::Real(1e300)), single(Value::Real(1e-50)), single(Value::Text(b"007"))), (None, None, None));
        let double = |text: &str| float8(Value::Text(text.as_bytes()), Inexact::Round).ok();
        assert_eq!(double("0.12345678901234567891234567"), Some(0.123_456_789_012_345_68));
        assert_eq!((double("1e400"), double("1e-400"), double("nan"), double("x")), (None, None, None, None));
    }
}
