//! A SQLite value as a value of a PostgreSQL type: exactly, or not at all.

use std::io::Write as _;

use serde::{Deserialize, Serialize};

use crate::model::{TypeKind, Value};
use crate::plan::decimal::whole;
use crate::plan::json::{self, JsonShape};
use crate::plan::numbers::{self, is_plain};
use crate::plan::rounding::{self, Rounding};
use crate::plan::source_tz::SourceTz;
use crate::plan::time::{MICROS_PER_DAY, Moment};
use crate::plan::transform::{BadText, Inexact, Transform};

/// How the values of one column become PostgreSQL's.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Conversion {
    pub kind: TypeKind,
    #[serde(default, skip_serializing_if = "Transform::is_none")]
    pub transform: Transform,
    #[serde(default, skip_serializing_if = "BadText::is_reject")]
    pub bad_text: BadText,
    /// Where times without an offset were written.
    #[serde(default, skip_serializing_if = "SourceTz::is_utc")]
    pub source_tz: SourceTz,
    /// The profile has seen every text of the column in this state of the source: all is UTF-8 without NUL.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub text_is_clean: bool,
    /// What the type would do to some values without a word.
    #[serde(default, deserialize_with = "rounding::read", skip_serializing_if = "Option::is_none")]
    pub rounding: Option<Rounding>,
    /// What to do with a value of which the type keeps less.
    #[serde(default, skip_serializing_if = "Inexact::is_reject")]
    pub inexact: Inexact,
}

/// A value as PostgreSQL means it, still without its bytes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Datum<'a> {
    Null,
    Bool(bool),
    /// For int2, int4 and int8: already within the type.
    Int(i64),
    Float(f64),
    /// sign × 0.d₁d₂… × 10^point, shown with `scale` digits after the point; digits are numbers 0 to 9.
    Numeric {
        negative: bool,
        digits: &'a [u8],
        point: i32,
        scale: u32,
    },
    /// text, varchar, char, json, jsonb, enum, and the input of every type without a binary form.
    Text(&'a [u8]),
    Bytes(&'a [u8]),
    /// Days since 1970-01-01.
    Days(i32),
    /// Microseconds since midnight (time), or since 1970-01-01 00:00 (timestamp, and in UTC timestamptz).
    Micros(i64),
    Uuid([u8; 16]),
}

/// Why a value has no exact form in the column's type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misfit {
    /// A clause for a person: `text 'lots' is not an integer`.
    pub reason: String,
}

pub(super) type Converted<'a> = Result<Datum<'a>, Misfit>;

/// Working memory of `convert`, reused from value to value.
#[derive(Debug, Default)]
pub struct Scratch {
    pub(super) bytes: Vec<u8>,
}

impl Conversion {
    pub fn new(kind: TypeKind) -> Self {
        Conversion {
            kind,
            transform: Transform::None,
            bad_text: BadText::Reject,
            source_tz: SourceTz::Utc,
            text_is_clean: false,
            rounding: None,
            inexact: Inexact::Reject,
        }
    }

    /// The exact PostgreSQL form of `value`, borrowed from the value or from `scratch`.
    pub fn convert<'a>(&self, value: Value<'a>, scratch: &'a mut Scratch) -> Converted<'a> {
        match (&self.kind, value) {
            (_, Value::Null) => Ok(Datum::Null),
            // The plain cases first: nearly every value is one.
            (TypeKind::Int8, Value::Integer(integer)) if self.transform.is_none() => Ok(Datum::Int(integer)),
            (TypeKind::Float8, Value::Real(real)) if self.transform.is_none() => Ok(Datum::Float(real)),
            (TypeKind::Text { max_chars: None }, Value::Text(text)) if self.text_is_clean => Ok(Datum::Text(text)),
            (TypeKind::Bytea, Value::Blob(blob)) => Ok(Datum::Bytes(blob)),
            _ => self.convert_any(value, scratch),
        }
    }

