//! What a type of PostgreSQL's own would round, cut, leave out or read as something else, without a word: such a value does not fit it.

use serde::{Deserialize, Deserializer, Serialize};

use crate::model::{TypeKind, Value};
use crate::plan::convert::{Conversion, Scratch};
use crate::plan::decimal::Decimal;
use crate::plan::interval::{self, Unit, digits_of_seconds, is_of_fields, more_digits, needed};
use crate::plan::literal;
use crate::plan::mapping::type_from_sql;
use crate::plan::source_tz::SourceTz;
use crate::plan::time::Moment;
use crate::plan::transform::Inexact;

/// How a type changes values that it takes in.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rounding {
    /// `timestamp(3)`, `time(0)`: seconds keep so many digits after the point.
    Seconds(u8),
    /// `interval(1)`: the same, and parts of other units are spread over smaller ones.
    Interval(u8),
    /// `interval day to hour`: what is smaller than its fields is cut.
    Fields(Unit),
    /// `timetz(2)`: a time of day with an offset.
    ZonedTime(u8),
    /// `name`, `"char"`: texts are cut after so many bytes.
    Bytes(u8),
    /// `money`: so many digits after the point, as the server's locale has it; 0: no point either, which the locale may read as something else.
    Decimals(u8),
    /// `oid`, `xid`: 32 bits without a sign; less than 0 wraps around.
    Unsigned,
    /// `point`, `box`, `cube`: every number becomes a double.
    Doubles,
    /// `line`: the same, and one through two points is computed.
    Line,
    /// `xml`: the declaration at its beginning is not given back.
    Declaration,
    /// `cidr`, `inet`: the rest of an address that is cut short is guessed.
    Network,
    /// `macaddr8`: an address of six bytes becomes one of eight.
    EightBytes,
    /// `regtype`: a type without its modifier.
    Modifier,
    /// An array, by what its elements become.
    Elements(Box<Conversion>),
    /// A range or several, by what the bounds become.
    Bounds(Box<Conversion>),
    /// `macaddr`: digits that are left out are zeros, wherever the server finds them missing.
    SixBytes,
    /// `jsonpath`: comments are left out, and a zero has no minus.
    Path,
    /// `tsquery`: blanks alone ask for nothing, and are not given back.
    Query,
    /// A type that only the server knows: of each value it is asked what it makes of it. Its parts may have an order that says nothing.
    Asked { ordered: bool },
    /// `tsvector`, of which the server is asked too: its words come back sorted.
    Lexemes,
}

/// What the order of a value's parts says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// As much as the parts do.
    Told,
    /// Nothing, as in an object of JSON: each part is a pair, and says of what.
    OfPairs,
    /// Which word came after which, unless each has its position beside it.
    OfWords,
}

/// As it stands in a journal, where earlier builds called some of it by other names.
pub fn read<'de, D: Deserializer<'de>>(written: D) -> Result<Option<Rounding>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Written {
        Now(Rounding),
        Before(Before),
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum Before {
        Money,
        Words,
        Fields,
    }
    Ok(Option::<Written>::deserialize(written)?.map(|written| match written {
        Written::Now(rounding) => rounding,
        Written::Before(Before::Money) => Rounding::Decimals(2),
        Written::Before(Before::Words) => Rounding::Asked { ordered: false },
        // Which field is the smallest was not told, and nothing that has smaller ones was let in.
        Written::Before(Before::Fields) => Rounding::Fields(Unit::Year),
    }))
}

impl Rounding {
    /// Of a type as PostgreSQL writes it.
    pub fn of(sql: &str) -> Option<Self> {
        let lower = sql.trim().to_lowercase();
        if let Some(element) = lower.strip_suffix(']').and_then(|rest| rest.rfind('[').map(|open| rest[..open].trim_end())) {
            return Some(Rounding::Elements(Box::new(Rounding::conversion(element))));
        }
        let subtype = match lower.as_str() {
            "tsrange" | "tsmultirange" => "timestamp",
            "tstzrange" | "tstzmultirange" => "timestamptz",
            "daterange" | "datemultirange" => "date",
            _ => "",
        };
        if !subtype.is_empty() {
            return Some(Rounding::Bounds(Box::new(Rounding::conversion(subtype))));
        }
        let name = lower.split('(').next().unwrap_or_default().trim();
        let digits = lower.split_once('(').and_then(|(_, rest)| rest.split(')').next()?.trim().parse().ok());
        match name {
            "time" | "timestamp" | "timestamptz" => digits.map(Rounding::Seconds),
            "timetz" => Some(Rounding::ZonedTime(digits.unwrap_or(6))),
            "interval" => Some(Rounding::Interval(digits.unwrap_or(6))),
            _ if name.starts_with("interval ") => Some(match name.rsplit(' ').next().and_then(Unit::named) {
                Some(smallest) => Rounding::Fields(smallest),
                None => Rounding::Interval(digits.unwrap_or(6)),
            }),
            "time with time zone" => Some(Rounding::ZonedTime(6)),
            // character(1), not the type whose name stands in quotes.
            "char" => None,
            // Whose locale is not known has two.
            "money" => Some(Rounding::Decimals(2)),
            name => Rounding::of_plain(name),
        }
        .map(|rounding| match rounding {
            Rounding::Seconds(digits) if name == "time" && lower.ends_with("with time zone") => Rounding::ZonedTime(digits),
            rounding => rounding,
        })
    }

