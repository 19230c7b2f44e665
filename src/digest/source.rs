//! SQLite's side: rows as SQLite gives them, read for what they mean in the target's types.

use std::io::Write as _;

use xxhash_rust::xxh3::Xxh3;

use crate::digest::kept::{is_kept, is_kept_micros};
use crate::digest::moment::{self, MICROS_PER_DAY, Moment};
use crate::digest::rounded::write_rounded;
use crate::digest::spelled::says_the_same;
use crate::digest::{LARGE, Layout, NULL, RowBytes, RowDigest, VALUE, decimal, json, text, without_blanks, write_bytes};
use crate::model::{TypeKind, Value};
use crate::plan::convert::Conversion;
use crate::plan::rounding::Rounding;
use crate::plan::transform::{Epoch, Inexact, Transform};
use crate::plan::{CopyColumn, CopyMap};

/// A value that has no exact form in its column's type: its row cannot be in PostgreSQL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Misfit {
    /// The column's place in the map.
    pub column: usize,
    /// The digest of the row's key; where the misfit is in it, or there is no key, one over the values as SQLite holds them, which no other row's is.
    pub key: u128,
}

/// What stands for a value of a computed column that the column cannot hold; no value of PostgreSQL's begins so.
const ODD: u8 = 2;

/// What sets the digests of keys that do not fit apart from all others.
const MISFIT: u64 = 0x6d69_7366_6974;

/// How PostgreSQL would write a text of a type that only it can read. False: it would not take the text.
pub trait Normalise {
    fn normalise(&mut self, column: &CopyColumn, text: &[u8], out: &mut Vec<u8>) -> bool;
}

/// Takes such texts as they are: enough when they were written in PostgreSQL's own way.
pub struct AsIs;

impl Normalise for AsIs {
    fn normalise(&mut self, _: &CopyColumn, text: &[u8], out: &mut Vec<u8>) -> bool {
        out.extend_from_slice(text);
        true
    }
}

/// Digests the rows of one table. Per row it allocates nothing (but for jsonb).
pub struct SourceDigester {
    columns: Vec<SourceColumn>,
    key: usize,
    row: RowBytes,
    scratch: Vec<u8>,
    /// The places in the map of the last row's values that were rounded.
    rounded: Vec<usize>,
    /// What a computed column cannot hold makes its row another one, and no misfit.
    takes_computed: bool,
}

struct SourceColumn {
    /// The column's places in the scan and in the map.
    place: usize,
    index: usize,
    /// As if nothing were rounded, and as it may be.
    column: CopyColumn,
    loose: Option<CopyColumn>,
}

impl SourceDigester {
    /// `scanned` are the names of the columns that the scan reads, in its order; the name of a column that it does not read is the error.
    pub fn new(map: &CopyMap, layout: &Layout, scanned: &[&str]) -> Result<Self, String> {
        let column = |index: &usize| {
            let mut column = map.columns[*index].clone();
            let place = scanned.iter().position(|name| name.eq_ignore_ascii_case(&column.source)).ok_or_else(|| column.source.clone())?;
            let loose = (!column.conversion.inexact.is_reject()).then(|| column.clone());
            column.conversion.inexact = Inexact::Reject;
            Ok(SourceColumn { place, index: *index, column, loose })
        };
        let columns = layout.columns.iter().map(column).collect::<Result<_, String>>()?;
        Ok(SourceDigester {
            columns,
            key: layout.key,
            row: RowBytes::default(),
            scratch: Vec::new(),
            rounded: Vec::new(),
            takes_computed: false,
        })
    }

    /// For rows that are to be written: the values that PostgreSQL computes itself are in nobody's way.
    pub fn taking_computed(self) -> Self {
        SourceDigester { takes_computed: true, ..self }
    }

