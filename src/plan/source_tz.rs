//! Where times without an offset were written: an offset, or a zone by its name, with the rules of the IANA database that is built in.

use std::fmt;
use std::hash::{Hash, Hasher};

use jiff::civil::{Date, DateTime, Time, date};
use jiff::tz::{AmbiguousOffset, TimeZone, TimeZoneDatabase};
use serde::{Deserialize, Serialize};

use crate::plan::time::MICROS_PER_DAY;

/// What a time without an offset is counted from. Where clocks are put forward some local times never were, where they are put back some were
/// twice: both are read with the offset that held before the change (the first of the two; 02:30 that was skipped is 03:30), and said.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum SourceTz {
    #[default]
    Utc,
    /// Minutes east of UTC.
    Offset(i32),
    Zone(TimeZone),
}

/// Local times that a zone did not have exactly once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Odd {
    Twice,
    Never,
}

impl SourceTz {
    /// Reads `UTC`, `±HH:MM` or the name of a zone, such as `Europe/Berlin`.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.eq_ignore_ascii_case("utc") || text == "Z" {
            return Ok(SourceTz::Utc);
        }
        if let Some(minutes) = offset(text) {
            return Ok(if minutes == 0 { SourceTz::Utc } else { SourceTz::Offset(minutes) });
        }
        let database = TimeZoneDatabase::bundled();
        if let Ok(zone) = database.get(text) {
            return Ok(SourceTz::Zone(zone));
        }
        let names: Vec<String> = database.available().map(|name| name.to_string()).collect();
        let meant = crate::plan::mapping::closest(text, names.iter().map(String::as_str));
        let meant = meant.map_or(String::new(), |meant| format!("; did you mean `{meant}`?"));
        Err(format!("`{text}` is neither UTC, an offset such as +02:00, nor a zone such as Europe/Berlin{meant}"))
    }

    pub fn is_utc(&self) -> bool {
        matches!(self, SourceTz::Utc)
    }

    /// The zone, where its name decides anything.
    pub fn zone(&self) -> Option<&TimeZone> {
        if let SourceTz::Zone(zone) = self { Some(zone) } else { None }
    }

    /// Microseconds since 1970-01-01 00:00 on the clocks there, as microseconds since 1970-01-01 00:00 UTC.
    pub fn utc_micros(&self, local: i64) -> i64 {
        let seconds = match self {
            SourceTz::Utc => 0,
            SourceTz::Offset(minutes) => i64::from(*minutes) * 60,
            SourceTz::Zone(zone) => match zone.to_ambiguous_timestamp(civil(local)).offset() {
                AmbiguousOffset::Unambiguous { offset } => i64::from(offset.seconds()),
                AmbiguousOffset::Gap { before, .. } | AmbiguousOffset::Fold { before, .. } => i64::from(before.seconds()),
            },
        };
        local - seconds * 1_000_000
    }

    /// None for a time that was there once.
    pub fn odd(&self, local: i64) -> Option<Odd> {
        match self.zone()?.to_ambiguous_timestamp(civil(local)).offset() {
            AmbiguousOffset::Unambiguous { .. } => None,
            AmbiguousOffset::Gap { .. } => Some(Odd::Never),
            AmbiguousOffset::Fold { .. } => Some(Odd::Twice),
        }
    }
}

/// What stands on a calendar and a clock; times that text can hold are all within the years that the calendar has.
fn civil(local: i64) -> DateTime {
    const EPOCH: Date = date(1970, 1, 1);
    let day = jiff::Span::new().try_days(local.div_euclid(MICROS_PER_DAY)).ok().and_then(|days| EPOCH.checked_add(days).ok());
    let micros = local.rem_euclid(MICROS_PER_DAY);
    let time = Time::midnight().wrapping_add(jiff::SignedDuration::from_micros(micros));
    DateTime::from_parts(day.unwrap_or(if local < 0 { Date::MIN } else { Date::MAX }), time)
}

/// `±HH:MM`, `±HH`
fn offset(text: &str) -> Option<i32> {
    let (sign, rest) = match text.split_at_checked(1)? {
        ("+", rest) => (1, rest),
        ("-", rest) => (-1, rest),
        _ => return None,
    };
    let (hours, minutes) = rest.split_once(':').unwrap_or((rest, "0"));
    match (hours.parse::<i32>(), minutes.parse::<i32>()) {
        (Ok(hours @ 0..=15), Ok(minutes @ 0..=59)) => Some(sign * (hours * 60 + minutes)),
        _ => None,
    }
}