    /// Of a type that has no modifier, by its name in the catalog.
    pub fn of_plain(name: &str) -> Option<Self> {
        match name {
            "name" => Some(Rounding::Bytes(63)),
            "char" | "\"char\"" => Some(Rounding::Bytes(1)),
            "oid" | "xid" | "cid" => Some(Rounding::Unsigned),
            "point" | "lseg" | "path" | "box" | "polygon" | "circle" | "cube" => Some(Rounding::Doubles),
            "line" => Some(Rounding::Line),
            "xml" => Some(Rounding::Declaration),
            "inet" | "cidr" => Some(Rounding::Network),
            "macaddr8" => Some(Rounding::EightBytes),
            "macaddr" => Some(Rounding::SixBytes),
            "jsonpath" => Some(Rounding::Path),
            "tsquery" => Some(Rounding::Query),
            "tsvector" => Some(Rounding::Lexemes),
            "regtype" => Some(Rounding::Modifier),
            _ => None,
        }
    }

    /// Whether the server is asked of each value, and if so what the order of its parts says.
    pub fn asked(&self) -> Option<Order> {
        match self {
            Rounding::Asked { ordered: true } => Some(Order::Told),
            Rounding::Asked { ordered: false } => Some(Order::OfPairs),
            Rounding::Lexemes => Some(Order::OfWords),
            Rounding::Elements(part) | Rounding::Bounds(part) => match part.rounding.as_ref().and_then(Rounding::asked) {
                // Words within quotes within an array are the same where nothing is written in another way.
                Some(Order::OfWords) => Some(Order::Told),
                order => order,
            },
            _ => None,
        }
    }

    /// What becomes of a part of a value that is of this type.
    fn conversion(sql: &str) -> Conversion {
        Conversion { rounding: Rounding::of(sql), ..Conversion::new(type_from_sql(sql).kind) }
    }

