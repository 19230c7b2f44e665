//! The type of a derived column: the declared one when every value fits it exactly, else the narrowest that does.

use crate::dialect::translate;
use crate::model::{Affinity, Column, ColumnType, TypeKind};
use crate::plan::declared::Declared;
use crate::plan::profile::{ColumnProfile, Trait};
use crate::plan::{defaults, express};

/// A type, and why it and no other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    pub column_type: ColumnType,
    /// Empty when the declared type was honoured as it stands.
    pub reason: String,
    /// Rows that show it (rowids, or ordinals in a table without).
    pub examples: Vec<i64>,
    /// What a person may want to do about it, with a mapping.
    pub hint: Option<String>,
}

/// Decides the type of a column from its declaration and everything that was seen in it.
pub fn derive(column: &Column, seen: &ColumnProfile) -> Decision {
    let declared = Declared::parse(&column.declared);
    if seen.values() == 0
        && let Some(decision) = by_default(column, declared, seen)
    {
        return decision;
    }
    if let Some(kind) = honoured(declared, column.affinity, seen) {
        if let Some(decision) = by_limits(column, &kind) {
            return decision;
        }
        let (reason, examples) = of_several_classes(column, declared, &kind, seen)
            .or_else(|| of_several_spellings(&kind, seen))
            .unwrap_or_else(|| (narrower_note(column, declared, &kind), Vec::new()));
        return Decision { reason, column_type: ColumnType::new(kind), examples, hint: None };
    }
    let kind = widened(declared, seen);
    let (reason, examples) = why(column, declared, seen);
    Decision { column_type: ColumnType::new(kind), reason, examples, hint: hint(declared, seen) }
}

/// True when the values do not fit the type that the column declares.
pub fn is_widened(column: &Column, seen: &ColumnProfile) -> bool {
    let declared = Declared::parse(&column.declared);
    !matches!(declared, Declared::Any) && seen.values() > 0 && honoured(declared, column.affinity, seen).is_none()
}

/// The declared type whatever the values are: those that do not fit it are set aside, or stop the run.
pub fn as_declared(column: &Column, seen: &ColumnProfile) -> Decision {
    let derived = derive(column, seen);
    let declared = Declared::parse(&column.declared);
    if let Some(kind) = honoured(declared, column.affinity, seen)
        && by_limits(column, &kind).is_some()
    {
        return Decision { column_type: ColumnType::new(kind), reason: String::new(), examples: Vec::new(), hint: None };
    }
    if derived.reason.is_empty() || honoured(declared, column.affinity, seen).is_some() || seen.values() == 0 {
        return derived;
    }
    let kind = match declared {
        Declared::Boolean => TypeKind::Bool,
        Declared::Integer => TypeKind::Int8,
        Declared::Double => TypeKind::Float8,
        Declared::Numeric(limits) => TypeKind::Numeric { limits },
        Declared::Text(max_chars) => TypeKind::Text { max_chars },
        Declared::Blob => TypeKind::Bytea,
        Declared::Date => TypeKind::Date,
        Declared::DateTime if !seen.has(Trait::Zoned) => TypeKind::Timestamp,
        Declared::DateTime | Declared::DateTimeTz => TypeKind::TimestampTz,
        Declared::Time => TypeKind::Time,
        Declared::Uuid => TypeKind::Uuid,
        Declared::Json => TypeKind::Json,
        Declared::Any => return derived,
    };
    Decision { column_type: ColumnType::new(kind), reason: format!("{}, which is not widened", derived.reason), ..derived }
}

/// Where no row says what the column holds, its default does: a type that cannot say the default is not the column's.
fn by_default(column: &Column, declared: Declared, seen: &ColumnProfile) -> Option<Decision> {
    let default = column.default.as_ref().filter(|_| column.generated.is_none())?;
    let kind = honoured(declared, column.affinity, seen)?;
    let fits = |kind: &TypeKind| translate::default_value(default, &express::translated_type(kind, "")).is_ok();
    let wider = if kind == TypeKind::Date { TypeKind::Timestamp } else { TypeKind::TEXT };
    let kind = if fits(&kind) { None } else { [wider, TypeKind::TEXT].into_iter().find(fits) }?;
    Some(Decision {
        column_type: ColumnType::new(kind),
        reason: format!("declared {}, but its default, {default}, does not fit that, and no row holds a value", column.declared),
        examples: Vec::new(),
        hint: None,
    })
}