    /// The digest of the row whose scanned columns `value_at` gives.
    pub fn row<'v>(&mut self, value_at: impl Fn(usize) -> Value<'v>, normalise: &mut impl Normalise) -> Result<RowDigest, Misfit> {
        self.row.clear();
        self.rounded.clear();
        for SourceColumn { place, index, column, loose } in &self.columns {
            let value = value_at(*place);
            match large(&column.conversion, value) {
                Some(bytes) => {
                    self.row.bytes.push(VALUE);
                    self.row.write_large(bytes);
                }
                None => {
                    let start = self.row.bytes.len();
                    let mut written = write_value(column, value, &mut self.row.bytes, &mut self.scratch, normalise);
                    if let Some(loose) = loose.as_ref().filter(|_| written.is_none()) {
                        self.row.bytes.truncate(start);
                        written = write_rounded(loose, value, &mut self.row.bytes, &mut self.scratch, normalise);
                        self.rounded.extend(written.map(|()| *index));
                    }
                    if written.is_none() && column.computed && self.takes_computed {
                        self.row.bytes.truncate(start);
                        self.row.bytes.push(ODD);
                    } else if written.is_none() {
                        return Err(Misfit { column: *index, key: self.key_of_misfit(&value_at) });
                    }
                }
            }
            self.row.end_column();
        }
        Ok(self.row.digest(self.key))
    }

    fn key_of_misfit<'v>(&self, value_at: impl Fn(usize) -> Value<'v>) -> u128 {
        if self.key > 0 && self.row.ends.len() >= self.key {
            return self.row.beginning(self.key);
        }
        let mut digest = Xxh3::with_seed(MISFIT);
        let columns = if self.key > 0 { &self.columns[..self.key] } else { &self.columns[..] };
        for column in columns {
            let (class, bytes) = match value_at(column.place) {
                Value::Null => (0, &[][..]),
                Value::Integer(integer) => (1, &integer.to_le_bytes()[..]),
                Value::Real(real) => (2, &real.to_bits().to_le_bytes()[..]),
                Value::Text(text) => (3, text),
                Value::Blob(blob) => (4, blob),
            };
            digest.update(&[class]);
            digest.update(&(bytes.len() as u64).to_le_bytes());
            digest.update(bytes);
        }
        digest.digest128()
    }

    /// The places in the map of the last row's values of which their types keep less, as the mapping lets them.
    pub fn rounded(&self) -> &[usize] {
        &self.rounded
    }

    /// A digest of each column of the last row, in the layout's order; of a row that does not fit, of those before the misfit.
    pub fn columns(&self) -> Vec<u128> {
        self.row.columns()
    }
}

/// The bytes of a large value whose canonical form is its own bytes.
fn large<'v>(conversion: &Conversion, value: Value<'v>) -> Option<&'v [u8]> {
    let (Value::Text(bytes) | Value::Blob(bytes)) = value else { return None };
    if bytes.len() < LARGE || !conversion.transform.is_none() {
        return None;
    }
    match (&conversion.kind, value) {
        (TypeKind::Bytea, _) => Some(bytes),
        (TypeKind::Text { max_chars: None }, Value::Text(text)) => text::is_clean(text).then_some(text),
        _ => None,
    }
}

