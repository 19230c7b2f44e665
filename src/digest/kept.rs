//! Which texts a type of PostgreSQL's own takes in and gives back as they mean: read here a second time, apart from what decides it for the copy.

use crate::digest::{decimal, moment};
use crate::model::TypeKind;
use crate::plan::SourceTz;
use crate::plan::convert::Conversion;
use crate::plan::interval::Unit;
use crate::plan::rounding::Rounding;
use crate::plan::transform::Inexact;

/// False for a text that its type would round, cut, leave out or read as something else. `fits` tells it of a part: an element, a bound.
pub fn is_kept(
    rounding: &Rounding,
    text: &[u8],
    (tz, inexact): (&SourceTz, Inexact),
    fits: &mut impl FnMut(&Conversion, &[u8]) -> bool,
) -> bool {
    let may_round = inexact == Inexact::Round;
    match rounding {
        Rounding::Seconds(most) => {
            seconds(text).all(|(of_clock, digits, _)| !of_clock && text.contains(&b':') || digits <= usize::from(*most))
        }
        Rounding::Interval(most) => is_kept_interval(text, if may_round { usize::MAX } else { usize::from(*most) }),
        Rounding::Fields(smallest) => ends_with_field(text, *smallest),
        Rounding::ZonedTime(_) if !tz.is_utc() && !text.iter().any(|byte| b"+-zZ".contains(byte)) => false,
        Rounding::ZonedTime(most) => {
            let time = text.split(|byte| b"+-zZ".contains(byte)).next().unwrap_or_default();
            let micros = moment::read(time).filter(|moment| moment.days.is_none()).and_then(|moment| moment.micros);
            micros.is_some_and(|micros| may_round || is_kept_micros(micros, *most))
        }
        Rounding::Bytes(most) => text.len() <= usize::from(*most),
        Rounding::Decimals(most) => {
            let mut parts = text.strip_prefix(b"-").unwrap_or(text).split(|byte| *byte == b'.');
            let (whole, fraction) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
            let is_number = |digits: &[u8]| digits.iter().all(u8::is_ascii_digit);
            let are_digits = is_number(whole) && is_number(fraction) && whole.len() + fraction.len() > 0;
            let says_minus_zero = text.starts_with(b"-") && whole.iter().chain(fraction).all(|digit| *digit == b'0');
            are_digits
                && !says_minus_zero
                && (may_round || without_zeros(fraction) <= usize::from(*most))
                && (*most > 0 || !text.contains(&b'.'))
        }
        Rounding::Unsigned => {
            matches!(std::str::from_utf8(text).map(str::parse::<u32>), Ok(Ok(number)) if number.to_string().as_bytes() == text)
        }
        Rounding::Line if text.trim_ascii_start().first().is_none_or(|first| *first != b'{') => false,
        Rounding::Doubles | Rounding::Line => has_exact_doubles(text, may_round),
        Rounding::Declaration => {
            let text = text.trim_ascii_start();
            !(text.starts_with(b"<?xml") && text.get(5).is_some_and(u8::is_ascii_whitespace))
        }
        Rounding::Network => {
            let address = text.split(|byte| *byte == b'/').next().unwrap_or_default();
            let has_digits = matches!(address, [b'0'..=b'9', ..]);
            !has_digits || address.contains(&b':') || address.split(|byte| *byte == b'.').count() == 4
        }
        Rounding::EightBytes => text.iter().filter(|byte| byte.is_ascii_hexdigit()).count() == 16,
        Rounding::SixBytes => is_kept_address(text),
        Rounding::Path => {
            let mut number = Vec::new();
            let says_minus_zero = text.trim_ascii().starts_with(b"-")
                && decimal::write_number(text.trim_ascii(), &mut number).is_some_and(|number| number.digits == 0);
            !says_minus_zero && !String::from_utf8_lossy(text).contains("/*")
        }
        Rounding::Query => text.is_empty() || String::from_utf8_lossy(text).chars().any(|sign| !sign.is_whitespace()),
        Rounding::Modifier => text.iter().all(|byte| *byte != b'('),
        // What the server makes of it is looked at where that is known.
        Rounding::Asked { .. } | Rounding::Lexemes => true,
        // Boxes stand between semicolons; of points and the like each number is looked at, wherever it stands.
        Rounding::Elements(element) if element.rounding == Some(Rounding::Doubles) => {
            all_parts(text, b"{},;", (element, tz, inexact), fits)
        }
        Rounding::Elements(element) => all_parts(text, b"{},", (element, tz, inexact), fits),
        Rounding::Bounds(bound) => {
            let is_empty = text.trim_ascii().eq_ignore_ascii_case(b"empty");
            is_empty || !holds_nothing(text, &bound.kind) && all_parts(text, b"[](){},", (bound, tz, inexact), fits)
        }
    }
}

