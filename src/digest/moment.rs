//! Times: read from SQLite's text by the calendar of `jiff`, and shown again.

use jiff::civil::{Date, date};
use jiff::{SignedDuration, Timestamp};

use crate::plan::SourceTz;

pub const MICROS_PER_DAY: i64 = 86_400_000_000;
/// Between 1970-01-01 and 2000-01-01, from which PostgreSQL counts.
pub const POSTGRES_EPOCH_DAYS: i64 = 10_957;

const EPOCH: Date = date(1970, 1, 1);

/// What a text says: a day, a time of day, minutes east of UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moment {
    pub days: Option<i64>,
    pub micros: Option<i64>,
    pub offset: Option<i64>,
}

/// `YYYY-MM-DD`, `HH:MM[:SS[.f…]]`, or both with a blank or a T between; after both an offset may follow.
pub fn read(text: &[u8]) -> Option<Moment> {
    let Some((day, rest)) = text.split_at_checked(10).filter(|(day, _)| day[4] == b'-') else {
        return Some(Moment { micros: Some(clock(text)?), ..Moment::default() });
    };
    let days = Some(day_number(day)?);
    let rest = match rest {
        [] => return Some(Moment { days, ..Moment::default() }),
        [b' ' | b'T' | b't', rest @ ..] => rest,
        _ => return None,
    };
    let end = rest.iter().position(|byte| !matches!(byte, b'0'..=b'9' | b':' | b'.')).unwrap_or(rest.len());
    let (time, zone) = rest.split_at(end);
    let offset = if zone.is_empty() { None } else { Some(offset(zone.trim_ascii_start())?) };
    Some(Moment { days, micros: Some(clock(time)?), offset })
}

impl Moment {
    /// Microseconds since 1970, as the clock on the wall showed them.
    pub fn local(&self) -> Option<i64> {
        Some(self.days? * MICROS_PER_DAY + self.micros.unwrap_or(0))
    }

    pub fn utc(&self) -> Option<i64> {
        Some(self.local()? - self.offset? * 60_000_000)
    }
}

/// What the digits say; none when any of them is no digit.
fn number(digits: &[u8]) -> Option<i64> {
    digits.iter().try_fold(0, |number, byte| byte.is_ascii_digit().then(|| number * 10 + i64::from(byte - b'0')))
}

fn day_number(text: &[u8]) -> Option<i64> {
    let [y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2] = *text else { return None };
    let year = number(&[y1, y2, y3, y4]).filter(|year| *year > 0)?;
    let (month, day) = (number(&[m1, m2])?, number(&[d1, d2])?);
    let date = Date::new(year as i16, month as i8, day as i8).ok()?;
    Some(date.duration_since(EPOCH).as_secs() / 86_400)
}

fn clock(text: &[u8]) -> Option<i64> {
    let [h1, h2, b':', m1, m2, ref seconds @ ..] = *text else { return None };
    let hour = number(&[h1, h2]).filter(|hour| *hour < 24)?;
    let minute = number(&[m1, m2]).filter(|minute| *minute < 60)?;
    let micros = match *seconds {
        [] => 0,
        [b':', s1, s2, ref fraction @ ..] => {
            let whole = number(&[s1, s2]).filter(|second| *second < 60)? * 1_000_000;
            match fraction {
                [] => whole,
                [b'.', fraction @ ..] => whole + microseconds(fraction)?,
                _ => return None,
            }
        }
        _ => return None,
    };
    Some((hour * 60 + minute) * 60_000_000 + micros)
}

/// Six decimals; any more must be zeros.
fn microseconds(fraction: &[u8]) -> Option<i64> {
    let (kept, beyond) = fraction.split_at(fraction.len().min(6));
    if kept.is_empty() || beyond.iter().any(|byte| *byte != b'0') {
        return None;
    }
    Some(number(kept)? * 10i64.pow(6 - kept.len() as u32))
}

/// `Z`, `UTC`, `±HH`, `±HHMM`, `±HH:MM`, below 16 hours; in minutes.
fn offset(text: &[u8]) -> Option<i64> {
    if text.eq_ignore_ascii_case(b"z") || text.eq_ignore_ascii_case(b"utc") {
        return Some(0);
    }
    let (sign, body) = match text {
        [b'-', body @ ..] => (-1, body),
        [b'+', body @ ..] => (1, body),
        _ => return None,
    };
    let (hours, minutes) = match *body {
        [h1, h2] => ([h1, h2], [b'0', b'0']),
        [h1, h2, m1, m2] | [h1, h2, b':', m1, m2] => ([h1, h2], [m1, m2]),
        _ => return None,
    };
    let (hours, minutes) = (number(&hours)?, number(&minutes)?);
    (hours < 16 && minutes < 60).then_some(sign * (hours * 60 + minutes))
}

/// A local time in UTC, found from that side: an offset is right when it is in force at the moment that it leads to. Where no offset or two
/// are right, the one before the change counts.
pub fn meant(local: i64, tz: &SourceTz) -> i64 {
    const HOUR: i64 = 3_600_000_000;
    let zone = match tz {
        SourceTz::Utc => return local,
        SourceTz::Offset(minutes) => return local - i64::from(*minutes) * 60_000_000,
        SourceTz::Zone(zone) => zone,
    };
    let offset_at = |utc: i64| {
        let moment = Timestamp::UNIX_EPOCH.saturating_add(SignedDuration::from_micros(utc)).unwrap_or(Timestamp::MAX);
        i64::from(zone.to_offset(moment).seconds()) * 1_000_000
    };
    // No offset is as large as a day.
    let (before, after) = (offset_at(local - 24 * HOUR), offset_at(local + 24 * HOUR));
    let right = |offset: &i64| offset_at(local - offset) == *offset;
    local - [before, after].into_iter().find(right).unwrap_or(before)
}

/// A day as people write it; days that the calendar of `jiff` does not reach are counted.
pub fn write_date(days: i64) -> String {
    let reached = i32::try_from(days).ok().and_then(|days| EPOCH.checked_add(jiff::Span::new().try_days(days).ok()?).ok());
    reached.map_or_else(|| format!("day {days} since 1970"), |date| date.to_string())
}

/// A time as people write it: `2024-01-02 03:04:05.6`.
pub fn write_timestamp(micros: i64) -> String {
    match Timestamp::from_microsecond(micros) {
        Ok(time) => jiff::tz::TimeZone::UTC.to_datetime(time).to_string().replace('T', " "),
        Err(_) => format!("{micros} µs since 1970"),
    }
}