/// Appends the canonical form; none for a misfit.
pub(super) fn write_value(
    column: &CopyColumn,
    value: Value<'_>,
    out: &mut Vec<u8>,
    scratch: &mut Vec<u8>,
    normalise: &mut impl Normalise,
) -> Option<()> {
    let conversion = &column.conversion;
    if value.is_null() {
        out.push(NULL);
        return Some(());
    }
    out.push(VALUE);
    let keeps = |micros: i64| match conversion.rounding {
        Some(Rounding::Seconds(most)) => is_kept_micros(micros, most).then_some(micros),
        _ => Some(micros),
    };
    match &conversion.transform {
        Transform::Uuid8 { tag } => return uuid8(tag, value).map(|bytes| out.extend_from_slice(&bytes)),
        Transform::Epoch(epoch) if !matches!(value, Value::Text(_)) => {
            let micros = epoch_micros(*epoch, value, scratch)?;
            let counted = match conversion.kind {
                TypeKind::Timestamp | TypeKind::TimestampTz => keeps(micros)?,
                TypeKind::Date if micros % MICROS_PER_DAY == 0 => micros / MICROS_PER_DAY,
                _ => return None,
            };
            out.extend_from_slice(&counted.to_le_bytes());
            return Some(());
        }
        _ => {}
    }
    let mut integer = |number: i64| out.extend_from_slice(&number.to_le_bytes());
    match &conversion.kind {
        TypeKind::Bool => out.push(u8::from(truth(value)?)),
        TypeKind::Int2 => integer(i64::from(i16::try_from(whole(value)?).ok()?)),
        TypeKind::Int4 => integer(i64::from(i32::try_from(whole(value)?).ok()?)),
        TypeKind::Int8 => integer(whole(value)?),
        TypeKind::Float8 => out.extend_from_slice(&double(value, scratch)?.to_bits().to_le_bytes()),
        TypeKind::Float4 => out.extend_from_slice(&single(value, double(value, scratch)?)?.to_bits().to_le_bytes()),
        TypeKind::Numeric { limits } => return numeric(value, *limits, out, scratch),
        TypeKind::Text { max_chars } => write_bytes(checked_text(conversion, value, *max_chars, scratch)?, out),
        TypeKind::Char { chars } => {
            // Its own blanks at the end and PostgreSQL's are one.
            let text = checked_text(conversion, value, Some(*chars), scratch)?;
            write_bytes((without_blanks(text).len() == text.len()).then_some(text)?, out);
        }
        TypeKind::Bytea => write_bytes(written(value, scratch), out),
        TypeKind::Date => match moment(value)? {
            Moment { days: Some(days), micros: None | Some(0), offset: None } => integer(days),
            _ => return None,
        },
        TypeKind::Time => match moment(value)? {
            Moment { days: None, micros: Some(micros), .. } => integer(keeps(micros)?),
            _ => return None,
        },
        TypeKind::Timestamp => {
            let moment = moment(value)?;
            integer(keeps(moment.utc().or(moment.local())?)?);
        }
        TypeKind::TimestampTz => {
            let moment = moment(value)?;
            let meant = || Some(moment::meant(moment.local()?, &conversion.source_tz));
            integer(keeps(moment.utc().or_else(meant)?)?);
        }
        TypeKind::Uuid => out.extend_from_slice(&uuid(value)?),
        TypeKind::Json => write_bytes(json_text(value, scratch)?, out),
        TypeKind::Jsonb => {
            let text = std::str::from_utf8(json_text(value, scratch)?).ok()?;
            return json::write_meaning(text, out)?.then_some(());
        }
        TypeKind::Enum { labels } => match value {
            Value::Text(label) if labels.iter().any(|known| known.as_bytes() == label) => write_bytes(label, out),
            _ => return None,
        },
        TypeKind::Other => {
            let start = out.len();
            out.extend_from_slice(&[0; 8]);
            let text = checked_text(conversion, value, None, scratch)?;
            if conversion
                .rounding
                .as_ref()
                .is_some_and(|rounding| !is_kept(rounding, text, (&conversion.source_tz, conversion.inexact), &mut part_fits))
            {
                return None;
            }
            if !normalise.normalise(column, text, out) {
                return None;
            }
            if let Some(order) = conversion.asked()
                && !says_the_same(text, &out[start + 8..], order)
            {
                return None;
            }
            let length = (out.len() - start - 8) as u64;
            out[start..start + 8].copy_from_slice(&length.to_le_bytes());
        }
    }
    Some(())
}