/// A time whose seconds have no more digits after their point than the type keeps.
pub fn is_kept_micros(micros: i64, most: u8) -> bool {
    (0..6u8.saturating_sub(most)).try_fold(micros, |rest, _| (rest % 10 == 0).then_some(rest / 10)).is_some()
}

/// An address of which no digit is left to guess: each of six numbers stands between signs of one kind, or all twelve digits are there.
fn is_kept_address(text: &[u8]) -> bool {
    let text = String::from_utf8_lossy(text.trim_ascii());
    let bytes =
        |sign: char| text.split(sign).map(|number| number.len() <= 2 && u8::from_str_radix(number, 16).is_ok() && !number.starts_with('+'));
    let is_parted = |sign: char| bytes(sign).count() == 6 && bytes(sign).all(|is_byte| is_byte);
    let digits: String = text.chars().filter(|sign| !":-.".contains(*sign)).collect();
    let is_whole = digits.len() == 12 && digits.chars().all(|digit| digit.is_ascii_hexdigit());
    is_whole || is_parted(':') || is_parted('-')
}

/// Zeros at the end of a fraction say nothing.
fn without_zeros(digits: &[u8]) -> usize {
    digits.iter().rev().skip_while(|byte| **byte == b'0').count()
}

/// Of each point: whether the digits before it are a clock's seconds, how many digits after it matter, and the letters that follow.
fn seconds(text: &[u8]) -> impl Iterator<Item = (bool, usize, Vec<u8>)> {
    let ends_in_clock = |before: &[u8]| {
        let digits = before.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
        before.len() > digits && before[before.len() - digits - 1] == b':'
    };
    let points = text.iter().enumerate().filter(|(_, byte)| **byte == b'.').map(|(at, _)| text.split_at(at));
    points.map(move |(before, after)| {
        let after = &after[1..];
        let (fraction, rest) = after.split_at(after.iter().take_while(|byte| byte.is_ascii_digit()).count());
        let unit = rest.trim_ascii_start().iter().take_while(|byte| byte.is_ascii_alphabetic()).map(u8::to_ascii_uppercase).collect();
        (ends_in_clock(before), without_zeros(fraction), unit)
    })
}

/// Numbers with units, and clocks, of which nothing is smaller than the field.
fn ends_with_field(text: &[u8], smallest: Unit) -> bool {
    const UNITS: [(Unit, &[&str]); 5] = [
        (Unit::Year, &["Y", "YEAR", "YEARS"]),
        (Unit::Month, &["MON", "MONS", "MONTH", "MONTHS"]),
        (Unit::Day, &["D", "DAY", "DAYS", "WEEK", "WEEKS"]),
        (Unit::Hour, &["H", "HOUR", "HOURS"]),
        (Unit::Minute, &["MIN", "MINS", "MINUTE", "MINUTES"]),
    ];
    let upper = String::from_utf8_lossy(text).to_uppercase();
    let mut is_counted = false;
    let mut is_kept = |word: &str| {
        if is_counted {
            is_counted = false;
            return UNITS.iter().any(|(unit, names)| *unit <= smallest && names.contains(&word));
        }
        let mut parts = word.split(':');
        let is_whole = parts.next().is_some_and(|whole| whole.parse::<i64>().is_ok());
        let smaller: Vec<Option<u8>> = parts.map(|part| part.parse().ok()).collect();
        is_counted = smaller.is_empty();
        is_whole
            && matches!(
                (smaller.as_slice(), smallest),
                ([], _) | ([Some(_)] | [Some(_), Some(0)], Unit::Minute) | ([Some(0)] | [Some(0), Some(0)], Unit::Hour)
            )
    };
    let is_all = upper.split_ascii_whitespace().all(&mut is_kept);
    is_all && !is_counted && !upper.trim().is_empty()
}

