//! What a mapping may ask of values beyond their type: an epoch, a UUID made of an id, a repair of broken text.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::model::Value;
use crate::plan::decimal::Decimal;

/// A change of meaning, never guessed: only a mapping file asks for it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Transform {
    #[default]
    None,
    /// An integer id becomes a UUID of version 8 that carries the tag and the id.
    Uuid8 { tag: String },
    /// A number is a time counted from somewhere.
    Epoch(Epoch),
}

/// Where a number that is a time counts from, and in what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Epoch {
    Seconds,
    Milliseconds,
    Microseconds,
    Nanoseconds,
    /// Days, with a fraction, since noon of -4713-11-24.
    Julian,
    /// Seconds since 2001-01-01 (Core Data, Safari).
    Since2001,
    /// Microseconds since 1601-01-01 (Chrome).
    Since1601,
}

impl Epoch {
    const ALL: [(Epoch, &'static str); 7] = [
        (Epoch::Seconds, "s"),
        (Epoch::Milliseconds, "ms"),
        (Epoch::Microseconds, "us"),
        (Epoch::Nanoseconds, "ns"),
        (Epoch::Julian, "julian"),
        (Epoch::Since2001, "2001"),
        (Epoch::Since1601, "1601"),
    ];

    /// Microseconds since 1970-01-01 UTC; none for a number that PostgreSQL cannot hold to the microsecond, or for no number.
    pub fn micros(self, value: Value<'_>) -> Option<i64> {
        let decimal = match value {
            Value::Integer(integer) => Decimal::from_integer(integer),
            Value::Real(real) if real.is_finite() => Decimal::from_real(real),
            _ => return None,
        };
        let micros = match self {
            Epoch::Seconds => scaled(&decimal, 6)?,
            Epoch::Milliseconds => scaled(&decimal, 3)?,
            Epoch::Microseconds => scaled(&decimal, 0)?,
            Epoch::Nanoseconds => scaled(&decimal, -3)?,
            // A double's days are good to about 40 µs; SQLite itself rounds them to the millisecond.
            Epoch::Julian => {
                let days = match value {
                    Value::Integer(integer) => integer as f64,
                    Value::Real(real) => real,
                    _ => return None,
                };
                (((days - 2_440_587.5) * 86_400_000.0).round() as i64).checked_mul(1000)?
            }
            Epoch::Since2001 => scaled(&decimal, 6)?.checked_add(978_307_200_000_000)?,
            Epoch::Since1601 => scaled(&decimal, 0)?.checked_sub(11_644_473_600_000_000)?,
        };
        // PostgreSQL's timestamps reach from 4713 BC to 294276 AD.
        (-210_866_803_200_000_000..9_223_371_331_200_000_000).contains(&micros).then_some(micros)
    }

    fn word(self) -> &'static str {
        Epoch::ALL.iter().find(|(epoch, _)| *epoch == self).map_or("", |(_, word)| word)
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Epoch::Seconds => "time in seconds since 1970",
            Epoch::Milliseconds => "time in milliseconds since 1970",
            Epoch::Microseconds => "time in microseconds since 1970",
            Epoch::Nanoseconds => "time in nanoseconds since 1970 (whole microseconds)",
            Epoch::Julian => "Julian day",
            Epoch::Since2001 => "time in seconds since 2001",
            Epoch::Since1601 => "time in microseconds since 1601",
        })
    }
}

/// The decimal × 10^power as an integer; none when a fraction would be left over.
fn scaled(decimal: &Decimal, power: i32) -> Option<i64> {
    let point = decimal.point + power;
    let length = decimal.digits().len() as i32;
    // Nothing is the same in every unit.
    if length == 0 {
        return Some(0);
    }
    if length > point.max(0) && length > 0 {
        return None;
    }
    let digits = decimal.digits().iter().try_fold(0i64, |sum, digit| sum.checked_mul(10)?.checked_add(i64::from(*digit)))?;
    let zeros = u32::try_from(point - length).ok().filter(|zeros| *zeros < 19 || digits == 0)?;
    let magnitude = if digits == 0 { 0 } else { digits.checked_mul(10i64.pow(zeros))? };
    Some(if decimal.negative { -magnitude } else { magnitude })
}

impl Transform {
    pub fn is_none(&self) -> bool {
        *self == Transform::None
    }

    /// Reads `epoch:ms` or `uuid8:users`.
    pub fn parse(text: &str) -> Option<Self> {
        match text.split_once(':') {
            Some(("epoch", unit)) => Epoch::ALL.iter().find(|(_, word)| *word == unit).map(|(epoch, _)| Transform::Epoch(*epoch)),
            Some(("uuid8", tag)) if (1..=6).contains(&tag.len()) && tag.is_ascii() => Some(Transform::Uuid8 { tag: tag.into() }),
            _ => None,
        }
    }

    /// What `parse` understands, for an error message.
    pub const FORMS: &'static str = "epoch:s|ms|us|ns|julian|2001|1601, or uuid8:TAG (at most six ASCII letters)";
}