/// Whether a part of a value, an element of an array or a bound of a range, is what it was in its own type.
fn part_fits(conversion: &Conversion, part: &[u8]) -> bool {
    let (column, mut out, mut scratch) = (CopyColumn::of_part(conversion), Vec::new(), Vec::new());
    let is_exact = write_value(&column, Value::Text(part), &mut out, &mut scratch, &mut AsIs).is_some();
    is_exact || !conversion.inexact.is_reject() && write_rounded(&column, Value::Text(part), &mut out, &mut scratch, &mut AsIs).is_some()
}

/// The value as SQLite writes it; text and blobs are their own bytes.
fn written<'a>(value: Value<'a>, scratch: &'a mut Vec<u8>) -> &'a [u8] {
    scratch.clear();
    match value {
        Value::Text(bytes) | Value::Blob(bytes) => return bytes,
        Value::Integer(integer) => write!(scratch, "{integer}").expect("a Vec takes every byte"),
        Value::Real(real) => text::write_real(real, scratch),
        Value::Null => {}
    }
    scratch
}

fn checked_text<'a>(conversion: &Conversion, value: Value<'a>, max_chars: Option<u32>, scratch: &'a mut Vec<u8>) -> Option<&'a [u8]> {
    let text = match value {
        Value::Blob(_) => return None,
        Value::Text(broken) if !text::is_clean(broken) => {
            scratch.clear();
            text::repair(broken, conversion.bad_text, scratch)?;
            scratch
        }
        _ => written(value, scratch),
    };
    let fits = |max: u32| text.len() <= max as usize || std::str::from_utf8(text).is_ok_and(|text| text.chars().count() <= max as usize);
    max_chars.is_none_or(fits).then_some(text)
}

fn json_text<'a>(value: Value<'a>, scratch: &'a mut Vec<u8>) -> Option<&'a [u8]> {
    match value {
        Value::Text(text) => json::is_valid(text).then_some(text),
        Value::Blob(_) => None,
        Value::Real(real) if !real.is_finite() => None,
        _ => Some(written(value, scratch)),
    }
}

fn truth(value: Value<'_>) -> Option<bool> {
    match value {
        Value::Integer(integer) => [false, true].into_iter().find(|truth| i64::from(*truth) == integer),
        Value::Real(real) => [false, true].into_iter().find(|truth| f64::from(u8::from(*truth)).to_bits() == real.to_bits()),
        Value::Text(text) => {
            let mut lower = [0u8; 5];
            let lower = lower.get_mut(..text.len())?;
            lower.copy_from_slice(text);
            lower.make_ascii_lowercase();
            match &*lower {
                b"true" | b"t" | b"yes" | b"y" | b"on" | b"1" => Some(true),
                b"false" | b"f" | b"no" | b"n" | b"off" | b"0" => Some(false),
                _ => None,
            }
        }
        _ => None,
    }
}

fn whole(value: Value<'_>) -> Option<i64> {
    match value {
        Value::Integer(integer) => Some(integer),
        // Beyond 2^53 too a double is one certain integer; minus zero is none.
        Value::Real(real) if real.trunc() == real && (-TWO_TO_63..TWO_TO_63).contains(&real) && real.to_bits() != 1 << 63 => {
            Some(real as i64)
        }
        Value::Text(text) => {
            let integer: i64 = std::str::from_utf8(text).ok()?.parse().ok()?;
            // Only what the integer is written as.
            let mut written = [0u8; 20];
            let mut rest = &mut written[..];
            write!(rest, "{integer}").expect("twenty bytes hold every integer");
            let length = 20 - rest.len();
            (written[..length] == *text).then_some(integer)
        }
        _ => None,
    }
}

const TWO_TO_63: f64 = 9_223_372_036_854_775_808.0;

