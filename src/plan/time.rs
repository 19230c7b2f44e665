//! Dates and times as people write them into SQLite's text. Strict: what is not surely a time stays text.

/// A date, a time of day, or both, with an offset when one was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Days since 1970-01-01.
    pub days: Option<i32>,
    /// Microseconds since midnight.
    pub micros: Option<i64>,
    /// Minutes east of UTC.
    pub offset: Option<i32>,
}

/// What was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MomentShape {
    Date,
    Time,
    Naive,
    Zoned,
}

pub const MICROS_PER_DAY: i64 = 86_400_000_000;
const MICROS_PER_SECOND: i64 = 1_000_000;

impl Moment {
    /// Reads `YYYY-MM-DD`, `HH:MM[:SS[.ffffff]]`, or both with a blank or `T` between, and after a time `Z`, `UTC`, `±HH:MM`, `±HHMM` or `±HH`.
    /// None for anything else, for days that no calendar has, for hour 24, for second 60, for year 0, and for more than six
    /// decimals of a second (unless the rest are zeros): PostgreSQL could not hold it exactly.
    pub fn parse(text: &[u8]) -> Option<Moment> {
        let mut rest = text;
        let mut moment = Moment { days: None, micros: None, offset: None };
        if rest.len() >= 10 && rest[4] == b'-' {
            moment.days = Some(date(&rest[..10])?);
            rest = &rest[10..];
            match rest.first() {
                None => return Some(moment),
                Some(b' ' | b'T' | b't') => rest = &rest[1..],
                Some(_) => return None,
            }
        }
        let (micros, tail) = time(rest)?;
        moment.micros = Some(micros);
        if !tail.is_empty() {
            // An offset on a bare time has no day to be counted from.
            moment.days?;
            moment.offset = Some(offset(tail)?);
        }
        Some(moment)
    }

    pub fn shape(&self) -> MomentShape {
        match (self.days, self.micros, self.offset) {
            (Some(_), None, _) => MomentShape::Date,
            (None, _, _) => MomentShape::Time,
            (Some(_), Some(_), None) => MomentShape::Naive,
            (Some(_), Some(_), Some(_)) => MomentShape::Zoned,
        }
    }

    /// Microseconds since 1970-01-01 00:00 as written, without regard to the offset; a bare date is its midnight.
    pub fn local_micros(&self) -> Option<i64> {
        Some(i64::from(self.days?) * MICROS_PER_DAY + self.micros.unwrap_or(0))
    }

    /// Microseconds since 1970-01-01 00:00 UTC; `None` without an offset.
    pub fn utc_micros(&self) -> Option<i64> {
        Some(self.local_micros()? - i64::from(self.offset?) * 60 * MICROS_PER_SECOND)
    }
}

fn digits(text: &[u8]) -> Option<i64> {
    text.iter().try_fold(0i64, |sum, byte| byte.is_ascii_digit().then(|| sum * 10 + i64::from(byte - b'0')))
}

fn date(text: &[u8]) -> Option<i32> {
    if text[7] != b'-' {
        return None;
    }
    let (year, month, day) = (digits(&text[..4])?, digits(&text[5..7])?, digits(&text[8..10])?);
    days_from_civil(year, month, day)
}

/// Days since 1970-01-01 in the proleptic Gregorian calendar; none where the calendar has no such day.
/// The algorithm is Howard Hinnant's `days_from_civil`.
fn days_from_civil(year: i64, month: i64, day: i64) -> Option<i32> {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let length = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        _ => return None,
    };
    if year < 1 || !(1..=length).contains(&day) {
        return None;
    }
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * (if month > 2 { month - 3 } else { month + 9 }) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    i32::try_from(era * 146_097 + day_of_era - 719_468).ok()
}