/// A default is a value too, of rows to come: a type that has no room for it loses its limits.
fn by_limits(column: &Column, kind: &TypeKind) -> Option<Decision> {
    let default = column.default.as_ref().filter(|default| column.generated.is_none() && !defaults::has_room(kind, default))?;
    let kind = if kind.is_text() { TypeKind::TEXT } else { TypeKind::NUMERIC };
    let reason = format!("declared {}, which has no room for its default, {default}", column.declared);
    Some(Decision { column_type: ColumnType::new(kind), reason, examples: Vec::new(), hint: None })
}

/// The type that the declaration asks for, if every value fits it exactly.
fn honoured(declared: Declared, affinity: Affinity, seen: &ColumnProfile) -> Option<TypeKind> {
    let only = |allowed: &[Trait]| {
        let classes = [Trait::Integer, Trait::Real, Trait::Text, Trait::Blob];
        classes.iter().all(|class| allowed.contains(class) || !seen.has(*class))
    };
    let all_text =
        |shape: &[Trait]| only(&[Trait::Text]) && shape.iter().map(|shape| seen.count(*shape)).sum::<u64>() == seen.count(Trait::Text);
    match declared {
        Declared::Boolean if only(&[Trait::Integer]) && !seen.has(Trait::IntegerNotBit) => Some(TypeKind::Bool),
        Declared::Boolean if only(&[Trait::Text]) && seen.bool_pair().is_some() => Some(TypeKind::Bool),
        Declared::Integer if only(&[Trait::Integer]) => Some(TypeKind::Int8),
        Declared::Double if only(&[Trait::Real, Trait::Integer]) && !seen.has(Trait::IntegerBeyondDouble) => Some(TypeKind::Float8),
        Declared::Numeric(limits)
            if only(&[Trait::Real, Trait::Integer]) && !seen.has(Trait::RealInfinite) && !seen.has(Trait::RealMinusZero) =>
        {
            let fits = limits.is_none_or(|(precision, scale)| {
                seen.decimal_scale <= scale.max(0) as u32 && seen.decimal_integer_digits as i32 <= i32::from(precision) - i32::from(scale)
            });
            fits.then_some(TypeKind::Numeric { limits })
        }
        Declared::Text(length) if only(&[Trait::Text]) => {
            let fits = length.is_none_or(|length| seen.text_max_chars <= u64::from(length));
            fits.then_some(TypeKind::Text { max_chars: length })
        }
        Declared::Blob if only(&[Trait::Blob, Trait::Text]) => Some(TypeKind::Bytea),
        Declared::Date if all_text(&[Trait::Date]) => Some(TypeKind::Date),
        Declared::DateTime | Declared::DateTimeTz if all_text(&[Trait::Date, Trait::Naive, Trait::Zoned]) => {
            let zoned = seen.has(Trait::Zoned) || declared == Declared::DateTimeTz;
            Some(if zoned { TypeKind::TimestampTz } else { TypeKind::Timestamp })
        }
        // As text they keep their spelling, which is all that tells 10:00 from 10:00:00.
        Declared::Time if all_text(&[Trait::Time]) && !seen.has(Trait::TimeRespelled) => Some(TypeKind::Time),
        Declared::Uuid if all_text(&[Trait::Uuid]) => Some(TypeKind::Uuid),
        Declared::Json if only(&[Trait::Text, Trait::Integer, Trait::Real]) && !seen.has(Trait::RealInfinite) => {
            match (seen.count(Trait::Text) == seen.count(Trait::Json), seen.count(Trait::Text) == seen.count(Trait::Jsonb)) {
                // SQLite turned numbers into INTEGER and REAL; as JSON they are the same numbers.
                (true, true) => Some(TypeKind::Jsonb),
                (true, false) => Some(TypeKind::Json),
                _ => None,
            }
        }
        Declared::Any if seen.values() == 0 => Some(match affinity {
            Affinity::Numeric => TypeKind::NUMERIC,
            _ => TypeKind::TEXT,
        }),
        Declared::Any => Some(by_class(seen)),
        _ => None,
    }
}