fn double(value: Value<'_>, scratch: &mut Vec<u8>) -> Option<f64> {
    match value {
        Value::Real(real) => Some(real),
        Value::Integer(integer) => {
            // Exact when what is left of its trailing zeros has at most 53 bits.
            let magnitude = integer.unsigned_abs();
            let odd = magnitude.checked_shr(magnitude.trailing_zeros()).unwrap_or(0);
            (odd < 1 << 53).then_some(integer as f64)
        }
        Value::Text(text) => {
            let real: f64 = std::str::from_utf8(text).ok()?.parse().ok()?;
            if !real.is_finite() || !is_written_plainly(text) {
                return None;
            }
            // What the double is written as has to be the same number.
            let mut written = [0u8; 40];
            let mut rest = &mut written[..];
            write!(rest, "{real:e}").expect("forty bytes hold the shortest form of any double");
            let length = 40 - rest.len();
            scratch.clear();
            decimal::write_number(text, scratch)?;
            let middle = scratch.len();
            decimal::write_number(&written[..length], scratch)?;
            (scratch[..middle] == scratch[middle..]).then_some(real)
        }
        _ => None,
    }
}

/// A sign of plus, zeros in front and the sign of a zero are gone once a text is a number.
pub(super) fn is_written_plainly(text: &[u8]) -> bool {
    match text {
        [b'+', ..] | [b'-', b'+', ..] => false,
        [b'0', next, ..] | [b'-', b'0', next, ..] if next.is_ascii_digit() => false,
        [b'-', rest @ ..] => rest.iter().take_while(|byte| !matches!(byte, b'e' | b'E')).any(|byte| (b'1'..=b'9').contains(byte)),
        _ => true,
    }
}

/// The single that is the number; of a text, the one that is written so.
fn single(value: Value<'_>, real: f64) -> Option<f32> {
    let single = real as f32;
    let same = match value {
        Value::Text(_) => single.is_finite() && same_digits(single, real),
        _ => f64::from(single).to_bits() == real.to_bits(),
    };
    same.then_some(single)
}

fn same_digits(single: f32, double: f64) -> bool {
    let (mut one, mut other) = ([0u8; 40], [0u8; 40]);
    let length = |buffer: &mut [u8; 40], text: std::fmt::Arguments<'_>| {
        let mut rest = &mut buffer[..];
        rest.write_fmt(text).expect("forty bytes hold the shortest form of any double");
        40 - rest.len()
    };
    let (a, b) = (length(&mut one, format_args!("{single:e}")), length(&mut other, format_args!("{double:e}")));
    one[..a] == other[..b]
}

pub(super) fn numeric(value: Value<'_>, limits: Option<(u16, i16)>, out: &mut Vec<u8>, scratch: &mut Vec<u8>) -> Option<()> {
    let number = match value {
        Value::Integer(_) => decimal::write_number(written(value, scratch), out)?,
        Value::Real(real) if real.is_finite() && real.to_bits() != 1 << 63 => {
            scratch.clear();
            write!(scratch, "{real:e}").expect("a Vec takes every byte");
            decimal::write_number(scratch, out)?
        }
        Value::Text(text) if is_written_plainly(text) => {
            let exponent = text.iter().position(|byte| matches!(byte, b'e' | b'E')).map_or(&b"0"[..], |at| &text[at + 1..]);
            let within = std::str::from_utf8(exponent).ok()?.parse::<i32>().ok()?.abs() < 10_000 && text.len() <= 110_000;
            let number = decimal::write_number(text, out).filter(|_| within)?;
            // PostgreSQL's numeric ends there.
            (number.scale <= 16_383 && number.point <= 131_072).then_some(number)?
        }
        _ => return None,
    };
    let Some((precision, scale)) = limits else { return Some(()) };
    let places = number.digits as i64 - i64::from(number.point);
    let fits = places <= i64::from(scale) && number.point <= i32::from(precision) - i32::from(scale);
    (fits || number.digits == 0).then_some(())
}

fn moment(value: Value<'_>) -> Option<Moment> {
    match value {
        Value::Text(text) => moment::read(text),
        _ => None,
    }
}

