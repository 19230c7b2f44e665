//! What a text says of a time in units: of its seconds' digits and of the fields of an interval a type may keep fewer.

use serde::{Deserialize, Serialize};

/// The smallest field of an interval; those above it are kept with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    Year,
    Month,
    Day,
    Hour,
    Minute,
}

impl Unit {
    /// By the last word of a type's name.
    pub(super) fn named(word: &str) -> Option<Self> {
        Some(match word {
            "year" | "years" | "y" => Unit::Year,
            "month" | "months" | "mon" | "mons" => Unit::Month,
            "day" | "days" | "d" | "week" | "weeks" => Unit::Day,
            "hour" | "hours" | "h" => Unit::Hour,
            "minute" | "minutes" | "min" | "mins" => Unit::Minute,
            _ => return None,
        })
    }
}

/// Why a type that keeps fewer digits than the text needs would change it.
pub(super) fn more_digits(needed: usize, kept: u8) -> Option<String> {
    (needed > usize::from(kept)).then(|| format!("more than {kept} digits after the seconds' point"))
}

/// How many digits of a fraction matter.
pub(super) fn needed(fraction: &[u8]) -> usize {
    fraction.iter().rposition(|byte| *byte != b'0').map_or(0, |last| last + 1)
}

/// Digits that matter after the point of the seconds: after `hh:mm:ss`, or in a text without a colon (`1.5 seconds`) after any point.
pub(super) fn digits_of_seconds(text: &[u8]) -> usize {
    fractions(text)
        .filter(|(_, is_of_clock, _)| *is_of_clock || !text.contains(&b':'))
        .map(|(_, _, fraction)| needed(fraction))
        .max()
        .unwrap_or(0)
}

/// Every fraction: what stands after it, whether it is of a clock's seconds, and its digits.
fn fractions(text: &[u8]) -> impl Iterator<Item = (&[u8], bool, &[u8])> {
    (0..text.len()).filter(|at| text[*at] == b'.').map(|at| {
        let is_of_clock = text[..at].iter().rposition(|byte| !byte.is_ascii_digit()).is_some_and(|before| text[before] == b':');
        let length = text[at + 1..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        (&text[at + 1 + length..], is_of_clock, &text[at + 1..at + 1 + length])
    })
}

/// Why an interval that keeps so many digits of its seconds would change the text: only they have parts that no other unit takes over.
pub(super) fn changes(text: &[u8], digits: u8) -> Option<String> {
    let text = text.trim_ascii();
    let is_sign = |byte: &u8| byte.is_ascii_alphanumeric() || byte.is_ascii_whitespace() || b":.,+-@".contains(byte);
    if !text.iter().all(is_sign) {
        return Some("interval leaves signs out that it does not know".into());
    }
    // Years and months may have nothing but a hyphen between them.
    let is_counted = |at: usize| match text[at] {
        b'-' => at > 0 && text[at - 1].is_ascii_digit() && text.get(at + 1).is_some_and(u8::is_ascii_digit),
        byte => byte == b':' || byte.is_ascii_alphabetic(),
    };
    if text.iter().any(u8::is_ascii_digit) && !(0..text.len()).any(is_counted) {
        return Some("a number without a unit would be taken for seconds".into());
    }
    for (after, is_of_clock, fraction) in fractions(text).filter(|(_, _, fraction)| needed(fraction) > 0) {
        let after = after.trim_ascii_start();
        let unit: Vec<u8> = after.iter().take_while(|byte| byte.is_ascii_alphabetic()).map(u8::to_ascii_lowercase).collect();
        if !is_of_clock && !matches!(unit.as_slice(), b"" | b"s" | b"sec" | b"secs" | b"second" | b"seconds") {
            return Some("interval spreads a part of a unit over smaller ones".into());
        }
        if let Some(why) = more_digits(needed(fraction), digits) {
            return Some(why);
        }
    }
    let is_exponent = |at: usize| matches!(text[at], b'e' | b'E') && at > 0 && matches!(text[at - 1], b'0'..=b'9' | b'.');
    if (0..text.len()).any(is_exponent) {
        return Some("interval may round a number with an exponent".into());
    }
    let lower = text.to_ascii_lowercase();
    let has = |unit: &str| lower.windows(unit.len()).any(|window| window == unit.as_bytes());
    let is_small = digits < 6 && ["ms", "us", "msec", "usec", "milli", "micro"].into_iter().any(has);
    is_small.then(|| format!("interval({digits}) may round what is less than a second"))
}

/// Whole numbers, each with a unit that is no smaller than this one, and a clock that ends with it.
pub(super) fn is_of_fields(text: &[u8], smallest: Unit) -> bool {
    let Ok(text) = std::str::from_utf8(text) else { return false };
    let is_number = |word: &str| {
        let digits = word.strip_prefix(['-', '+']).unwrap_or(word);
        !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
    };
    let mut words = text.split_ascii_whitespace().peekable();
    let mut is_any = false;
    while let Some(word) = words.next() {
        is_any = true;
        let clock: Vec<&str> = word.split(':').collect();
        let is_kept = match clock.as_slice() {
            [number] => {
                is_number(number) && words.next().and_then(|unit| Unit::named(&unit.to_lowercase())).is_some_and(|unit| unit <= smallest)
            }
            [hours, cut @ ..] if smallest >= Unit::Hour => {
                let kept = usize::from(smallest == Unit::Minute);
                is_number(hours)
                    && cut.len() <= 2
                    && cut.iter().enumerate().all(|(at, part)| is_number(part) && (at < kept || part.bytes().all(|byte| byte == b'0')))
            }
            _ => false,
        };
        if !is_kept {
            return false;
        }
    }
    is_any
}