    /// Why the type would change the text; none when it does not, or refuses it itself. Times without an offset were written in `tz`.
    pub fn changes(&self, text: &[u8], tz: &SourceTz, inexact: Inexact) -> Option<String> {
        match self {
            Rounding::Seconds(digits) => more_digits(digits_of_seconds(text), *digits),
            Rounding::Interval(_) if inexact == Inexact::Round => interval::changes(text, u8::MAX),
            Rounding::Interval(digits) => interval::changes(text, *digits),
            Rounding::Fields(smallest) => {
                (!is_of_fields(text, *smallest)).then(|| "an interval of certain fields cuts what is smaller".to_string())
            }
            Rounding::ZonedTime(digits) => {
                let end = text.iter().position(|byte| !matches!(byte, b'0'..=b'9' | b':' | b'.')).unwrap_or(text.len());
                let is_offset = matches!(text.get(end), None | Some(b'+' | b'-' | b'Z' | b'z'));
                match Moment::parse(&text[..end]) {
                    _ if end == text.len() && !tz.is_utc() => Some(WITHOUT_OFFSET.into()),
                    Some(Moment { days: None, micros: Some(_), .. }) if is_offset => match inexact {
                        Inexact::Round => None,
                        Inexact::Reject => more_digits(digits_of_seconds(text), *digits),
                    },
                    _ => Some("not a time of day with an offset".into()),
                }
            }
            Rounding::Bytes(most) => (text.len() > usize::from(*most)).then(|| format!("longer than {most} bytes")),
            Rounding::Decimals(most) => {
                let unsigned = text.strip_prefix(b"-").unwrap_or(text);
                let is_plain = !unsigned.is_empty() && unsigned.iter().all(|byte| byte.is_ascii_digit() || *byte == b'.');
                let fraction = unsigned.split(|byte| *byte == b'.').nth(1).unwrap_or_default();
                let needed = needed(fraction);
                let is_kept = inexact == Inexact::Round || needed <= usize::from(*most);
                let is_beyond = !is_kept || *most == 0 && unsigned.contains(&b'.');
                let is_minus_zero = unsigned.len() < text.len() && !unsigned.iter().any(|byte| matches!(byte, b'1'..=b'9'));
                (!is_plain || is_minus_zero || is_beyond).then(|| match most {
                    _ if is_plain && is_minus_zero => "money has no minus zero".to_string(),
                    _ if !is_plain => "not a number as money is written everywhere".to_string(),
                    0 => "money keeps no fraction in the server's locale, or has another point".to_string(),
                    2 => "money keeps two digits after the point".to_string(),
                    most => format!("money keeps {most} digits after the point"),
                })
            }
            Rounding::Unsigned => {
                let fits = std::str::from_utf8(text).is_ok_and(|text| text.parse::<u32>().is_ok_and(|number| number.to_string() == text));
                (!fits).then(|| "not an integer of 0 to 4294967295".to_string())
            }
            Rounding::Doubles => inexact_double(text, inexact),
            Rounding::Line if text.trim_ascii_start().first() != Some(&b'{') => Some("a line through two points is computed".into()),
            Rounding::Line => inexact_double(text, inexact),
            Rounding::Declaration => {
                let is_declared =
                    text.trim_ascii_start().strip_prefix(b"<?xml").and_then(<[u8]>::first).is_some_and(u8::is_ascii_whitespace);
                is_declared.then(|| "xml does not give its declaration back".to_string())
            }
            Rounding::Network => {
                let address = text.split(|byte| *byte == b'/').next().unwrap_or_default();
                let is_whole = address.contains(&b':') || address.iter().filter(|byte| **byte == b'.').count() == 3;
                let is_cut = !is_whole && address.first().is_some_and(u8::is_ascii_digit);
                is_cut.then(|| "the rest of an address that is cut short is guessed".to_string())
            }
            Rounding::EightBytes => {
                let digits = text.iter().filter(|byte| byte.is_ascii_hexdigit()).count();
                (digits != 16).then(|| "macaddr8 makes another address of it".to_string())
            }
            Rounding::SixBytes => (!is_of_six_bytes(text)).then(|| "macaddr makes another address of it".to_string()),
            Rounding::Path => {
                let number = text.trim_ascii().strip_prefix(b"-").unwrap_or_default();
                let is_minus_zero = number.contains(&b'0') && number.iter().all(|byte| matches!(byte, b'0' | b'.'));
                match text.windows(2).any(|pair| pair == b"/*") {
                    true => Some("jsonpath leaves a comment out".into()),
                    false => is_minus_zero.then(|| "jsonpath has no minus zero".to_string()),
                }
            }
            Rounding::Query => {
                let is_blank = !text.is_empty() && std::str::from_utf8(text).is_ok_and(|text| text.trim().is_empty());
                is_blank.then(|| "tsquery does not keep blanks".to_string())
            }
            Rounding::Modifier => text.contains(&b'(').then(|| "regtype does not keep the modifier of a type".to_string()),
            Rounding::Elements(element) => changed_part(&literal::elements(text, between(element))?, element, tz, inexact),
            Rounding::Bounds(bound) => changed_part(&literal::bounds(text)?, bound, tz, inexact).or_else(|| {
                let is_emptied = literal::ranges(text)?.iter().any(|range| becomes_empty(range, &bound.kind));
                is_emptied.then(|| "a range in it that holds nothing would lose its bounds".to_string())
            }),
            Rounding::Asked { .. } | Rounding::Lexemes => None,
        }
    }
}

/// Twelve digits, wherever they are parted, or six numbers of one or two.
fn is_of_six_bytes(text: &[u8]) -> bool {
    let text = text.trim_ascii();
    let is_address = text.iter().all(|byte| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'-' | b'.'));
    let numbers = |sign: u8| text.split(|byte| *byte == sign).collect::<Vec<_>>();
    let are_six = |sign: u8| {
        let numbers = numbers(sign);
        numbers.len() == 6 && numbers.iter().all(|number| (1..=2).contains(&number.len()) && number.iter().all(u8::is_ascii_hexdigit))
    };
    is_address && (text.iter().filter(|byte| byte.is_ascii_hexdigit()).count() == 12 || are_six(b':') || are_six(b'-'))
}