/// The number as microseconds since 1970, where that is exact and PostgreSQL has such a time.
fn epoch_micros(epoch: Epoch, value: Value<'_>, scratch: &mut Vec<u8>) -> Option<i64> {
    let (power, from) = match epoch {
        Epoch::Seconds => (6, 0),
        Epoch::Milliseconds => (3, 0),
        Epoch::Microseconds => (0, 0),
        Epoch::Nanoseconds => (-3, 0),
        Epoch::Since2001 => (6, 978_307_200_000_000),
        Epoch::Since1601 => (0, -11_644_473_600_000_000),
        Epoch::Julian => (0, 0),
    };
    if matches!(value, Value::Real(real) if real == 0.0 && real.is_sign_negative()) {
        return None;
    }
    let micros = match (epoch, value) {
        // Days from noon to noon; as SQLite does, to the millisecond.
        (Epoch::Julian, Value::Integer(days)) => julian(days as f64),
        (Epoch::Julian, Value::Real(days)) if days.is_finite() => julian(days),
        (_, Value::Integer(_)) => scaled(written(value, scratch), power)?,
        (_, Value::Real(real)) if real.is_finite() => {
            let text = format!("{real:e}");
            scaled(text.as_bytes(), power)?
        }
        _ => return None,
    };
    let micros = i64::try_from(micros.checked_add(from)?).ok()?;
    (-210_866_803_200_000_000..9_223_371_331_200_000_000).contains(&micros).then_some(micros)
}

fn julian(days: f64) -> i128 {
    let milliseconds = (days - 2_440_587.5) * 86_400_000.0;
    (milliseconds.round() as i128).saturating_mul(1000)
}

/// The decimal number × 10^power, when that is an integer.
fn scaled(text: &[u8], power: i32) -> Option<i128> {
    let mut bytes = Vec::new();
    let number = decimal::write_number(text, &mut bytes)?;
    let digits = &bytes[bytes.len() - number.digits..];
    let magnitude = digits.iter().fold(0i128, |sum, digit| sum * 10 + i128::from(*digit));
    let zeros = u32::try_from(number.point + power - number.digits as i32).ok();
    let magnitude = match zeros {
        _ if magnitude == 0 => 0,
        Some(zeros) if zeros < 19 => magnitude.checked_mul(10i128.pow(zeros))?,
        _ => return None,
    };
    Some(if number.negative { -magnitude } else { magnitude })
}

/// Sixteen bytes, or the text forms of a UUID: 32 digits, or with hyphens 36, with or without braces.
fn uuid(value: Value<'_>) -> Option<[u8; 16]> {
    let text = match value {
        Value::Blob(bytes) => return bytes.try_into().ok(),
        Value::Text(text) => text,
        _ => return None,
    };
    let inner = if text.first() == Some(&b'{') { text.strip_prefix(b"{")?.strip_suffix(b"}")? } else { text };
    let mut digits = [0u8; 32];
    match inner.len() {
        32 => digits.copy_from_slice(inner),
        36 if [8, 13, 18, 23].into_iter().all(|at| inner[at] == b'-') => {
            for (to, from) in [(0..8, 0..8), (8..12, 9..13), (12..16, 14..18), (16..20, 19..23), (20..32, 24..36)] {
                digits[to].copy_from_slice(&inner[from]);
            }
        }
        _ => return None,
    }
    if !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    let number = u128::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?;
    Some(number.to_be_bytes())
}

/// Six bytes of tag, version 8, variant 2, and an id of 62 bits.
fn uuid8(tag: &str, value: Value<'_>) -> Option<[u8; 16]> {
    let Value::Integer(id) = value else { return if let Value::Text(_) = value { uuid(value) } else { None } };
    let id = u64::try_from(id).ok().filter(|id| id >> 62 == 0)?;
    let mut padded = [0u8; 8];
    for (slot, byte) in padded.iter_mut().take(6).zip(tag.as_bytes()) {
        *slot = *byte;
    }
    padded[6] = 0x80;
    let number = u128::from(u64::from_be_bytes(padded)) << 64 | 1 << 63 | u128::from(id);
    Some(number.to_be_bytes())
}