/// The narrowest type for values that the declared type does not hold.
fn widened(declared: Declared, seen: &ColumnProfile) -> TypeKind {
    let only_text = !seen.has(Trait::Integer) && !seen.has(Trait::Real) && !seen.has(Trait::Blob);
    match declared {
        // A day and a time of day fit a timestamp; anything else stays text.
        Declared::Date if only_text && seen.count(Trait::Date) + seen.count(Trait::Naive) == seen.count(Trait::Text) => TypeKind::Timestamp,
        Declared::Date if only_text && !seen.has(Trait::Time) && !seen.has(Trait::NotMoment) && !seen.has_bad_text() => {
            TypeKind::TimestampTz
        }
        Declared::Boolean
            if seen.count(Trait::Integer) == seen.values()
                && seen.integer_min >= i64::from(i16::MIN)
                && seen.integer_max <= i64::from(i16::MAX) =>
        {
            TypeKind::Int2
        }
        // Without its limits numeric still holds every decimal.
        Declared::Numeric(_)
            if !seen.has(Trait::Text) && !seen.has(Trait::Blob) && !seen.has(Trait::RealInfinite) && !seen.has(Trait::RealMinusZero) =>
        {
            TypeKind::NUMERIC
        }
        _ => by_class(seen),
    }
}

/// The narrowest type by storage class alone.
fn by_class(seen: &ColumnProfile) -> TypeKind {
    let (integers, reals) = (seen.has(Trait::Integer), seen.has(Trait::Real));
    if seen.has(Trait::Blob) {
        TypeKind::Bytea
    } else if seen.has(Trait::Text) {
        TypeKind::TEXT
    } else if integers && !reals {
        TypeKind::Int8
    } else if reals && !seen.has(Trait::IntegerBeyondDouble) {
        TypeKind::Float8
    } else if reals && !seen.has(Trait::RealInfinite) && !seen.has(Trait::RealMinusZero) {
        TypeKind::NUMERIC
    } else {
        TypeKind::TEXT
    }
}

/// What SQLite tells apart by storage class, one type of PostgreSQL does not: how many of each, and rows of all but the commonest.
fn of_several_classes(column: &Column, declared: Declared, kind: &TypeKind, seen: &ColumnProfile) -> Option<(String, Vec<i64>)> {
    let classes = [INTEGER, REAL, TEXT, BLOB];
    let held: Vec<_> = classes.into_iter().filter(|(class, _)| seen.has(*class)).collect();
    let into_one = matches!(kind, TypeKind::Text { .. } | TypeKind::Bytea | TypeKind::Json | TypeKind::Jsonb);
    if held.len() < 2 || !(into_one || declared == Declared::Any) {
        return None;
    }
    let commonest = held.iter().map(|(class, _)| *class).max_by_key(|class| seen.count(*class))?;
    let others = held.iter().filter(|(class, _)| *class != commonest);
    let mut examples: Vec<i64> = others.flat_map(|(class, _)| seen.tally(*class).examples()).copied().collect();
    examples.sort_unstable();
    examples.truncate(3);
    let counts: Vec<String> = held.iter().map(|(class, word)| format!("{} {word}", seen.count(*class))).collect();
    let declared = if column.declared.is_empty() { "has no declared type".to_string() } else { format!("declared {}", column.declared) };
    Some((format!("{declared}, and holds {}", counts.join(", ")), examples))
}

/// Texts that SQLite tells apart, and that may be one time: a day alone and its midnight, one without an offset among those with one.
fn of_several_spellings(kind: &TypeKind, seen: &ColumnProfile) -> Option<(String, Vec<i64>)> {
    let (days, naive, zoned) = (seen.tally(Trait::Date), seen.tally(Trait::Naive), seen.count(Trait::Zoned));
    let (reason, tally) = match kind {
        TypeKind::TimestampTz if naive.count > 0 => {
            (format!("{} of its times have no offset, and are read as times of --source-tz", naive.count), naive)
        }
        TypeKind::Timestamp | TypeKind::TimestampTz if days.count > 0 && naive.count + zoned > 0 => {
            (format!("{} of its values are days without a time, and the same as their midnights here", days.count), days)
        }
        _ => return None,
    };
    Some((reason, tally.examples().to_vec()))
}