    fn convert_any<'a>(&self, value: Value<'a>, scratch: &'a mut Scratch) -> Converted<'a> {
        if let Transform::Uuid8 { tag } = &self.transform {
            return uuid8(tag, value);
        }
        if let Transform::Epoch(epoch) = &self.transform
            && !matches!(value, Value::Text(_))
        {
            if matches!(value, Value::Real(real) if real == 0.0 && real.is_sign_negative()) {
                return misfit(value, "a time has no minus zero");
            }
            let Some(micros) = epoch.micros(value) else { return misfit(value, &format!("no exact {epoch}")) };
            return self.of_utc(micros, value);
        }
        match &self.kind {
            TypeKind::Bool => bool(value),
            TypeKind::Int2 => integer(value, i64::from(i16::MIN)..=i64::from(i16::MAX), "smallint"),
            TypeKind::Int4 => integer(value, i64::from(i32::MIN)..=i64::from(i32::MAX), "integer"),
            TypeKind::Int8 => integer(value, i64::MIN..=i64::MAX, "bigint"),
            TypeKind::Float4 => numbers::float4(value, self.inexact),
            TypeKind::Float8 => numbers::float8(value, self.inexact).map(Datum::Float),
            TypeKind::Numeric { limits } => numbers::numeric(value, *limits, self.inexact, scratch),
            TypeKind::Text { max_chars } => self.text(value, *max_chars, scratch),
            TypeKind::Char { chars } => match self.text(value, Some(*chars), scratch)? {
                Datum::Text([.., b' ']) => misfit(value, "character(n) does not keep blanks at the end"),
                fits => Ok(fits),
            },
            TypeKind::Bytea => Ok(Datum::Bytes(as_bytes(value, scratch))),
            TypeKind::Date => self.date(value),
            TypeKind::Time => match moment(value) {
                Some(Moment { days: None, micros: Some(micros), .. }) => self.micros(micros, value),
                _ => misfit(value, "not a time of day"),
            },
            TypeKind::Timestamp => match moment(value) {
                Some(moment) => match moment.utc_micros().or(moment.local_micros()) {
                    Some(micros) => self.micros(micros, value),
                    None => misfit(value, "a time without a day"),
                },
                None => misfit(value, "not a timestamp"),
            },
            TypeKind::TimestampTz => match moment(value) {
                Some(moment) => match (moment.utc_micros(), moment.local_micros()) {
                    (Some(utc), _) => self.micros(utc, value),
                    (None, Some(local)) => self.micros(self.source_tz.utc_micros(local), value),
                    (None, None) => misfit(value, "a time without a day"),
                },
                None => misfit(value, "not a timestamp"),
            },
            TypeKind::Uuid => uuid(value),
            TypeKind::Json | TypeKind::Jsonb => self.json(value, scratch),
            TypeKind::Enum { labels } => match value {
                Value::Text(text) if labels.iter().any(|label| label.as_bytes() == text) => Ok(Datum::Text(text)),
                _ => misfit(value, "not a label of the enum"),
            },
            TypeKind::Other => match value {
                Value::Blob(_) => misfit(value, "a blob has no text form"),
                _ => match self
                    .rounding
                    .as_ref()
                    .and_then(|rounding| rounding.changes(as_bytes(value, scratch), &self.source_tz, self.inexact))
                {
                    Some(why) => misfit(value, &why),
                    None => self.text(value, None, scratch),
                },
            },
        }
    }