fn is_kept_interval(text: &[u8], most: usize) -> bool {
    const OF_SECONDS: [&[u8]; 6] = [b"", b"S", b"SEC", b"SECS", b"SECOND", b"SECONDS"];
    let upper = text.to_ascii_uppercase();
    let names = |unit: &str| String::from_utf8_lossy(&upper).contains(unit);
    // A clock has colons, years and months a hyphen between them, anything else letters: without any of these nobody has said what is counted.
    let has_hyphen = upper.windows(3).any(|near| near[1] == b'-' && near[0].is_ascii_digit() && near[2].is_ascii_digit());
    if !has_hyphen && !upper.iter().any(|byte| matches!(byte, b':' | b'A'..=b'Z')) {
        return false;
    }
    // Any other sign is taken for a blank, whatever it says of a number: `$5`, `#5 s`, `50% 5 s`.
    if upper.iter().any(|byte| !matches!(byte, b'0'..=b'9' | b'A'..=b'Z' | b' ' | b'\t'..=b'\r' | b':' | b'.' | b',' | b'+' | b'-' | b'@'))
    {
        return false;
    }
    // Nor is a number with an exponent kept, whatever it is of.
    if upper.windows(2).any(|pair| pair[1] == b'E' && (pair[0].is_ascii_digit() || pair[0] == b'.')) {
        return false;
    }
    // Thousandths and millionths may be less than the type keeps.
    if most < 6 && ["MS", "US", "MILLI", "MICRO"].into_iter().any(names) {
        return false;
    }
    seconds(text).all(|(of_clock, digits, unit)| digits == 0 || digits <= most && (of_clock || OF_SECONDS.contains(&unit.as_slice())))
}

/// Every number is the one that the nearest double is written as.
fn has_exact_doubles(text: &[u8], may_round: bool) -> bool {
    if text.to_ascii_lowercase().contains(&b'x') {
        return false;
    }
    let mut numbers = text.split(|byte| !(byte.is_ascii_digit() || b".eE+-".contains(byte)));
    numbers.all(|number| {
        if !number.iter().any(u8::is_ascii_digit) {
            return true;
        }
        let (mut here, mut there) = (Vec::new(), Vec::new());
        let double = std::str::from_utf8(number).ok().and_then(|number| number.parse::<f64>().ok()).filter(|double| double.is_finite());
        let Some(double) = double else { return false };
        may_round
            || decimal::write_number(number, &mut here).is_some()
                && decimal::write_number(format!("{double:e}").as_bytes(), &mut there).is_some()
                && here == there
    })
}

/// What stands between the signs of an array or a range, each part as it means without its quotes; `NULL` is none.
fn all_parts(
    text: &[u8],
    signs: &[u8],
    (conversion, tz, inexact): (&Conversion, &SourceTz, Inexact),
    fits: &mut impl FnMut(&Conversion, &[u8]) -> bool,
) -> bool {
    let conversion = &Conversion { source_tz: tz.clone(), inexact, ..conversion.clone() };
    // Bounds of an array stand before an equals sign, outside of quotes.
    let is_array = signs.starts_with(b"{");
    let start = if is_array && text.trim_ascii_start().first() == Some(&b'[') {
        text.iter().position(|byte| *byte == b'=').map_or(0, |at| at + 1)
    } else {
        0
    };
    let mut bytes = text[start..].iter().copied().peekable();
    let (mut part, mut quoted, mut open) = (Vec::new(), false, false);
    let mut end = |part: &mut Vec<u8>, quoted: &mut bool| {
        let said = if *quoted { &part[..] } else { part.trim_ascii() };
        let is_nothing = !*quoted && (said.is_empty() || is_array && said.eq_ignore_ascii_case(b"null"));
        let is_kept = is_nothing || has_no_end(conversion, said) || fits(conversion, said) && is_read_so(conversion, said);
        part.clear();
        *quoted = false;
        is_kept
    };
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' => part.extend(bytes.next()),
            b'"' if open && bytes.peek() == Some(&b'"') => part.extend(bytes.next()),
            b'"' => {
                // Blanks around the quotes are not of the part.
                if !open {
                    part.clear();
                }
                (open, quoted) = (!open, true);
            }
            byte if !open && signs.contains(&byte) => match end(&mut part, &mut quoted) {
                true => {}
                false => return false,
            },
            byte if open || !quoted => part.push(byte),
            _ => {}
        }
    }
    end(&mut part, &mut quoted)
}

/// True where a range of the text has bounds, and nothing between them: it would be given back as `empty`, or not at all.
fn holds_nothing(text: &[u8], kind: &TypeKind) -> bool {
    let text = String::from_utf8_lossy(text).replace('"', "");
    let mut opened = text.split_inclusive([')', ']']).filter_map(|range| {
        let from = range.rfind(['[', '('])?;
        let (low, high) = range[from + 1..range.len() - 1].split_once(',')?;
        Some((range.as_bytes()[from] == b'[', low.trim(), high.trim(), range.ends_with(']')))
    });
    opened.any(|(has_low, low, high, has_high)| {
        let place = |text: &str| match kind {
            TypeKind::Int4 | TypeKind::Int8 => text.parse::<i64>().ok().map(i128::from),
            TypeKind::Date => moment::read(text.as_bytes())?.days.map(i128::from),
            _ => None,
        };
        let mark = |text: &str| {
            let mut bytes = Vec::new();
            decimal::write_number(text.as_bytes(), &mut bytes)?;
            Some(bytes)
        };
        let time = |text: &str| moment::read(text.as_bytes()).and_then(|moment| moment.utc().or(moment.local()));
        if low.is_empty() || high.is_empty() {
            return false;
        }
        match (place(low), place(high)) {
            (Some(low), Some(high)) => {
                let (first, last) = (if has_low { low } else { low + 1 }, if has_high { high } else { high - 1 });
                first > last
            }
            _ => {
                let is_one = low == high
                    || mark(low).is_some_and(|low| Some(low) == mark(high))
                    || time(low).is_some_and(|low| Some(low) == time(high));
                is_one && (!has_low || !has_high)
            }
        }
    })
}