/// A time of day in microseconds, and what follows it.
fn time(text: &[u8]) -> Option<(i64, &[u8])> {
    if text.len() < 5 || text[2] != b':' {
        return None;
    }
    let (hour, minute) = (digits(&text[..2])?, digits(&text[3..5])?);
    if hour > 23 || minute > 59 {
        return None;
    }
    let mut micros = (hour * 60 + minute) * 60 * MICROS_PER_SECOND;
    let mut rest = &text[5..];
    if rest.first() == Some(&b':') {
        let second = digits(rest.get(1..3)?)?;
        if second > 59 {
            return None;
        }
        micros += second * MICROS_PER_SECOND;
        rest = &rest[3..];
        if rest.first() == Some(&b'.') {
            let length = rest[1..].iter().take_while(|byte| byte.is_ascii_digit()).count();
            let fraction = &rest[1..1 + length];
            if length == 0 || fraction.iter().skip(6).any(|digit| *digit != b'0') {
                return None;
            }
            let kept = &fraction[..length.min(6)];
            micros += digits(kept)? * 10i64.pow(6 - kept.len() as u32);
            rest = &rest[1 + length..];
        }
    }
    Some((micros, rest))
}

fn offset(text: &[u8]) -> Option<i32> {
    let text = text.trim_ascii_start();
    if text.eq_ignore_ascii_case(b"Z") || text.eq_ignore_ascii_case(b"UTC") {
        return Some(0);
    }
    let sign = match text.first()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let body = &text[1..];
    let (hours, minutes) = match (body.len(), body.get(2)) {
        (2, _) => (digits(body)?, 0),
        (4, _) => (digits(&body[..2])?, digits(&body[2..])?),
        (5, Some(b':')) => (digits(&body[..2])?, digits(&body[3..])?),
        _ => return None,
    };
    // PostgreSQL takes offsets below 16 hours.
    (hours < 16 && minutes < 60).then(|| sign * (hours * 60 + minutes) as i32)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn utc(text: &str) -> Option<i64> {
        let moment = Moment::parse(text.as_bytes())?;
        moment.utc_micros().or(moment.local_micros()).or(moment.micros)
    }

    #[test]
    fn what_is_surely_a_time_is_read() {
        for (text, micros) in [
            ("1970-01-01", 0),
            ("2024-01-02 03:04:05", 1_704_164_645_000_000),
            ("2024-01-02T03:04:05.123456Z", 1_704_164_645_123_456),
            ("2024-01-02T03:04:05+05:30", 1_704_144_845_000_000),
            ("2024-01-02 03:04:05.1", 1_704_164_645_100_000),
            ("2024-01-02 03:04:05.100000000 UTC", 1_704_164_645_100_000),
            ("2024-01-02 03:04", 1_704_164_640_000_000),
            ("0001-01-01", -62_135_596_800_000_000),
            ("9999-12-31 23:59:59.999999", 253_402_300_799_999_999),
            ("2024-02-29", 1_709_164_800_000_000),
            ("23:59", 86_340_000_000),
        ] {
            assert_eq!(utc(text), Some(micros), "{text}");
        }
    }

    #[test]
    fn what_is_not_stays_text() {
        for text in [
            "",
            "2024-1-2",
            "20240102",
            "2023-02-29",
            "2024-02-30",
            "0000-00-00",
            "0000-00-00 00:00:00",
            "24:00:00",
            "2024-01-02 24:00:00",
            "2024-01-02 03:04:60",
            "2024-01-02 03:04:05.1234567",
            "2024-01-02 03:04:05 CET",
            "2024-01-02  03:04:05",
            " 2024-01-02",
            "2024-01-02 ",
            "2024-01-02 03:04:05+99:00",
            "2024-01-02 03:04:05.",
            "12:00:00Z",
            "now",
        ] {
            assert_eq!(Moment::parse(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn shapes() {
        let shape = |text: &str| Moment::parse(text.as_bytes()).map(|moment| moment.shape());
        assert_eq!(shape("2024-01-02"), Some(MomentShape::Date));
        assert_eq!(shape("03:04"), Some(MomentShape::Time));
        assert_eq!(shape("2024-01-02 03:04"), Some(MomentShape::Naive));
        assert_eq!(shape("2024-01-02 03:04Z"), Some(MomentShape::Zoned));
    }
}
