//! Times: read from SQLite's text by the calendar of `jiff`, and shown again.

use jiff::civil::{Date, date};

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
    let text = std::str::from_utf8(text).ok().filter(|text| text.is_ascii())?;
    let Some((day, rest)) = text.split_at_checked(10).filter(|(day, _)| day.as_bytes()[4] == b'-') else {
        return Some(Moment { micros: Some(clock(text)?), ..Moment::default() });
    };
    let days = Some(day_number(day)?);
    if rest.is_empty() {
        return Some(Moment { days, ..Moment::default() });
    }
    let rest = rest.strip_prefix([' ', 'T', 't'])?;
    let end = rest.find(|c: char| !c.is_ascii_digit() && c != ':' && c != '.').unwrap_or(rest.len());
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

/// A run of digits of exactly this length.
fn number(text: &str, length: usize) -> Option<i64> {
    (text.len() == length && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().ok())?
}

fn day_number(text: &str) -> Option<i64> {
    let mut parts = text.splitn(3, '-');
    let year = number(parts.next()?, 4).filter(|year| *year > 0)?;
    let (month, day) = (number(parts.next()?, 2)?, number(parts.next()?, 2)?);
    let date = Date::new(year as i16, month as i8, day as i8).ok()?;
    Some(date.duration_since(EPOCH).as_secs() / 86_400)
}

fn clock(text: &str) -> Option<i64> {
    let mut parts = text.splitn(3, ':');
    let hour = number(parts.next()?, 2).filter(|hour| *hour < 24)?;
    let minute = number(parts.next()?, 2).filter(|minute| *minute < 60)?;
    let mut micros = 0;
    if let Some(seconds) = parts.next() {
        let (second, fraction) = seconds.split_once('.').map_or((seconds, None), |(second, fraction)| (second, Some(fraction)));
        micros = number(second, 2).filter(|second| *second < 60)? * 1_000_000;
        if let Some(fraction) = fraction {
            micros += microseconds(fraction)?;
        }
    }
    Some((hour * 60 + minute) * 60_000_000 + micros)
}

/// Six decimals; any more must be zeros.
fn microseconds(fraction: &str) -> Option<i64> {
    if fraction.is_empty() || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let (kept, beyond) = fraction.split_at(fraction.len().min(6));
    let scale = 10i64.pow(6 - kept.len() as u32);
    beyond.bytes().all(|byte| byte == b'0').then(|| kept.parse::<i64>().ok())?.map(|micros| micros * scale)
}

/// `Z`, `UTC`, `±HH`, `±HHMM`, `±HH:MM`, below 16 hours; in minutes.
fn offset(text: &str) -> Option<i64> {
    if text.eq_ignore_ascii_case("z") || text.eq_ignore_ascii_case("utc") {
        return Some(0);
    }
    let (sign, body) = match text.strip_prefix('-') {
        Some(body) => (-1, body),
        None => (1, text.strip_prefix('+')?),
    };
    let (hours, minutes) = match body.len() {
        2 => (body, "00"),
        4 => body.split_at(2),
        _ => body.split_once(':')?,
    };
    let (hours, minutes) = (number(hours, 2)?, number(minutes, 2)?);
    (hours < 16 && minutes < 60).then_some(sign * (hours * 60 + minutes))
}

/// A day as people write it; days that the calendar of `jiff` does not reach are counted.
pub fn write_date(days: i64) -> String {
    let reached = i32::try_from(days).ok().and_then(|days| EPOCH.checked_add(jiff::Span::new().try_days(days).ok()?).ok());
    reached.map_or_else(|| format!("day {days} since 1970"), |date| date.to_string())
}

/// A time as people write it: `2024-01-02 03:04:05.6`.
pub fn write_timestamp(micros: i64) -> String {
    match jiff::Timestamp::from_microsecond(micros) {
        Ok(time) => jiff::tz::TimeZone::UTC.to_datetime(time).to_string().replace('T', " "),
        Err(_) => format!("{micros} µs since 1970"),
    }
}
