//! What a declared type of SQLite asks for. SQLite itself reads only the affinity out of it; people mean more.

use crate::model::Affinity;

/// The meaning of a declared type, before the data has been asked whether it fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Declared {
    Boolean,
    Integer,
    Double,
    /// DECIMAL, NUMERIC, MONEY, with precision and scale when given.
    Numeric(Option<(u16, i16)>),
    /// Text, with its length when given.
    Text(Option<u32>),
    Blob,
    Date,
    DateTime,
    /// A time stamp that says itself that it has a zone.
    DateTimeTz,
    Time,
    Uuid,
    Json,
    /// No type, or one whose name says nothing: the data alone decides.
    Any,
}

impl Declared {
    /// Reads a declared type without regard to case, blanks or SQLite's affinity.
    pub fn parse(declared: &str) -> Self {
        let upper = declared.trim().to_ascii_uppercase();
        let (name, arguments) = split_arguments(&upper);
        let name = name.split_ascii_whitespace().collect::<Vec<_>>().join(" ");
        let length = arguments.first().and_then(|n| u32::try_from(*n).ok()).filter(|n| (1..=10_485_760).contains(n));
        match name.as_str() {
            "" | "ANY" => Declared::Any,
            "BOOLEAN" | "BOOL" | "LOGICAL" => Declared::Boolean,
            "BIT" if arguments.first().is_none_or(|n| *n == 1) => Declared::Boolean,
            "DATE" => Declared::Date,
            "DATETIME" | "DATETIME2" | "SMALLDATETIME" | "TIMESTAMP" | "TIMESTAMP WITHOUT TIME ZONE" | "DATE_TIME" | "DATETEXT" => {
                Declared::DateTime
            }
            "TIMESTAMPTZ" | "TIMESTAMP WITH TIME ZONE" | "DATETIMEOFFSET" | "TIMESTAMP_TZ" | "DATETIMETZ" => Declared::DateTimeTz,
            "TIME" | "TIME WITHOUT TIME ZONE" => Declared::Time,
            "UUID" | "GUID" | "UNIQUEIDENTIFIER" | "UNIQUEID" => Declared::Uuid,
            "JSON" | "JSONB" => Declared::Json,
            "NUMERIC" | "DECIMAL" | "DEC" | "NUMBER" | "MONEY" | "SMALLMONEY" | "FIXED" => Declared::Numeric(limits(&arguments)),
            _ => match Affinity::of(declared) {
                Affinity::Integer => Declared::Integer,
                Affinity::Text => Declared::Text(length.filter(|_| name.contains("CHAR"))),
                Affinity::Blob => Declared::Blob,
                Affinity::Real => Declared::Double,
                Affinity::Numeric if name.starts_with("BINARY") || name.starts_with("VARBINARY") || name == "IMAGE" => Declared::Blob,
                Affinity::Numeric if name.starts_with("NUMERIC") || name.starts_with("DECIMAL") => Declared::Numeric(limits(&arguments)),
                Affinity::Numeric => Declared::Any,
            },
        }
    }
}

/// `NAME(10, 2)` into the name and its numbers.
fn split_arguments(upper: &str) -> (&str, Vec<i64>) {
    let Some(open) = upper.find('(') else { return (upper, Vec::new()) };
    let inside = upper[open + 1..].split(')').next().unwrap_or("");
    let numbers = inside.split(',').filter_map(|number| number.trim().parse().ok()).collect();
    // `TIMESTAMP(6) WITH TIME ZONE` keeps its tail in its meaning only where no length matters.
    let tail = upper[open..].find(')').map_or("", |close| upper[open + close + 1..].trim());
    if tail == "WITH TIME ZONE" {
        return ("TIMESTAMPTZ", numbers);
    }
    (upper[..open].trim_end(), numbers)
}

/// PostgreSQL takes a precision of 1 to 1000 and, before version 15, a scale of 0 to the precision.
fn limits(arguments: &[i64]) -> Option<(u16, i16)> {
    let precision = u16::try_from(*arguments.first()?).ok().filter(|p| (1..=1000).contains(p))?;
    let scale = i16::try_from(arguments.get(1).copied().unwrap_or(0)).ok()?;
    (0..=precision as i16).contains(&scale).then_some((precision, scale))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_declared_type_is_read_for_what_people_mean() {
        for (text, meaning) in [
            ("INTEGER", Declared::Integer),
            ("unsigned big int", Declared::Integer),
            ("DECIMAL(10,2)", Declared::Numeric(Some((10, 2)))),
            ("numeric( 5 )", Declared::Numeric(Some((5, 0)))),
            ("NUMERIC", Declared::Numeric(None)),
            ("DECIMAL(2,5)", Declared::Numeric(None)),
            ("NVARCHAR(160)", Declared::Text(Some(160))),
            ("NATIVE CHARACTER(70)", Declared::Text(Some(70))),
            ("TEXT(20)", Declared::Text(None)),
            ("Timestamp With Time Zone", Declared::DateTimeTz),
            ("timestamp(6) with time zone", Declared::DateTimeTz),
            ("DATETIME", Declared::DateTime),
            ("GUID", Declared::Uuid),
            ("", Declared::Any),
            ("STRING", Declared::Any),
            ("DOUBLE PRECISION", Declared::Double),
            ("bool", Declared::Boolean),
            ("TINYINT(1)", Declared::Integer),
            ("VARBINARY(16)", Declared::Blob),
        ] {
            assert_eq!(Declared::parse(text), meaning, "{text}");
        }
    }
}