/// What a person should know of a declared type that was honoured in another form.
fn narrower_note(column: &Column, declared: Declared, kind: &TypeKind) -> String {
    match (declared, kind) {
        (Declared::Text(Some(_)), _) if is_fixed_char(&column.declared) => "character(n) would pad the values with blanks".into(),
        _ => String::new(),
    }
}

fn is_fixed_char(declared: &str) -> bool {
    let upper = declared.to_ascii_uppercase();
    upper.starts_with("CHAR") || upper.starts_with("NCHAR") || upper.starts_with("NATIVE CHAR")
}

const BLOB: (Trait, &str) = (Trait::Blob, "blob");
const INTEGER: (Trait, &str) = (Trait::Integer, "integer");
const REAL: (Trait, &str) = (Trait::Real, "real");
const TEXT: (Trait, &str) = (Trait::Text, "text");
/// What a date is not; all but the last two are no timestamp either.
const NO_DATE: [(Trait, &str); 8] = [
    BLOB,
    INTEGER,
    REAL,
    (Trait::TextEmpty, "empty text"),
    (Trait::NotMoment, "text that is no date"),
    (Trait::Time, "time without a day"),
    (Trait::Naive, "date with a time"),
    (Trait::Zoned, "date with a time and an offset"),
];

/// Why the declared type does not hold every value: counts, and rows to look at.
fn why(column: &Column, declared: Declared, seen: &ColumnProfile) -> (String, Vec<i64>) {
    let unexpected: &[(Trait, &str)] = match declared {
        Declared::Boolean => &[BLOB, REAL, (Trait::IntegerNotBit, "integer other than 0 and 1"), TEXT],
        Declared::Integer => &[BLOB, TEXT, REAL],
        Declared::Double => &[BLOB, TEXT, (Trait::IntegerBeyondDouble, "integer beyond 2^53")],
        Declared::Numeric(_) => &[BLOB, TEXT, (Trait::RealInfinite, "infinity"), (Trait::RealMinusZero, "minus zero")],
        Declared::Text(_) => &[BLOB, INTEGER, REAL],
        Declared::Blob => &[INTEGER, REAL],
        Declared::Date => &NO_DATE,
        Declared::DateTime | Declared::DateTimeTz => &NO_DATE[..6],
        Declared::Time => &[
            BLOB,
            INTEGER,
            REAL,
            (Trait::NotMoment, "text that is no time"),
            (Trait::TimeRespelled, "time that PostgreSQL would print another way"),
            (Trait::Date, "date"),
            (Trait::Naive, "date with a time"),
            (Trait::Zoned, "date with a time"),
        ],
        Declared::Uuid => &[BLOB, INTEGER, TEXT],
        Declared::Json => &[BLOB, (Trait::RealInfinite, "infinity"), TEXT],
        Declared::Any => &[],
    };
    let mut parts = Vec::new();
    let mut examples = Vec::new();
    for (what, word) in unexpected {
        let tally = seen.tally(*what);
        if tally.count > 0 {
            parts.push(format!("{} {word}", tally.count));
            examples.extend(tally.examples());
        }
    }
    let reason = match declared {
        Declared::Numeric(Some((precision, scale))) if parts.is_empty() => {
            format!(
                "values need {} digits before and {} after the point, more than ({precision},{scale}) allows",
                seen.decimal_integer_digits, seen.decimal_scale
            )
        }
        Declared::Text(Some(length)) if parts.is_empty() => {
            format!("the longest value has {} characters, more than {length}", seen.text_max_chars)
        }
        Declared::Uuid if !parts.is_empty() => format!("not every value is a UUID as PostgreSQL writes it ({})", parts.join(", ")),
        Declared::Json if seen.has(Trait::RealInfinite) => "infinity is no JSON".into(),
        Declared::Json if !parts.is_empty() => {
            format!("not every value is JSON ({} texts, {} of them JSON)", seen.count(Trait::Text), seen.count(Trait::Json))
        }
        _ => format!("declared {}, but holds {}", column.declared, parts.join(", ")),
    };
    examples.sort_unstable();
    examples.dedup();
    examples.truncate(3);
    (reason, examples)
}

