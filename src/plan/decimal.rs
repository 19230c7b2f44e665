//! Numbers as decimal digits, without an allocation: what `numeric` holds, and what a REAL means when it becomes one.

use std::io::Write as _;

/// A REAL that is exactly an integer of 64 bits; minus zero is none.
pub fn whole(real: f64) -> Option<i64> {
    const TWO_TO_63: f64 = (1u64 << 63) as f64;
    let within = (-TWO_TO_63..TWO_TO_63).contains(&real);
    (within && real.fract() == 0.0 && !(real == 0.0 && real.is_sign_negative())).then_some(real as i64)
}

/// sign × 0.d₁d₂d₃… × 10^point, without leading or trailing zeros; no digits is zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decimal {
    pub negative: bool,
    digits: [u8; 20],
    length: u8,
    pub point: i32,
}

impl Decimal {
    pub fn from_integer(integer: i64) -> Self {
        let mut magnitude = integer.unsigned_abs();
        let mut digits = [0; 20];
        let mut at = digits.len();
        while magnitude > 0 {
            at -= 1;
            digits[at] = (magnitude % 10) as u8;
            magnitude /= 10;
        }
        let length = digits.len() - at;
        digits.copy_within(at.., 0);
        Decimal { negative: integer < 0, digits, length: length as u8, point: length as i32 }.trimmed()
    }

    /// The shortest decimal that reads back as the same double (never its first 15 digits).
    pub fn from_real(real: f64) -> Self {
        // "-1.7976931348623157e308" is the longest.
        let mut text = [0u8; 32];
        let mut rest = &mut text[..];
        write!(rest, "{real:e}").expect("a double's shortest form has at most 24 characters");
        let length = 32 - rest.len();
        Decimal::parse(&text[..length]).expect("the standard library writes numbers")
    }

    /// Reads `[+-]digits[.digits][e[+-]digits]` with at most 20 digits that matter; none for anything else.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let (negative, text) = match text.first()? {
            b'-' => (true, &text[1..]),
            b'+' => (false, &text[1..]),
            _ => (false, text),
        };
        let mut decimal = Decimal { negative, digits: [0; 20], length: 0, point: 0 };
        let (mut seen, mut after_point, mut at) = (0usize, false, 0usize);
        while let Some(byte) = text.get(at) {
            match byte {
                b'0'..=b'9' => {
                    seen += 1;
                    let digit = byte - b'0';
                    if decimal.length == 0 && digit == 0 {
                        // A zero in front: only its place counts.
                        decimal.point -= i32::from(after_point);
                    } else {
                        if let Some(slot) = decimal.digits.get_mut(decimal.length as usize) {
                            *slot = digit;
                            decimal.length += 1;
                        } else if digit != 0 {
                            return None;
                        }
                        decimal.point += i32::from(!after_point);
                    }
                }
                b'.' if !after_point => after_point = true,
                _ => break,
            }
            at += 1;
        }
        if seen == 0 {
            return None;
        }
        if let Some(b'e' | b'E') = text.get(at) {
            let exponent: i32 = std::str::from_utf8(&text[at + 1..]).ok()?.parse().ok()?;
            decimal.point = decimal.point.checked_add(exponent)?;
            at = text.len();
        }
        (at == text.len()).then(|| decimal.trimmed())
    }

    fn trimmed(mut self) -> Self {
        while self.length > 0 && self.digits[self.length as usize - 1] == 0 {
            self.length -= 1;
        }
        if self.length == 0 {
            self.negative = false;
            self.point = 0;
        }
        self
    }

    /// The digits that matter, as numbers 0 to 9.
    pub fn digits(&self) -> &[u8] {
        &self.digits[..self.length as usize]
    }

    /// Digits before the point.
    pub fn integer_digits(&self) -> u32 {
        self.point.max(0) as u32
    }

    /// Digits after the point.
    pub fn scale(&self) -> u32 {
        (i32::from(self.length) - self.point).max(0) as u32
    }

    /// True when `numeric(precision, scale)` holds the number without rounding.
    pub fn fits(&self, precision: u16, scale: i16) -> bool {
        let needed = i32::from(self.length) - self.point;
        self.length == 0 || needed <= i32::from(scale) && self.point <= i32::from(precision) - i32::from(scale)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(decimal: Decimal) -> (bool, String, i32) {
        (decimal.negative, decimal.digits().iter().map(|digit| char::from(b'0' + digit)).collect(), decimal.point)
    }

    #[test]
    fn a_real_is_its_shortest_decimal() {
        assert_eq!(parts(Decimal::from_real(0.1)), (false, "1".into(), 0));
        assert_eq!(parts(Decimal::from_real(-1230.99)), (true, "123099".into(), 4));
        assert_eq!(parts(Decimal::from_real(5e-324)), (false, "5".into(), -323));
        assert_eq!(parts(Decimal::from_real(1e300)), (false, "1".into(), 301));
        assert_eq!(parts(Decimal::from_real(0.0)), (false, String::new(), 0));
    }

    #[test]
    fn integers_and_text_are_read() {
        assert_eq!(parts(Decimal::from_integer(i64::MIN)), (true, "9223372036854775808".into(), 19));
        assert_eq!(parts(Decimal::from_integer(1200)), (false, "12".into(), 4));
        assert_eq!(Decimal::parse(b"007.50").map(parts), Some((false, "75".into(), 1)));
        assert_eq!(Decimal::parse(b"0.0050").map(parts), Some((false, "5".into(), -2)));
        for text in ["", ".", "-", "1.2.3", "1e", "n/a", "1 ", "123456789012345678901"] {
            assert_eq!(Decimal::parse(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn limits_are_kept_exactly() {
        assert!(Decimal::from_real(123.45).fits(5, 2));
        assert!(!Decimal::from_real(1234.5).fits(5, 2));
        assert!(!Decimal::from_real(1.234).fits(5, 2));
        assert!(Decimal::from_integer(0).fits(1, 1));
        assert_eq!(Decimal::from_real(1230.99).scale(), 2);
    }
}
