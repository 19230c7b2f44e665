//! Literals: numbers, strings, blobs and times as both engines read them.

use super::typed::{Class, Constant, Typed};
use super::{Outcome, no};

/// A decimal or hexadecimal integer; one beyond 64 bits is a REAL.
pub fn integer(text: &str, negative: bool) -> Outcome<Constant> {
    let digits = text.replace('_', "");
    if let Some(hex) = digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        let Ok(bits) = u64::from_str_radix(hex, 16) else { return no(format!("{text} has more than 64 bits")) };
        let value = bits as i64;
        return Ok(Constant::Integer(if negative { value.wrapping_neg() } else { value }));
    }
    let signed = if negative { format!("-{digits}") } else { digits };
    Ok(match signed.parse::<i64>() {
        Ok(value) => Constant::Integer(value),
        Err(_) => Constant::Real(signed.parse().unwrap_or(f64::INFINITY)),
    })
}

pub fn float(text: &str, negative: bool) -> Constant {
    let value: f64 = text.replace('_', "").parse().unwrap_or(0.0);
    Constant::Real(if negative { -value } else { value })
}

pub fn constant(constant: Constant) -> Typed {
    let (sql, class) = match &constant {
        Constant::Integer(i64::MIN) => ("(-9223372036854775808)".to_string(), Class::Integer),
        Constant::Integer(value) => (value.to_string(), Class::Integer),
        Constant::Real(value) if value.is_infinite() => {
            (format!("'{}Infinity'::double precision", if *value < 0.0 { "-" } else { "" }), Class::Real)
        }
        Constant::Real(value) if *value < 0.0 => (format!("({value:?}::double precision)"), Class::Real),
        Constant::Real(value) => (format!("{value:?}::double precision"), Class::Real),
        Constant::Text(text) => (string(text), Class::Text),
        Constant::Blob => (String::new(), Class::Blob),
    };
    let non_negative = matches!(constant, Constant::Integer(0..));
    let small = matches!(constant, Constant::Integer(-1_000_000..=1_000_000));
    Typed { constant: Some(constant), not_null: true, non_negative, small, ..Typed::atom(sql, class) }
}

/// `'…'`; backslashes are plain characters under standard_conforming_strings.
pub fn string(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

pub fn blob(bytes: &[u8]) -> String {
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("'\\x{digits}'::bytea")
}

/// What numeric affinity makes of a text: a number when the whole of it looks like one.
pub fn looks_numeric(text: &str) -> Option<Constant> {
    let bare = text.trim_matches([' ', '\t', '\n', '\x0b', '\x0c', '\r']);
    let unsigned = bare.strip_prefix(['-', '+']).unwrap_or(bare);
    let plain = unsigned.chars().all(|c| c.is_ascii_digit() || matches!(c, '.' | 'e' | 'E' | '+' | '-'));
    if !plain || !unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return None;
    }
    if let Ok(value) = bare.parse::<i64>() {
        return Some(Constant::Integer(value));
    }
    let value: f64 = bare.parse().ok()?;
    let is_whole = value.fract() == 0.0 && value.abs() < 9e15;
    Some(if is_whole { Constant::Integer(value as i64) } else { Constant::Real(value) })
}

/// What arithmetic makes of such a text: an integer only where it is spelled as one, so that '1e2' divides as a REAL.
pub fn operand(text: &str) -> Option<Constant> {
    match looks_numeric(text)? {
        Constant::Integer(value) if text.contains(['.', 'e', 'E']) => Some(Constant::Real(value as f64)),
        constant => Some(constant),
    }
}

/// A moment in another spelling that both engines read: `2024-01-31T23:59:59.5Z`, a day alone. What is not in UTC stays a text.
pub fn moment(text: &str, class: Class) -> Option<String> {
    let day = text.get(..10).filter(|day| time(day, Class::Date).is_some())?;
    let rest = text.get(10..)?;
    let rest = ["Z", "+00:00", "+00"].iter().find_map(|zone| rest.strip_suffix(zone)).unwrap_or(rest);
    let clock = match rest {
        "" => "00:00:00".to_string(),
        rest => rest.strip_prefix(['T', ' '])?.to_string(),
    };
    let (whole, fraction) = clock.split_once('.').unwrap_or((&clock, "0"));
    let whole = if whole.len() == 5 { format!("{whole}:00") } else { whole.to_string() };
    let is_fraction = (1..=6).contains(&fraction.len()) && fraction.bytes().all(|byte| byte.is_ascii_digit());
    if !is_fraction || time(&whole, Class::Time).is_none() {
        return None;
    }
    match class {
        Class::Timestamp => Some(format!("TIMESTAMP '{day} {whole}.{fraction}'")),
        Class::TimestampTz => Some(format!("TIMESTAMPTZ '{day} {whole}.{fraction}+00'")),
        _ => None,
    }
}

/// A text in SQLite's own spelling of a time, as a literal of PostgreSQL.
pub fn time(text: &str, class: Class) -> Option<String> {
    let digits = |from: usize, to: usize| text.get(from..to).filter(|part| part.bytes().all(|b| b.is_ascii_digit()))?.parse::<u32>().ok();
    let has = |at: usize, byte: u8| text.as_bytes().get(at) == Some(&byte);
    let is_date = || {
        let (year, month, day) = (digits(0, 4)?, digits(5, 7)?, digits(8, 10)?);
        let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        let days = [31, if leap { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
        let last = *days.get((month as usize).checked_sub(1)?)?;
        (year > 0 && (1..=last).contains(&day) && has(4, b'-') && has(7, b'-')).then_some(())
    };
    let is_time = |at: usize| {
        let (hour, minute, second) = (digits(at, at + 2)?, digits(at + 3, at + 5)?, digits(at + 6, at + 8)?);
        (hour < 24 && minute < 60 && second < 60 && has(at + 2, b':') && has(at + 5, b':')).then_some(())
    };
    match class {
        Class::Date => (text.len() == 10 && is_date().is_some()).then(|| format!("DATE '{text}'")),
        Class::Time => (text.len() == 8 && is_time(0).is_some()).then(|| format!("TIME '{text}'")),
        Class::Timestamp => {
            (text.len() == 19 && is_date().is_some() && has(10, b' ') && is_time(11).is_some()).then(|| format!("TIMESTAMP '{text}'"))
        }
        _ => None,
    }
}