/// Numbers in a date column stay numbers; the likely epoch is named, never assumed.
fn hint(declared: Declared, seen: &ColumnProfile) -> Option<String> {
    let temporal = matches!(declared, Declared::Date | Declared::DateTime | Declared::DateTimeTz | Declared::Time);
    if !temporal || !(seen.has(Trait::Integer) || seen.has(Trait::Real)) {
        return None;
    }
    let low = (seen.integer_min as f64).min(seen.real_min);
    let high = if seen.has(Trait::Integer) { (seen.integer_max as f64).max(seen.real_max) } else { seen.real_max };
    let low = if seen.has(Trait::Integer) { low } else { seen.real_min };
    let form = likely_epoch(low, high)?;
    Some(format!("the numbers look like {}; if they are, map the column with type = \"timestamptz\", transform = \"{}\"", form.1, form.0))
}

/// The epoch under which both ends fall between 1990 and 2100, where only one does.
fn likely_epoch(low: f64, high: f64) -> Option<(&'static str, &'static str)> {
    let candidates = [
        ("epoch:s", "seconds since 1970", 6.3e8, 4.1e9),
        ("epoch:ms", "milliseconds since 1970", 6.3e11, 4.1e12),
        ("epoch:us", "microseconds since 1970", 6.3e14, 4.1e15),
        ("epoch:ns", "nanoseconds since 1970", 6.3e17, 4.1e18),
        ("epoch:julian", "Julian days", 2_447_892.0, 2_488_070.0),
        ("epoch:2001", "seconds since 2001", 1e8, 6.2e8),
        ("epoch:1601", "microseconds since 1601", 1.22e16, 1.57e16),
    ];
    // Zero and minus one are the usual spellings of "never": the top of the range says more.
    let inside = |value: f64, from: f64, to: f64| value >= from && value < to;
    candidates
        .iter()
        .find(|(_, _, from, to)| inside(high, *from, *to) && (inside(low, *from, *to) || low <= 0.0))
        .map(|(form, words, _, _)| (*form, *words))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Collation, Value};

    fn decide(declared: &str, values: &[Value<'_>]) -> Decision {
        let mut seen = ColumnProfile::default();
        for (row, value) in values.iter().enumerate() {
            seen.observe(*value, row as i64 + 1, Declared::parse(declared));
        }
        let column = Column {
            name: "c".into(),
            declared: declared.into(),
            affinity: Affinity::of(declared),
            not_null: false,
            default: None,
            generated: None,
            collation: Collation::Binary,
        };
        derive(&column, &seen)
    }

    fn sql(declared: &str, values: &[Value<'_>]) -> String {
        decide(declared, values).column_type.sql.into_owned()
    }

    const ZERO: Value<'static> = Value::Integer(0);
    const ONE: Value<'static> = Value::Integer(1);

    fn text(text: &str) -> Value<'_> {
        Value::Text(text.as_bytes())
    }

    #[test]
    fn a_declared_type_is_honoured_when_every_value_fits() {
        assert_eq!(sql("INT", &[Value::Integer(i64::MIN)]), "bigint");
        assert_eq!(sql("BOOLEAN", &[ZERO, ONE, Value::Null]), "boolean");
        assert_eq!(sql("BOOLEAN", &[text("true"), text("false")]), "boolean");
        assert_eq!(sql("DECIMAL(10,2)", &[Value::Real(1230.99), ONE]), "numeric(10,2)");
        assert_eq!(sql("VARCHAR(3)", &[text("abc")]), "character varying(3)");
        assert_eq!(sql("DATETIME", &[text("2024-01-02 03:04:05"), text("2024-01-02")]), "timestamp without time zone");
        assert_eq!(sql("DATETIME", &[text("2024-01-02 03:04:05"), text("2024-01-02T03:04:05Z")]), "timestamp with time zone");
        assert_eq!(sql("DATE", &[text("2024-01-02")]), "date");
        assert_eq!(sql("JSON", &[text("{\"a\":1}")]), "jsonb");
        assert_eq!(sql("JSON", &[text("{\"a\":1,\"a\":2}")]), "json");
        assert_eq!(sql("UUID", &[text("00112233-4455-6677-8899-aabbccddeeff")]), "uuid");
        assert_eq!(sql("BLOB", &[text("hello"), Value::Blob(b"x")]), "bytea");
        assert_eq!(sql("REAL", &[Value::Real(0.1)]), "double precision");
    }

    #[test]
    fn several_storage_classes_in_one_type_are_said() {
        let seen = decide("", &[ONE, text("1"), Value::Blob(b"1"), text("x")]);
        assert_eq!((seen.column_type.sql.as_ref(), seen.examples.as_slice()), ("bytea", [1, 3].as_slice()));
        assert_eq!(seen.reason, "has no declared type, and holds 1 integer, 2 text, 1 blob");
        assert_eq!(decide("BLOB", &[text("hello"), Value::Blob(b"x")]).reason, "declared BLOB, and holds 1 text, 1 blob");
        assert_eq!(decide("DECIMAL(10,2)", &[ONE, Value::Real(0.5)]).reason, "");
        assert_eq!(decide("", &[ONE, Value::Null]).reason, "");
        assert!(
            decide("DATETIME", &[text("2024-01-02"), text("2024-01-02 00:00:00")])
                .reason
                .contains("1 of its values are days without a time")
        );
    }

    #[test]
    fn what_does_not_fit_widens_the_column() {
        assert_eq!(sql("INTEGER", &[Value::Integer(10), text("lots")]), "text");
        assert_eq!(sql("TEXT", &[text("ok"), Value::Blob(b"\xff")]), "bytea");
        assert_eq!(sql("INTEGER", &[ONE, Value::Real(1.5)]), "double precision");
        assert_eq!(sql("INTEGER", &[Value::Integer((1 << 53) + 1), Value::Real(1.5)]), "numeric");
        assert_eq!(sql("DECIMAL(5,2)", &[Value::Real(123456.789)]), "numeric");
        assert_eq!(sql("NUMERIC", &[text("abc"), ONE]), "text");
        assert_eq!(sql("BOOLEAN", &[ZERO, Value::Integer(2)]), "smallint");
        assert_eq!(sql("BOOLEAN", &[ZERO, text("f")]), "text");
        assert_eq!(sql("VARCHAR(3)", &[text("toolong")]), "text");
        assert_eq!(sql("DATETIME", &[text("")]), "text");
        assert_eq!(sql("DATE", &[text("2024-01-02"), text("2024-1-2")]), "text");
        assert_eq!(sql("DATE", &[text("2024-01-02"), text("2024-01-02 03:04")]), "timestamp without time zone");
        assert_eq!(sql("DATETIME", &[Value::Integer(1_700_000_000)]), "bigint");
        assert_eq!(sql("DATETIME", &[Value::Real(2_460_311.628)]), "double precision");
        assert_eq!(sql("JSON", &[text("not json")]), "text");
        assert_eq!(sql("GUID", &[Value::Blob(&[0; 16])]), "bytea");
    }

    #[test]
    fn without_a_declared_type_the_data_decides() {
        assert_eq!(sql("", &[ONE]), "bigint");
        assert_eq!(sql("", &[ONE, text("t")]), "text");
        assert_eq!(sql("", &[]), "text");
        assert_eq!(sql("STRING", &[Value::Integer(42), text("s")]), "text");
        assert_eq!(sql("interger", &[Value::Blob(b"\0"), text("z")]), "bytea");
    }

    #[test]
    fn a_widened_column_says_why() {
        let decision = decide("INTEGER", &[Value::Integer(10), text("lots"), Value::Integer(5)]);
        assert_eq!(decision.reason, "declared INTEGER, but holds 1 text");
        assert_eq!(decision.examples, [2]);
        let epoch = decide("DATETIME", &[Value::Integer(1_700_000_000_123)]);
        assert!(epoch.hint.is_some_and(|hint| hint.contains("epoch:ms")));
        assert_eq!(decide("DATETIME", &[Value::Integer(2024)]).hint, None);
    }
}
