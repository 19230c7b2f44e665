//! Which texts a type of PostgreSQL's own takes in and gives back as they mean: read here a second time, apart from what decides it for the copy.

use crate::digest::{decimal, moment};
use crate::model::TypeKind;
use crate::plan::SourceTz;
use crate::plan::convert::Conversion;
use crate::plan::rounding::{Rounding, Unit};
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
            are_digits && (may_round || without_zeros(fraction) <= usize::from(*most)) && (*most > 0 || !text.contains(&b'.'))
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
            address.contains(&b':') || address.split(|byte| *byte == b'.').count() == 4
        }
        Rounding::EightBytes => text.iter().filter(|byte| byte.is_ascii_hexdigit()).count() == 16,
        Rounding::Words => {
            let text = String::from_utf8_lossy(text);
            let mut words = text.split_whitespace();
            let is_plain = |word: &str| match word.rsplit_once(':') {
                Some((_, positions)) => {
                    let mut parts = positions.split(|c: char| !c.is_ascii_digit()).filter(|part| !part.is_empty());
                    positions.matches(',').count() < 255 && parts.all(|part| part.parse::<u32>().is_ok_and(|position| position < 16_384))
                }
                None => true,
            };
            let all: Vec<(&str, &str)> = words.clone().filter_map(|word| word.rsplit_once(':')).collect();
            let one_by_one = all.iter().flat_map(|(word, positions)| {
                let is_digit = |c: &char| c.is_ascii_digit();
                positions.split(',').map(move |position| (word.replace('\'', ""), position.chars().filter(is_digit).collect::<String>()))
            });
            let mut places: Vec<(String, String)> = one_by_one.collect();
            let number = places.len();
            places.sort_unstable();
            places.dedup();
            places.len() == number && words.clone().all(is_plain) && (words.clone().count() < 2 || words.all(|word| word.contains(':')))
        }
        Rounding::Modifier => text.iter().all(|byte| *byte != b'('),
        // What the server makes of it is looked at where that is known.
        Rounding::Asked { .. } => true,
        Rounding::Elements(element) => all_parts(text, b"{},;", (element, tz, inexact), fits),
        Rounding::Bounds(bound) => {
            text.trim_ascii().eq_ignore_ascii_case(b"empty") || all_parts(text, b"[](){},", (bound, tz, inexact), fits)
        }
    }
}

/// A time whose seconds have no more digits after their point than the type keeps.
pub fn is_kept_micros(micros: i64, most: u8) -> bool {
    (0..6u8.saturating_sub(most)).try_fold(micros, |rest, _| (rest % 10 == 0).then_some(rest / 10)).is_some()
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
    // Thousandths and millionths may be less than the type keeps.
    if most < 6 && ["MS", "US", "MILLI", "MICRO"].into_iter().any(names) {
        return false;
    }
    seconds(text).all(|(of_clock, digits, unit)| digits == 0 || digits <= most && (of_clock || OF_SECONDS.contains(&unit.as_slice())))
}

/// Every number is the one that the nearest double is written as.
fn has_exact_doubles(text: &[u8], may_round: bool) -> bool {
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
    let is_array = signs.contains(&b';');
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
