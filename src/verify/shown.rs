//! Values of both sides as a person reads them.

use serde_json::{Number, Value as Json};

use crate::digest;
use crate::model::{TypeKind, Value};

/// What is kept of a long value before it is cut to where it differs.
const KEPT: usize = 1 << 20;
/// What is shown of it.
const SHOWN: usize = 200;

pub fn source(value: Value<'_>) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Integer(integer) => integer.into(),
        Value::Real(real) => number(real),
        Value::Text(text) => text_of(text),
        Value::Blob(blob) => hex(blob),
    }
}

pub fn target(kind: &TypeKind, field: Option<&[u8]>) -> Json {
    let Some(field) = field else { return Json::Null };
    let read = || -> Option<Json> {
        Some(match kind {
            TypeKind::Bool => (*field.first()? != 0).into(),
            TypeKind::Int2 => i16::from_be_bytes(field.try_into().ok()?).into(),
            TypeKind::Int4 => i32::from_be_bytes(field.try_into().ok()?).into(),
            TypeKind::Int8 => i64::from_be_bytes(field.try_into().ok()?).into(),
            // Through its own shortest decimal: 0.1, not 0.10000000149011612.
            TypeKind::Float4 => number(f32::from_be_bytes(field.try_into().ok()?).to_string().parse().ok()?),
            TypeKind::Float8 => number(f64::from_be_bytes(field.try_into().ok()?)),
            TypeKind::Numeric { .. } => {
                let text = digest::numeric_text(field)?;
                serde_json::from_str::<Number>(&text).map_or(Json::String(text), Json::Number)
            }
            TypeKind::Bytea => hex(field),
            TypeKind::Date => match i32::from_be_bytes(field.try_into().ok()?) {
                i32::MAX => "infinity".into(),
                i32::MIN => "-infinity".into(),
                days => digest::write_date(i64::from(days) + 10_957).into(),
            },
            TypeKind::Time => digest::write_timestamp(i64::from_be_bytes(field.try_into().ok()?)).split_off(11).into(),
            TypeKind::Timestamp | TypeKind::TimestampTz => match i64::from_be_bytes(field.try_into().ok()?) {
                i64::MAX => "infinity".into(),
                i64::MIN => "-infinity".into(),
                micros => {
                    let zone = if *kind == TypeKind::TimestampTz { "+00" } else { "" };
                    format!("{}{zone}", digest::write_timestamp(micros.saturating_add(946_684_800_000_000))).into()
                }
            },
            TypeKind::Uuid => {
                let digits = hex_digits(field);
                let parts = [digits.get(..8)?, digits.get(8..12)?, digits.get(12..16)?, digits.get(16..20)?, digits.get(20..)?];
                parts.join("-").into()
            }
            TypeKind::Jsonb => text_of(field.get(1..)?),
            TypeKind::Text { .. } | TypeKind::Char { .. } | TypeKind::Json | TypeKind::Enum { .. } | TypeKind::Other => text_of(field),
        })
    };
    read().unwrap_or_else(|| hex(field))
}

fn number(real: f64) -> Json {
    match Number::from_f64(real) {
        Some(number) => Json::Number(number),
        None => Json::String(real.to_string()),
    }
}

fn text_of(bytes: &[u8]) -> Json {
    Json::String(String::from_utf8_lossy(&bytes[..bytes.len().min(KEPT)]).into_owned())
}

fn hex(bytes: &[u8]) -> Json {
    Json::String(format!("\\x{}", hex_digits(&bytes[..bytes.len().min(KEPT / 2)])))
}

fn hex_digits(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Cuts two long texts to the part where they begin to differ.
pub fn cut(source: &mut Json, target: &mut Json) {
    let common = match (source.as_str(), target.as_str()) {
        (Some(a), Some(b)) => a.chars().zip(b.chars()).take_while(|(a, b)| a == b).count(),
        _ => 0,
    };
    for value in [source, target] {
        if let Json::String(text) = value {
            *text = window(text, common, SHOWN);
        }
    }
}

/// Cuts one long value at its end.
pub fn cut_one(value: &mut Json) {
    if let Json::String(text) = value {
        *text = window(text, 0, SHOWN);
    }
}

fn window(text: &str, difference: usize, width: usize) -> String {
    let length = text.chars().count();
    if length <= width {
        return text.to_string();
    }
    let start = if difference < width / 2 { 0 } else { difference - width / 4 };
    let before = if start > 0 { "…" } else { "" };
    let after = if start + width < length { "…" } else { "" };
    let part: String = text.chars().skip(start).take(width).collect();
    format!("{before}{part}{after}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_values_are_cut_to_where_they_differ() {
        let (mut a, mut b) = (Json::String("x".repeat(1000) + "a"), Json::String("x".repeat(1000) + "b"));
        cut(&mut a, &mut b);
        assert!(a.as_str().unwrap().starts_with('…') && a.as_str().unwrap().ends_with("xa"), "{a}");
        assert!(b.as_str().unwrap().ends_with("xb"), "{b}");
        let (mut a, mut b) = (Json::String("short".into()), Json::Null);
        cut(&mut a, &mut b);
        assert_eq!(a, Json::String("short".into()));
    }

    #[test]
    fn times_and_numbers_of_postgresql_are_spelled_out() {
        assert_eq!(target(&TypeKind::Time, Some(&3_661_500_000i64.to_be_bytes())), "01:01:01.5");
        assert_eq!(target(&TypeKind::TimestampTz, Some(&0i64.to_be_bytes())), "2000-01-01 00:00:00+00");
        assert_eq!(target(&TypeKind::Date, Some(&(-1i32).to_be_bytes())), "1999-12-31");
        assert_eq!(target(&TypeKind::Float4, Some(&0.1f32.to_be_bytes())).to_string(), "0.1");
        assert_eq!(target(&TypeKind::Float8, Some(&(-0.0f64).to_be_bytes())).to_string(), "-0.0");
        assert_eq!(target(&TypeKind::Int4, None), Json::Null);
    }
}