/// What stands between the elements of an array.
fn between(element: &Conversion) -> u8 {
    // Of the types that are made of doubles a box alone has semicolons, and numbers are looked for in whatever part they stand.
    if element.rounding == Some(Rounding::Doubles) { b';' } else { b',' }
}

/// A range between whose bounds there is nothing.
fn becomes_empty((low, has_low, high, has_high): &literal::Range, kind: &TypeKind) -> bool {
    let (Some(low), Some(high)) = (low, high) else { return false };
    let whole = |text: &[u8]| match kind {
        TypeKind::Int4 | TypeKind::Int8 => std::str::from_utf8(text).ok()?.trim().parse::<i64>().ok(),
        TypeKind::Date => Moment::parse(text)?.days.map(i64::from),
        _ => None,
    };
    if let Some((low, high)) = whole(low).zip(whole(high)) {
        return low.saturating_add((!has_low).into()) >= high.saturating_add((*has_high).into());
    }
    let moment = |text: &[u8]| Moment::parse(text).and_then(|moment| moment.utc_micros().or(moment.local_micros()));
    let number = |text: &[u8]| Decimal::parse(text.trim_ascii());
    let is_same =
        low == high || number(low).is_some_and(|low| Some(low) == number(high)) || moment(low).is_some_and(|low| Some(low) == moment(high));
    is_same && !(*has_low && *has_high)
}

impl Conversion {
    /// Of a type that only the server knows, which is asked of each value unless it may be rounded: what the order of a value's parts says.
    pub fn asked(&self) -> Option<Order> {
        self.rounding.as_ref().filter(|_| self.kind == TypeKind::Other && self.inexact.is_reject())?.asked()
    }
}

/// Numbers that are not what the nearest double is written as.
fn inexact_double(text: &[u8], inexact: Inexact) -> Option<String> {
    if text.iter().any(|byte| matches!(byte, b'x' | b'X')) {
        return Some("a number in it is hexadecimal".into());
    }
    let is_of_number = |byte: &u8| byte.is_ascii_digit() || matches!(byte, b'.' | b'e' | b'E' | b'+' | b'-');
    let numbers = text.split(|byte| !is_of_number(byte)).filter(|number| number.iter().any(u8::is_ascii_digit));
    for number in numbers {
        let real = std::str::from_utf8(number).ok().and_then(|number| number.parse::<f64>().ok()).filter(|real| real.is_finite());
        if inexact == Inexact::Round && real.is_some() {
            continue;
        }
        let is_exact = real.zip(Decimal::parse(number)).is_some_and(|(real, decimal)| decimal == Decimal::from_real(real));
        if !is_exact {
            return Some("a double cannot hold a number of it exactly".into());
        }
    }
    None
}

/// Why one of the parts is not kept.
fn changed_part(parts: &[Vec<u8>], conversion: &Conversion, tz: &SourceTz, inexact: Inexact) -> Option<String> {
    let zoned = (!tz.is_utc() || !inexact.is_reject()).then(|| Conversion { source_tz: tz.clone(), inexact, ..conversion.clone() });
    let conversion = zoned.as_ref().unwrap_or(conversion);
    parts.iter().filter(|part| !is_endless(part, &conversion.kind)).find_map(|part| {
        let misfit = conversion.convert(Value::Text(part), &mut Scratch::default()).err().map(|misfit| misfit.reason);
        misfit.or_else(|| read_otherwise(part, conversion).map(str::to_string))
    })
}

/// Words that such a type keeps as they are, though no column of SQLite's means them.
fn is_endless(part: &[u8], kind: &TypeKind) -> bool {
    let is = |words: &[&str]| words.iter().any(|word| part.eq_ignore_ascii_case(word.as_bytes()));
    match kind {
        TypeKind::Date | TypeKind::Timestamp | TypeKind::TimestampTz => is(&["infinity", "-infinity"]),
        TypeKind::Float4 | TypeKind::Float8 | TypeKind::Numeric { .. } => is(&["infinity", "-infinity", "nan"]),
        _ => false,
    }
}

const WITHOUT_OFFSET: &str = "a time in it has no offset, and PostgreSQL would read it as one of UTC";