impl From<Transform> for String {
    fn from(transform: Transform) -> Self {
        match transform {
            Transform::None => String::new(),
            Transform::Uuid8 { tag } => format!("uuid8:{tag}"),
            Transform::Epoch(epoch) => format!("epoch:{}", epoch.word()),
        }
    }
}

impl TryFrom<String> for Transform {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if text.is_empty() {
            return Ok(Transform::None);
        }
        Transform::parse(&text).ok_or_else(|| format!("`{text}` is no transform; there are {}", Transform::FORMS))
    }
}

/// What to do with text that PostgreSQL cannot hold: a NUL, or bytes that are not UTF-8.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BadText {
    /// Set the row aside.
    #[default]
    Reject,
    /// Leave the offending bytes out.
    Strip,
    /// U+2400 for a NUL, U+FFFD for what is not UTF-8.
    Replace,
    /// Read the whole text as ISO 8859-1.
    Latin1,
    /// Read the whole text as Windows code page 1252.
    Windows1252,
    /// The column is `bytea`, and every text its bytes.
    Bytea,
}

impl BadText {
    pub fn is_reject(&self) -> bool {
        // In a column that is bytea no text is bad; in any other there is nothing else to do.
        matches!(self, BadText::Reject | BadText::Bytea)
    }

    /// Appends the repaired text to `out`.
    pub fn repair(self, text: &[u8], out: &mut Vec<u8>) {
        match self {
            BadText::Reject | BadText::Bytea => {}
            BadText::Strip | BadText::Replace => {
                for chunk in text.utf8_chunks() {
                    for part in chunk.valid().split_inclusive('\0') {
                        match part.strip_suffix('\0') {
                            Some(before) => {
                                out.extend_from_slice(before.as_bytes());
                                if self == BadText::Replace {
                                    out.extend_from_slice("\u{2400}".as_bytes());
                                }
                            }
                            None => out.extend_from_slice(part.as_bytes()),
                        }
                    }
                    if self == BadText::Replace && !chunk.invalid().is_empty() {
                        out.extend_from_slice("\u{fffd}".as_bytes());
                    }
                }
            }
            BadText::Latin1 | BadText::Windows1252 => {
                for byte in text {
                    let character = match byte {
                        0 => '\u{2400}',
                        0x80..0xa0 if self == BadText::Windows1252 => WINDOWS_1252[usize::from(byte - 0x80)],
                        _ => char::from(*byte),
                    };
                    out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                }
            }
        }
    }
}

/// What to do with a number or a time of which the column's type keeps less.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Inexact {
    /// Set the row aside.
    #[default]
    Reject,
    /// Take the nearest value that the type has.
    Round,
}

impl Inexact {
    pub fn is_reject(&self) -> bool {
        *self == Inexact::Reject
    }
}

/// Bytes 0x80 to 0x9f of code page 1252; the five that it leaves undefined keep their number, as in the WHATWG encoding standard.
const WINDOWS_1252: [char; 32] = [
    '€', '\u{81}', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\u{8d}', 'Ž', '\u{8f}', '\u{90}', '‘', '’', '“', '”', '•', '–',
    '—', '˜', '™', 'š', '›', 'œ', '\u{9d}', 'ž', 'Ÿ',
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn epochs_are_exact_or_nothing() {
        let micros = |form: &str, value| match Transform::parse(form) {
            Some(Transform::Epoch(epoch)) => epoch.micros(value),
            other => panic!("{form}: {other:?}"),
        };
        for unit in ["s", "ms", "us", "ns"] {
            assert_eq!(
                (micros(&format!("epoch:{unit}"), Value::Integer(0)), micros(&format!("epoch:{unit}"), Value::Real(0.0))),
                (Some(0), Some(0))
            );
        }
        assert_eq!(micros("epoch:ms", Value::Integer(1_700_000_000_123)), Some(1_700_000_000_123_000));
        assert_eq!(micros("epoch:ns", Value::Integer(1_700_000_000_123_456_000)), Some(1_700_000_000_123_456));
        assert_eq!(micros("epoch:ns", Value::Integer(1_700_000_000_123_456_789)), None);
        assert_eq!(micros("epoch:2001", Value::Real(571_510_788.25)), Some(1_549_817_988_250_000));
        assert_eq!(micros("epoch:1601", Value::Integer(13_150_000_000_000_000)), Some(1_505_526_400_000_000));
        assert_eq!(micros("epoch:julian", Value::Real(2_440_587.5)), Some(0));
        assert_eq!(micros("epoch:s", Value::Integer(i64::MAX)), None);
        assert_eq!(micros("epoch:s", Value::Text(b"1")), None);
    }

    #[test]
    fn a_transform_is_what_it_says() {
        for text in ["epoch:ms", "epoch:julian", "uuid8:users"] {
            assert_eq!(String::from(Transform::parse(text).expect(text)), text);
        }
        for text in ["epoch", "epoch:h", "uuid8:", "uuid8:muchtoolong", "sql:x"] {
            assert_eq!(Transform::parse(text), None, "{text}");
        }
    }
}