    fn of_utc<'a>(&self, micros: i64, value: Value<'a>) -> Converted<'a> {
        match self.kind {
            TypeKind::Timestamp | TypeKind::TimestampTz => self.micros(micros, value),
            TypeKind::Date if micros % MICROS_PER_DAY == 0 => Ok(Datum::Days((micros / MICROS_PER_DAY) as i32)),
            TypeKind::Date => misfit(value, "not a whole day"),
            _ => misfit(value, "an epoch needs a date or timestamp column"),
        }
    }

    /// A time in a type that may keep less of its seconds.
    fn micros<'a>(&self, micros: i64, value: Value<'a>) -> Converted<'a> {
        match self.rounding {
            Some(Rounding::Seconds(digits)) if micros % 10i64.pow(6 - u32::from(digits.min(6))) != 0 => {
                if self.inexact == Inexact::Round {
                    return Ok(Datum::Micros(self.rounded(micros, digits)));
                }
                misfit(value, &format!("more than {digits} digits after the seconds' point"))
            }
            _ => Ok(Datum::Micros(micros)),
        }
    }

    /// The nearest time with so many digits; halfway between two the one that is farther from midnight, or from 2000, as PostgreSQL has it.
    fn rounded(&self, micros: i64, digits: u8) -> i64 {
        const YEAR_2000: i64 = 10_957 * MICROS_PER_DAY;
        let from = if self.kind == TypeKind::Time { 0 } else { YEAR_2000 };
        let step = 10i64.pow(6 - u32::from(digits.min(6)));
        let distance = micros - from;
        from + distance.signum() * ((distance.abs() + step / 2) / step * step)
    }

    fn date<'a>(&self, value: Value<'a>) -> Converted<'a> {
        match moment(value) {
            Some(Moment { days: Some(days), micros: None | Some(0), offset: None }) => Ok(Datum::Days(days)),
            Some(Moment { days: Some(_), .. }) => misfit(value, "a date with a time of day"),
            _ => misfit(value, "not a date"),
        }
    }

    fn text<'a>(&self, value: Value<'a>, max_chars: Option<u32>, scratch: &'a mut Scratch) -> Converted<'a> {
        let text = match value {
            Value::Blob(_) => return misfit(value, "a blob is not text"),
            Value::Text(text) if self.text_is_clean => text,
            Value::Text(text) => match (text_flaw(text), &self.bad_text) {
                (None, _) => text,
                (Some(flaw), BadText::Reject | BadText::Bytea) => return misfit(value, flaw),
                (Some(_), repair) => {
                    scratch.bytes.clear();
                    repair.repair(text, &mut scratch.bytes);
                    &scratch.bytes
                }
            },
            _ => as_bytes(value, scratch),
        };
        if let Some(max) = max_chars {
            // One character has at least one byte, so short texts need no count.
            if text.len() > max as usize && String::from_utf8_lossy(text).chars().count() > max as usize {
                return misfit(value, &format!("longer than {max} characters"));
            }
        }
        Ok(Datum::Text(text))
    }

    fn json<'a>(&self, value: Value<'a>, scratch: &'a mut Scratch) -> Converted<'a> {
        match value {
            Value::Blob(_) => misfit(value, "a blob is not JSON"),
            Value::Real(real) if !real.is_finite() => misfit(value, "infinity is not JSON"),
            Value::Real(real) if self.kind == TypeKind::Jsonb && real == 0.0 && real.is_sign_negative() => {
                misfit(value, "jsonb has no minus zero")
            }
            Value::Text(text) => {
                if simdutf8::basic::from_utf8(text).is_err() {
                    return misfit(value, "the text is not valid UTF-8");
                }
                match (json::shape(text), &self.kind) {
                    (None, _) => misfit(value, "the text is not JSON"),
                    (Some(JsonShape::TextMatters), TypeKind::Jsonb) => {
                        misfit(value, "jsonb would change the JSON (a key twice, \\u0000, or a number out of range)")
                    }
                    _ => Ok(Datum::Text(text)),
                }
            }
            _ => Ok(Datum::Text(as_bytes(value, scratch))),
        }
    }
}

pub(super) fn misfit<'a>(value: Value<'_>, why: &str) -> Converted<'a> {
    Err(Misfit { reason: format!("{}: {why}", Shown(value)) })
}

/// A value for a person: its class and, cut short, itself.
struct Shown<'a>(Value<'a>);

impl std::fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Value::Null => f.write_str("NULL"),
            Value::Integer(integer) => write!(f, "integer {integer}"),
            Value::Real(real) => write!(f, "real {real:?}"),
            Value::Text(text) => {
                let cut = String::from_utf8_lossy(&text[..text.len().min(120)]);
                let mut chars = cut.chars();
                let head: String = chars.by_ref().take(40).flat_map(char::escape_debug).collect();
                let more = if chars.next().is_some() || text.len() > 120 { "…" } else { "" };
                write!(f, "text '{head}{more}'")
            }
            Value::Blob(blob) => write!(f, "blob of {} bytes", blob.len()),
        }
    }
}

/// What keeps a text out of PostgreSQL.
fn text_flaw(text: &[u8]) -> Option<&'static str> {
    if simdutf8::basic::from_utf8(text).is_err() {
        Some("the text is not valid UTF-8")
    } else if text.contains(&0) {
        Some("the text contains a NUL character")
    } else {
        None
    }
}

/// The bytes of a value's text form; a blob's and a text's own bytes.
fn as_bytes<'a>(value: Value<'a>, scratch: &'a mut Scratch) -> &'a [u8] {
    scratch.bytes.clear();
    match value {
        Value::Null => {}
        Value::Integer(integer) => write!(scratch.bytes, "{integer}").expect("a Vec takes every byte"),
        Value::Real(real) => write_real(real, &mut scratch.bytes),
        Value::Text(bytes) | Value::Blob(bytes) => return bytes,
    }
    &scratch.bytes
}