/// What PostgreSQL's own input reads otherwise than a value of a column of its own.
fn read_otherwise(part: &[u8], conversion: &Conversion) -> Option<&'static str> {
    match conversion.kind {
        TypeKind::Timestamp => Moment::parse(part)?.offset.map(|_| "a timestamp in it loses its offset"),
        TypeKind::TimestampTz if !conversion.source_tz.is_utc() => Moment::parse(part)?.offset.is_none().then_some(WITHOUT_OFFSET),
        TypeKind::Bytea => {
            let digits = part.strip_prefix(b"\\x").filter(|digits| digits.iter().all(u8::is_ascii_hexdigit));
            digits.is_none().then_some("bytes in it are not hexadecimal")
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_known_by_their_names() {
        for (sql, rounding) in [
            ("timestamp(3) without time zone", Some(Rounding::Seconds(3))),
            ("timestamptz(0)", Some(Rounding::Seconds(0))),
            ("time(6) with time zone", Some(Rounding::ZonedTime(6))),
            ("time with time zone", Some(Rounding::ZonedTime(6))),
            ("time(1) without time zone", Some(Rounding::Seconds(1))),
            ("interval day to second(2)", Some(Rounding::Interval(2))),
            ("interval", Some(Rounding::Interval(6))),
            ("interval day to hour", Some(Rounding::Fields(Unit::Hour))),
            ("\"char\"", Some(Rounding::Bytes(1))),
            ("name", Some(Rounding::Bytes(63))),
            ("timestamp without time zone", None),
            ("numeric(5,2)", None),
            ("character(3)", None),
            ("inet", Some(Rounding::Network)),
            ("macaddr", Some(Rounding::SixBytes)),
        ] {
            assert_eq!(Rounding::of(sql), rounding, "{sql}");
        }
        let Some(Rounding::Elements(element)) = Rounding::of("timestamp(3) without time zone[]") else { panic!("an array") };
        assert_eq!((&element.kind, &element.rounding), (&TypeKind::Timestamp, &Some(Rounding::Seconds(3))));
    }

    #[test]
    fn money_without_cents_or_with_another_point_takes_no_point() {
        let changes =
            |digits: u8, text: &str| Rounding::Decimals(digits).changes(text.as_bytes(), &SourceTz::Utc, Inexact::Reject).is_some();
        assert!(changes(0, "1.0") && changes(0, "1.00") && !changes(0, "-100") && !changes(3, "1.250"));
    }

    #[test]
    fn what_earlier_builds_have_written_is_read() {
        let read = |text: &str| serde_json::from_str::<Conversion>(text).unwrap_or_else(|error| panic!("{text}: {error}")).rounding;
        let of = |rounding: &str| read(&format!("{{\"kind\":\"other\",\"rounding\":{rounding}}}"));
        assert_eq!((of("\"money\""), of("{\"decimals\":2}")), (Some(Rounding::Decimals(2)), Some(Rounding::Decimals(2))));
        assert_eq!((of("\"words\""), of("\"fields\"")), (Some(Rounding::Asked { ordered: false }), Some(Rounding::Fields(Unit::Year))));
        assert_eq!((of("\"unsigned\""), of("null"), read("{\"kind\":\"other\"}")), (Some(Rounding::Unsigned), None, None));
        let nested = Rounding::of("money[]");
        assert_eq!(of("{\"elements\":{\"kind\":\"other\",\"rounding\":\"money\"}}"), nested);
        assert_eq!(
            read(&serde_json::to_string(&Conversion { rounding: nested.clone(), ..Conversion::new(TypeKind::Other) }).unwrap()),
            nested
        );
    }

    #[test]
    fn what_a_type_changes_is_seen() {
        let changes = |sql: &str, text: &str| {
            Rounding::of(sql).unwrap_or_else(|| panic!("{sql}")).changes(text.as_bytes(), &SourceTz::Utc, Inexact::Reject).is_some()
        };
        for (sql, kept, changed) in [
            ("time(3)", &["10:00:00.1230", "10:00"][..], &["10:00:00.1234"][..]),
            ("timetz", &["10:00:00.123456+05:30", "10:00Z"], &["10:00:00.1234567+01", "now", "10:00 PM x"]),
            (
                "interval",
                &["1 day 02:03:04.5", "1 minute", "P1DT1.5S", "1.5 seconds", "1 mon", "1.0 day", "1-2"],
                &[
                    "1.5 days",
                    "0.1234567 s",
                    "P1.5Y",
                    "PT1e-7S",
                    "P1e-1Y",
                    "PT14e-1S",
                    "1500",
                    "-1.5 ",
                    "$12.50",
                    "\\101",
                    "#1 day",
                    "5 @",
                    "- 5",
                    "5-",
                ],
            ),
            ("interval(1)", &["1.5 s"], &["1.55 s", "10 ms"]),
            ("interval hour to minute", &["01:30", "1 day 02:00:00", "2 hours"], &["01:00:05", "5 seconds", "1.5 hours", "7"]),
            ("interval year to month", &["1 year 2 mons", "-3 months"], &["1 year 2 days", "1 year 01:00"]),
            ("double precision[]", &["{NaN,-Infinity,0.1}"], &["{none}"]),
            ("tstzrange", &["[2024-01-01 00:00:00Z,infinity)"], &["[now,)"]),
            ("money", &["1.990", "-5", "1000", "0.00", "-0.01"], &["1.999", "1.0e+300", "1,000.00", "$5", "-0.0", "-0"]),
            (
                "macaddr",
                &["08:00:2b:01:02:03", "8-0-2b-1-2-3", "0800.2b01.0203", "08002B010203"],
                &["2024-01-02", "0x:1:2:3:4:5", "123-456-789"],
            ),
            ("jsonpath", &["$.a", "-1", "0.0"], &["$.a /* b */", "-0.0"]),
            ("tsquery", &["", " a ", "a & b"], &["  ", "\t\n"]),
            ("oid", &["4294967295"], &["-1", "4294967296"]),
            ("point", &["(0.1,-2e3)", "1,2"], &["(0.12345678901234567891,1)", "(0x1.23456789abcdef12p0,1)"]),
            ("line", &["{1,2,3}"], &["[(0,0),(1,1)]"]),
            ("xml", &["<a/>", "<?xml-stylesheet href='a'?><a/>"], &["<?xml version=\"1.0\"?><a/>"]),
            ("cidr", &["10.0.0.0/8", "::/0"], &["10", "10.1/16"]),
            ("macaddr8", &["08:00:2b:01:02:03:04:05"], &["08:00:2b:01:02:03"]),
            ("inet", &["10.0.0.1", "10.0.0.1/8", "::1"], &["10/8", "10.1/16"]),
            ("numeric(5,2)[]", &["{{1.25,NULL},{2,3}}", "{}", "[2:3]={1,2}"], &["{1.255}", "{\"1.255\"}"]),
            ("varchar(3)[]", &["{abc,\"a,b\"}"], &["{\"abc  \"}", "{abcd}"]),
            ("real[]", &["{0.5,1.1}"], &["{0.123456789}"]),
            ("timestamp[]", &["{2024-01-02 03:04:05,\"2024-01-02 03:04:05.5\"}"], &["{2024-01-02T03:04:05Z}", "{now}"]),
            ("bytea[]", &["{\"\\\\x00ff\"}"], &["{abc}"]),
            ("tsmultirange", &["{[2024-01-01 00:00:00,2024-01-02)}"], &["{[2024-01-01,2024-01-01 00:00:00),[2024-01-02,)}"]),
            ("tsrange", &["[2024-01-01 00:00:00,2024-01-02)", "empty", "(,)"], &["[2024-01-01 00:00:00.1234567,)", "[today,)"]),
            ("name[]", &["{a;b}"], &["{xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx;yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy}"]),
            (
                "daterange",
                &["[2024-01-01,2024-02-01)", "[2024-01-01,2024-01-01]"],
                &["[2024-01-01 10:00:00,)", "[2024-01-01,2024-01-01)", "(2024-01-01,2024-01-02)"],
            ),
        ] {
            kept.iter().for_each(|text| assert!(!changes(sql, text), "{sql} keeps {text}"));
            changed.iter().for_each(|text| assert!(changes(sql, text), "{sql} changes {text}"));
        }
    }

    #[test]
    fn a_time_without_an_offset_is_of_the_sources_zone() {
        let tz = SourceTz::parse("Europe/Berlin").unwrap();
        let changes = |sql: &str, text: &str| {
            Rounding::of(sql).unwrap_or_else(|| panic!("{sql}")).changes(text.as_bytes(), &tz, Inexact::Reject).is_some()
        };
        for (sql, kept, changed) in [
            ("timestamptz[]", "{\"2024-07-01 12:00:00+02\"}", "{\"2024-07-01 12:00:00\"}"),
            ("tstzrange", "[2024-07-01 12:00:00Z,infinity)", "[2024-07-01 12:00:00,)"),
            ("timetz", "12:00+02", "12:00"),
            ("timestamp[]", "{\"2024-07-01 12:00:00\"}", "{\"2024-07-01 12:00:00Z\"}"),
        ] {
            assert!(!changes(sql, kept) && changes(sql, changed), "{sql}");
        }
    }
}