impl fmt::Display for SourceTz {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SourceTz::Utc => f.write_str("UTC"),
            SourceTz::Offset(minutes) => {
                let sign = if *minutes < 0 { '-' } else { '+' };
                write!(f, "{sign}{:02}:{:02}", minutes.abs() / 60, minutes.abs() % 60)
            }
            SourceTz::Zone(zone) => f.write_str(zone.iana_name().unwrap_or("UTC")),
        }
    }
}

impl PartialEq for SourceTz {
    fn eq(&self, other: &Self) -> bool {
        self.to_string() == other.to_string()
    }
}

impl Eq for SourceTz {}

impl Hash for SourceTz {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.to_string().hash(state);
    }
}

impl From<SourceTz> for String {
    fn from(tz: SourceTz) -> String {
        tz.to_string()
    }
}

impl TryFrom<String> for SourceTz {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        SourceTz::parse(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::time::Moment;

    fn local(text: &str) -> i64 {
        Moment::parse(text.as_bytes()).and_then(|moment| moment.local_micros()).expect("a time")
    }

    fn utc(zone: &str, text: &str) -> String {
        let micros = SourceTz::parse(zone).expect("a zone").utc_micros(local(text));
        jiff::Timestamp::from_microsecond(micros).expect("a moment").to_string()
    }

    #[test]
    fn clocks_that_are_changed_are_read_with_the_offset_before_the_change() {
        assert_eq!(utc("Europe/Berlin", "2024-01-15 12:00"), "2024-01-15T11:00:00Z");
        assert_eq!(utc("Europe/Berlin", "2024-07-15 12:00"), "2024-07-15T10:00:00Z");
        assert_eq!(utc("Europe/Berlin", "2024-03-31 02:30"), "2024-03-31T01:30:00Z", "skipped: 02:30 +01 is 03:30 +02");
        assert_eq!(utc("Europe/Berlin", "2024-03-31 03:00"), "2024-03-31T01:00:00Z");
        assert_eq!(utc("Europe/Berlin", "2024-10-27 02:30"), "2024-10-27T00:30:00Z", "twice: the first, summer time");
        assert_eq!(utc("Europe/Berlin", "2024-10-27 03:00"), "2024-10-27T02:00:00Z");
        assert_eq!(utc("america/new_york", "2024-11-03 01:30:00.25"), "2024-11-03T05:30:00.25Z");
        assert_eq!(utc("Australia/Lord_Howe", "2024-04-07 01:45"), "2024-04-06T14:45:00Z", "half an hour");
        assert_eq!(utc("Pacific/Apia", "2011-12-30 12:00"), "2011-12-30T22:00:00Z", "a day that never was");
        let berlin = SourceTz::parse("Europe/Berlin").expect("a zone");
        assert_eq!(berlin.odd(local("2024-03-31 02:30")), Some(Odd::Never));
        assert_eq!(berlin.odd(local("2024-10-27 02:30")), Some(Odd::Twice));
        assert_eq!(berlin.odd(local("2024-10-27 03:00")), None);
        // What stands for "for ever" has a moment too, and so has the first day of all.
        assert_eq!(berlin.utc_micros(local("9999-12-31 23:59:59")), local("9999-12-31 22:59:59"));
        assert!(berlin.utc_micros(local("0001-01-01")) < local("0001-01-01"));
    }

    #[test]
    fn zones_are_said_as_they_are_read() {
        for (text, said) in [("utc", "UTC"), ("+00:00", "UTC"), ("-05:30", "-05:30"), ("+2", "+02:00"), ("europe/berlin", "Europe/Berlin")]
        {
            assert_eq!(SourceTz::parse(text).map(|tz| tz.to_string()), Ok(said.to_string()));
        }
        let wrong = SourceTz::parse("Europe/Berln").expect_err("no zone");
        assert!(wrong.ends_with("did you mean `Europe/Berlin`?"), "{wrong}");
        assert!(SourceTz::parse("+16:00").is_err() && SourceTz::parse("").is_err() && SourceTz::parse("CETDST").is_err());
    }
}