/// A REAL as SQLite writes it, with the fewest digits that read back as the same double: `2.0`, `0.1`, `1.0e+300`, `Inf`.
pub fn write_real(real: f64, out: &mut Vec<u8>) {
    if real.is_infinite() {
        out.extend_from_slice(if real > 0.0 { b"Inf" } else { b"-Inf" });
        return;
    }
    let result = match real.abs() {
        magnitude if magnitude == 0.0 || (1e-4..1e15).contains(&magnitude) => write!(out, "{real:?}"),
        _ => {
            let text = format!("{real:e}");
            let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
            let point = if digits.contains('.') { "" } else { ".0" };
            match exponent.strip_prefix('-') {
                Some(exponent) => write!(out, "{digits}{point}e-{exponent:0>2}"),
                None => write!(out, "{digits}{point}e+{exponent:0>2}"),
            }
        }
    };
    result.expect("a Vec takes every byte");
}

fn moment(value: Value<'_>) -> Option<Moment> {
    match value {
        Value::Text(text) => Moment::parse(text),
        _ => None,
    }
}

fn bool<'a>(value: Value<'a>) -> Converted<'a> {
    let spelled = match value {
        Value::Integer(0) => Some(false),
        Value::Integer(1) => Some(true),
        Value::Real(real) if real == 0.0 && real.is_sign_positive() => Some(false),
        Value::Real(1.0) => Some(true),
        Value::Text(text) => {
            let is = |words: &[&str]| words.iter().any(|word| text.eq_ignore_ascii_case(word.as_bytes()));
            match (is(&["t", "true", "y", "yes", "on", "1"]), is(&["f", "false", "n", "no", "off", "0"])) {
                (true, _) => Some(true),
                (_, true) => Some(false),
                _ => None,
            }
        }
        _ => None,
    };
    spelled.map_or_else(|| misfit(value, "not a boolean"), |truth| Ok(Datum::Bool(truth)))
}

fn integer<'a>(value: Value<'a>, range: std::ops::RangeInclusive<i64>, name: &str) -> Converted<'a> {
    let integer = match value {
        Value::Integer(integer) => Some(integer),
        Value::Real(real) => whole(real),
        Value::Text(text) if is_plain(text) => std::str::from_utf8(text).ok().and_then(|text| text.parse().ok()),
        _ => None,
    };
    match integer {
        Some(integer) if range.contains(&integer) => Ok(Datum::Int(integer)),
        Some(_) => misfit(value, &format!("out of range for {name}")),
        None => misfit(value, "not an integer"),
    }
}

/// The forms of a UUID that PostgreSQL reads as text, and its sixteen bytes.
fn uuid<'a>(value: Value<'a>) -> Converted<'a> {
    let parsed = match value {
        Value::Blob(blob) => <[u8; 16]>::try_from(blob).ok(),
        Value::Text(text) => parse_uuid(text),
        _ => None,
    };
    parsed.map_or_else(|| misfit(value, "not a UUID"), |bytes| Ok(Datum::Uuid(bytes)))
}

fn parse_uuid(text: &[u8]) -> Option<[u8; 16]> {
    let text = text.strip_prefix(b"{").and_then(|text| text.strip_suffix(b"}")).unwrap_or(text);
    let mut bytes = [0u8; 16];
    let mut nibbles = 0;
    for (at, byte) in text.iter().enumerate() {
        if *byte == b'-' && text.len() == 36 && matches!(at, 8 | 13 | 18 | 23) {
            continue;
        }
        let nibble = char::from(*byte).to_digit(16)? as u8;
        *bytes.get_mut(nibbles / 2)? |= if nibbles.is_multiple_of(2) { nibble << 4 } else { nibble };
        nibbles += 1;
    }
    (nibbles == 32 && (text.len() == 32 || text.len() == 36)).then_some(bytes)
}

