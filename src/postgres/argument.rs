//! A parameter that a program has as text or as a number, whatever type the statement wants: of load tests and of the command line.

use std::error::Error;
use std::fmt::Write as _;

use bytes::{BufMut as _, BytesMut};
use tokio_postgres::types::{Format, IsNull, ToSql, Type, to_sql_checked};

use crate::model::Uuid;

/// Sent as text where PostgreSQL is to find out the type (as psql and pgbench do); else as that type's binary value, when it is one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Argument<'a> {
    Null,
    Bool(bool),
    Int(i64),
    Double(f64),
    Text(&'a str),
}

/// Microseconds from 1970 to 2000, from which PostgreSQL counts.
const EPOCH: i64 = 946_684_800_000_000;

impl Argument<'_> {
    fn as_text(&self, out: &mut BytesMut) -> std::fmt::Result {
        match self {
            Argument::Null => Ok(()),
            Argument::Bool(truth) => out.write_str(if *truth { "true" } else { "false" }),
            Argument::Int(int) => write!(out, "{int}"),
            Argument::Double(double) => write!(out, "{double}"),
            Argument::Text(text) => {
                out.put_slice(text.as_bytes());
                Ok(())
            }
        }
    }

    fn as_int(&self) -> Option<i64> {
        match self {
            Argument::Int(int) => Some(*int),
            Argument::Text(text) => text.trim().parse().ok(),
            _ => None,
        }
    }

    fn as_double(&self) -> Option<f64> {
        match self {
            #[allow(clippy::cast_precision_loss, reason = "as PostgreSQL casts")]
            Argument::Int(int) => Some(*int as f64),
            Argument::Double(double) => Some(*double),
            Argument::Text(text) => text.trim().parse().ok(),
            _ => None,
        }
    }

    fn as_bool(&self) -> Option<bool> {
        match self {
            Argument::Bool(truth) => Some(*truth),
            Argument::Int(0) | Argument::Text("false" | "f" | "0") => Some(false),
            Argument::Int(1) | Argument::Text("true" | "t" | "1") => Some(true),
            _ => None,
        }
    }

    /// The type's binary value; None when this is none of the type's.
    fn as_binary(&self, param_type: &Type, out: &mut BytesMut) -> Option<()> {
        match *param_type {
            Type::BOOL => out.put_u8(u8::from(self.as_bool()?)),
            Type::INT2 => out.put_i16(i16::try_from(self.as_int()?).ok()?),
            Type::INT4 => out.put_i32(i32::try_from(self.as_int()?).ok()?),
            Type::INT8 => out.put_i64(self.as_int()?),
            #[allow(clippy::cast_possible_truncation, reason = "as PostgreSQL casts")]
            Type::FLOAT4 => out.put_f32(self.as_double()? as f32),
            Type::FLOAT8 => out.put_f64(self.as_double()?),
            Type::TEXT | Type::JSON => self.as_text(out).ok()?,
            Type::JSONB => {
                out.put_u8(1);
                self.as_text(out).ok()?;
            }
            Type::UUID => match self {
                Argument::Text(text) => out.put_slice(&text.parse::<Uuid>().ok()?.0),
                _ => return None,
            },
            Type::TIMESTAMPTZ => match self {
                Argument::Text(text) => out.put_i64(text.parse::<jiff::Timestamp>().ok()?.as_microsecond() - EPOCH),
                _ => return None,
            },
            Type::BYTEA => match self {
                Argument::Text(text) => match text.strip_prefix("\\x") {
                    Some(digits) if digits.len() % 2 == 0 && digits.bytes().all(|digit| digit.is_ascii_hexdigit()) => {
                        for at in (0..digits.len()).step_by(2) {
                            out.put_u8(u8::from_str_radix(&digits[at..at + 2], 16).ok()?);
                        }
                    }
                    Some(_) => return None,
                    None => out.put_slice(text.as_bytes()),
                },
                _ => return None,
            },
            _ => return None,
        }
        Some(())
    }
}

fn is_unspecified(param_type: &Type) -> bool {
    param_type.oid() == 0
}

impl ToSql for Argument<'_> {
    fn to_sql(&self, param_type: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        if *self == Argument::Null {
            return Ok(IsNull::Yes);
        }
        if is_unspecified(param_type) {
            self.as_text(out)?;
            return Ok(IsNull::No);
        }
        match self.as_binary(param_type, out) {
            Some(()) => Ok(IsNull::No),
            // Not what it is: it may be a secret.
            None => Err(format!("it cannot be read as {param_type}").into()),
        }
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    fn encode_format(&self, param_type: &Type) -> Format {
        if is_unspecified(param_type) { Format::Text } else { Format::Binary }
    }

    to_sql_checked!();
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;

    fn bytes(value: &(dyn ToSql + Sync), param_type: &Type) -> Option<Vec<u8>> {
        let mut out = BytesMut::new();
        value.to_sql_checked(param_type, &mut out).ok().map(|_| out.to_vec())
    }

    /// Against the driver's own encoding of the same value.
    #[test]
    fn a_text_becomes_the_binary_value_of_its_type() {
        let same = |text: &str, param_type: Type, value: &(dyn ToSql + Sync)| {
            assert_eq!(bytes(&Argument::Text(text), &param_type), bytes(value, &param_type), "{text} as {param_type}");
        };
        same("-7", Type::INT8, &-7_i64);
        same("7", Type::INT4, &7_i32);
        same("7", Type::INT2, &7_i16);
        same("1.5", Type::FLOAT8, &1.5_f64);
        same("1.5", Type::FLOAT4, &1.5_f32);
        same("true", Type::BOOL, &true);
        same("a text", Type::TEXT, &"a text");
        same("\\x00ff", Type::BYTEA, &&[0_u8, 255][..]);
        let moment = SystemTime::UNIX_EPOCH + Duration::from_micros(1_772_366_400_000_001);
        same("2026-03-01T12:00:00.000001Z", Type::TIMESTAMPTZ, &moment);
        same("75736572-7300-8000-8000-000000000001", Type::UUID, &"75736572-7300-8000-8000-000000000001".parse::<Uuid>().unwrap());
        assert_eq!(bytes(&Argument::Int(7), &Type::INT8), bytes(&7_i64, &Type::INT8));
        assert_eq!(bytes(&Argument::Text("{}"), &Type::JSONB), Some(vec![1, b'{', b'}']));
    }

    #[test]
    fn what_is_no_value_of_the_type_is_refused_and_not_shown() {
        for (text, param_type) in
            [("x", Type::INT8), ("70000", Type::INT2), ("maybe", Type::BOOL), ("hunter2", Type::UUID), ("\\xé", Type::BYTEA)]
        {
            let mut out = BytesMut::new();
            let error = Argument::Text(text).to_sql_checked(&param_type, &mut out).err().unwrap().to_string();
            assert!(!error.contains("hunter2"), "{error}");
        }
        assert_eq!(bytes(&Argument::Text("{1}"), &Type::INT8_ARRAY), None);
    }
}