/// `infinity` of times and numbers, `NaN` of numbers.
fn has_no_end(conversion: &Conversion, part: &[u8]) -> bool {
    let word = part.strip_prefix(b"-").unwrap_or(part).to_ascii_uppercase();
    match conversion.kind {
        TypeKind::Date | TypeKind::Timestamp | TypeKind::TimestampTz => word == b"INFINITY",
        TypeKind::Float4 | TypeKind::Float8 | TypeKind::Numeric { .. } => word == b"INFINITY" || part.eq_ignore_ascii_case(b"nan"),
        _ => false,
    }
}

/// PostgreSQL reads a part by its own rules: a timestamp without its offset, bytes in hexadecimal alone.
fn is_read_so(conversion: &Conversion, part: &[u8]) -> bool {
    match conversion.kind {
        TypeKind::Timestamp => moment::read(part).is_some_and(|moment| moment.offset.is_none()),
        TypeKind::TimestampTz => conversion.source_tz.is_utc() || moment::read(part).is_some_and(|moment| moment.offset.is_some()),
        TypeKind::Bytea => part.strip_prefix(b"\\x").is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit)),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_type_changes_is_seen_a_second_time() {
        let conversion = |kind| Box::new(Conversion::new(kind));
        let named = Conversion { rounding: Some(Rounding::Bytes(63)), ..Conversion::new(TypeKind::Other) };
        let long = format!("{{{};{}}}", "x".repeat(40), "y".repeat(40));
        for (rounding, kept, changed) in [
            (
                Rounding::Bounds(conversion(TypeKind::Int4)),
                &["[5,6)", "[5,5]", "empty", "(7,9)", "(,5)"][..],
                &["[5,5)", "(7,8)", "(5,5]"][..],
            ),
            (Rounding::Bounds(conversion(TypeKind::Date)), &["[2024-01-01,2024-01-02)"], &["[2024-01-01,2024-01-01)"]),
            (Rounding::Bounds(conversion(TypeKind::NUMERIC)), &["[1.0,1.00]", "{[1,2),[3,4)}"], &["[1.0,1.00)", "{[1,2),[3,3)}"]),
            (Rounding::Interval(6), &["1.5 s", "1 minute", "PT1.5S", "1-2"], &["PT1e-7S", "P1e-1Y", "PT14e-1S", "1500", "-1.5 "]),
            (Rounding::Interval(6), &["1 day, 2 hours", "@ 1 day ago"], &["$12.50", "\\101", "#1 day", "5 @", "- 5", "5-"]),
            (Rounding::Decimals(2), &["1.50", "-0.01", "0.0"], &["-0.0", "-0", "1.255"]),
            (Rounding::SixBytes, &["08:00:2b:01:02:03", "8-0-2b-1-2-3", "0800.2b01.0203"], &["2024-01-02", "0x:1:2:3:4:5", "123-456-789"]),
            (Rounding::Path, &["$.a", "-1", "0.0"], &["$.a /* b */", "-0.0"]),
            (Rounding::Query, &["", "a & b", " a "], &[" ", "\t\n", "\u{2003}"]),
            (Rounding::Network, &["10.0.0.1/8", "::1"], &["10/8", "10.1/16"]),
            (Rounding::Doubles, &["(0.5,1)", "(nan,infinity)"], &["(0x1.23456789abcdef12p0,1)", "(0.12345678901234567891,1)"]),
            (Rounding::Elements(Box::new(named)), &["{a;b}"], &[long.as_str()]),
        ] {
            let mut fits = |conversion: &Conversion, part: &[u8]| match &conversion.rounding {
                Some(rounding) => is_kept(rounding, part, (&SourceTz::Utc, Inexact::Reject), &mut |_, _| true),
                None => true,
            };
            let mut is_kept = |text: &str| is_kept(&rounding, text.as_bytes(), (&SourceTz::Utc, Inexact::Reject), &mut fits);
            kept.iter().for_each(|text| assert!(is_kept(text), "{rounding:?} keeps {text}"));
            changed.iter().for_each(|text| assert!(!is_kept(text), "{rounding:?} changes {text}"));
        }
    }
}