/// The UUID (version 8) of an integer id: the tag's six bytes, then the id in the low 62 bits. Invertible, and the same in every run.
fn uuid8<'a>(tag: &str, value: Value<'a>) -> Converted<'a> {
    match value {
        Value::Integer(id) if (0..1 << 62).contains(&id) => {
            let mut bytes = [0u8; 16];
            for (slot, byte) in bytes.iter_mut().zip(tag.bytes().take(6)) {
                *slot = byte;
            }
            bytes[6] = 0x80;
            bytes[8..].copy_from_slice(&(id as u64 | 1 << 63).to_be_bytes());
            Ok(Datum::Uuid(bytes))
        }
        Value::Text(text) => parse_uuid(text).map_or_else(|| misfit(value, "neither an id nor a UUID"), |bytes| Ok(Datum::Uuid(bytes))),
        _ => misfit(value, "no id between 0 and 2^62"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(kind: TypeKind, value: Value<'_>) -> String {
        convert(Conversion::new(kind), value)
    }

    fn convert(conversion: Conversion, value: Value<'_>) -> String {
        match conversion.convert(value, &mut Scratch::default()) {
            Ok(Datum::Text(text)) => String::from_utf8_lossy(text).into_owned(),
            Ok(Datum::Numeric { negative, digits, point, scale }) => {
                let digits: String = digits.iter().map(|digit| char::from(b'0' + digit)).collect();
                format!("{}0.{digits}e{point} scale {scale}", if negative { "-" } else { "" })
            }
            Ok(datum) => format!("{datum:?}"),
            Err(misfit) => misfit.reason,
        }
    }

    #[test]
    fn integers() {
        assert_eq!(shown(TypeKind::Int8, Value::Real(2.0)), "Int(2)");
        assert_eq!(shown(TypeKind::Int4, Value::Integer(1 << 31)), "integer 2147483648: out of range for integer");
        assert_eq!(shown(TypeKind::Int8, Value::Text(b"lots")), "text 'lots': not an integer");
        assert_eq!(shown(TypeKind::Int8, Value::Real(9.3e18)), "real 9.3e18: not an integer");
        assert_eq!(shown(TypeKind::Int8, Value::Text(b"42")), "Int(42)");
    }

    #[test]
    fn numbers_with_a_point() {
        assert_eq!(shown(TypeKind::NUMERIC, Value::Real(1230.99)), "0.123099e4 scale 2");
        assert_eq!(shown(TypeKind::NUMERIC, Value::Text(b"-7.50")), "-0.75e1 scale 2");
        assert_eq!(shown(TypeKind::NUMERIC, Value::Text(b"12345678901234567890.123")), "0.12345678901234567890123e20 scale 3");
        assert_eq!(shown(TypeKind::Numeric { limits: Some((5, 2)) }, Value::Real(1.234)), "real 1.234: does not fit numeric(5,2)");
        assert_eq!(shown(TypeKind::Numeric { limits: Some((5, 2)) }, Value::Integer(1000)), "integer 1000: does not fit numeric(5,2)");
        assert_eq!(shown(TypeKind::Numeric { limits: Some((5, 2)) }, Value::Integer(999)), "0.999e3 scale 0");
        assert_eq!(
            shown(TypeKind::Float8, Value::Integer((1 << 53) + 1)),
            "integer 9007199254740993: a double cannot hold the integer exactly"
        );
        assert_eq!(shown(TypeKind::Float4, Value::Real(0.5)), "Float(0.5)");
        assert_eq!(shown(TypeKind::Float4, Value::Text(b"0.1")), format!("Float({:?})", f64::from(0.1f32)));
        let other = |value: &str| format!("{value}: real (float4) keeps fewer digits, and makes another number of it");
        assert_eq!(shown(TypeKind::Float4, Value::Real(1.1)), other("real 1.1"));
        assert_eq!(shown(TypeKind::Float4, Value::Integer(16_777_217)), other("integer 16777217"));
        assert_eq!(shown(TypeKind::Float4, Value::Text(b"0.123456789")), other("text '0.123456789'"));
    }

    #[test]
    fn text() {
        assert_eq!(shown(TypeKind::TEXT, Value::Real(1e300)), "1.0e+300");
        assert_eq!(shown(TypeKind::TEXT, Value::Real(2.0)), "2.0");
        assert_eq!(shown(TypeKind::TEXT, Value::Text(b"a\0b")), "text 'a\\0b': the text contains a NUL character");
        assert_eq!(shown(TypeKind::TEXT, Value::Text(b"f\xff")), "text 'f\u{fffd}': the text is not valid UTF-8");
        assert_eq!(shown(TypeKind::Text { max_chars: Some(3) }, Value::Text("ééé".as_bytes())), "ééé");
        assert_eq!(shown(TypeKind::Text { max_chars: Some(3) }, Value::Text(b"long")), "text 'long': longer than 3 characters");
        let mut repaired = Conversion::new(TypeKind::TEXT);
        repaired.bad_text = BadText::Strip;
        assert_eq!(convert(repaired.clone(), Value::Text(b"a\0b\xff")), "ab");
        repaired.bad_text = BadText::Replace;
        assert_eq!(convert(repaired.clone(), Value::Text(b"a\0b\xff")), "a␀b\u{fffd}");
        repaired.bad_text = BadText::Windows1252;
        assert_eq!(convert(repaired, Value::Text(b"caf\xe9 \x80")), "café €");
    }

    #[test]
    fn times() {
        assert_eq!(shown(TypeKind::TimestampTz, Value::Text(b"2024-01-02T03:04:05+05:30")), "Micros(1704144845000000)");
        assert_eq!(shown(TypeKind::Timestamp, Value::Text(b"2024-02-30")), "text '2024-02-30': not a timestamp");
        assert_eq!(shown(TypeKind::Timestamp, Value::Integer(5)), "integer 5: not a timestamp");
        assert_eq!(shown(TypeKind::Date, Value::Text(b"2024-01-02 03:00")), "text '2024-01-02 03:00': a date with a time of day");
        let mut epoch = Conversion::new(TypeKind::TimestampTz);
        epoch.transform = Transform::parse("epoch:s").expect("a transform");
        assert_eq!(convert(epoch.clone(), Value::Real(1_700_000_000.123456)), "Micros(1700000000123456)");
        assert_eq!(convert(epoch.clone(), Value::Integer(-1)), "Micros(-1000000)");
        assert_eq!(convert(epoch.clone(), Value::Real(0.0)), "Micros(0)");
        assert_eq!(convert(epoch, Value::Real(-0.0)), "real -0.0: a time has no minus zero");
        let mut berlin = Conversion::new(TypeKind::TimestampTz);
        berlin.source_tz = SourceTz::Offset(60);
        assert_eq!(convert(berlin.clone(), Value::Text(b"1970-01-01 01:00")), "Micros(0)");
        berlin.source_tz = SourceTz::parse("Europe/Berlin").expect("a zone");
        assert_eq!(convert(berlin, Value::Text(b"1970-01-01 01:00")), "Micros(0)");
    }

    #[test]
    fn ids_become_uuids_that_tell_them() {
        let mut conversion = Conversion::new(TypeKind::Uuid);
        conversion.transform = Transform::parse("uuid8:users").expect("a transform");
        let Ok(Datum::Uuid(bytes)) = conversion.convert(Value::Integer(1), &mut Scratch::default()) else { panic!("a UUID") };
        assert_eq!(bytes, [0x75, 0x73, 0x65, 0x72, 0x73, 0, 0x80, 0, 0x80, 0, 0, 0, 0, 0, 0, 1]);
        assert_eq!(convert(conversion, Value::Integer(-1)), "integer -1: no id between 0 and 2^62");
    }

    #[test]
    fn booleans_json_uuid_and_enum() {
        assert_eq!(shown(TypeKind::Bool, Value::Integer(2)), "integer 2: not a boolean");
        assert_eq!(
            (shown(TypeKind::Bool, Value::Real(0.0)), shown(TypeKind::Bool, Value::Real(-0.0))),
            ("Bool(false)".into(), "real -0.0: not a boolean".into())
        );
        assert_eq!(
            (shown(TypeKind::Jsonb, Value::Real(-0.0)), shown(TypeKind::Json, Value::Real(-0.0))),
            ("real -0.0: jsonb has no minus zero".into(), "-0.0".into())
        );
        assert_eq!(shown(TypeKind::Bool, Value::Text(b"Yes")), "Bool(true)");
        assert_eq!(shown(TypeKind::Json, Value::Text(b"{\"a\":1,\"a\":2}")), "{\"a\":1,\"a\":2}");
        assert!(shown(TypeKind::Jsonb, Value::Text(b"{\"a\":1,\"a\":2}")).contains("jsonb would change"));
        assert_eq!(shown(TypeKind::Json, Value::Integer(5)), "5");
        assert_eq!(shown(TypeKind::Uuid, Value::Blob(&[1; 16])), format!("Uuid({:?})", [1u8; 16]));
        let mood = TypeKind::Enum { labels: vec!["ok".into()] };
        assert_eq!(shown(mood.clone(), Value::Text(b"ok")), "ok");
        assert_eq!(shown(mood, Value::Text(b"sad")), "text 'sad': not a label of the enum");
    }
}
