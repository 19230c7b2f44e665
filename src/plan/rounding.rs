//! What a type of PostgreSQL's own would round, cut or wrap without a word: such a value does not fit it.

use serde::{Deserialize, Serialize};

/// How a type changes values that it takes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rounding {
    /// `timestamp(3)`, `time(0)`, `interval(1)`: seconds keep so many digits after the point.
    Seconds(u8),
    /// `name`, `"char"`: texts are cut after so many bytes.
    Bytes(u8),
    /// `money`: two digits after the point, in most locales.
    Money,
    /// `oid`: 32 bits without a sign; less than 0 wraps around.
    Unsigned,
}

impl Rounding {
    /// Of a type as PostgreSQL writes it.
    pub fn of(sql: &str) -> Option<Self> {
        let lower = sql.trim().to_lowercase();
        match lower.as_str() {
            "name" => return Some(Rounding::Bytes(63)),
            "\"char\"" => return Some(Rounding::Bytes(1)),
            "money" => return Some(Rounding::Money),
            "oid" => return Some(Rounding::Unsigned),
            _ => {}
        }
        let (name, rest) = lower.split_once('(')?;
        let digits = rest.split(')').next()?.trim().parse().ok()?;
        let is_of_seconds =
            ["timestamp", "timestamptz", "time", "timetz", "interval"].contains(&name.trim()) || name.starts_with("interval ");
        is_of_seconds.then_some(Rounding::Seconds(digits))
    }

    /// Why the type would change the text; none when it does not.
    pub fn changes(self, text: &[u8]) -> Option<String> {
        match self {
            Rounding::Seconds(digits) => {
                (digits_of_seconds(text) > usize::from(digits)).then(|| format!("more than {digits} digits after the seconds' point"))
            }
            Rounding::Bytes(most) => (text.len() > usize::from(most)).then(|| format!("longer than {most} bytes")),
            Rounding::Money => {
                let fraction = text.split(|byte| *byte == b'.').nth(1).unwrap_or_default();
                let needed = fraction.iter().rposition(|byte| *byte != b'0').map_or(0, |last| last + 1);
                (needed > 2 || text.contains(&b'e')).then(|| "money keeps two digits after the point".to_string())
            }
            Rounding::Unsigned => {
                let fits = std::str::from_utf8(text).is_ok_and(|text| text.parse::<u32>().is_ok_and(|number| number.to_string() == text));
                (!fits).then(|| "not an integer of 0 to 4294967295".to_string())
            }
        }
    }
}

/// Digits that matter after the point of the seconds: after `hh:mm:ss`, or in a text without a colon (`1.5 seconds`) after any point.
fn digits_of_seconds(text: &[u8]) -> usize {
    let has_clock = text.contains(&b':');
    let mut most = 0;
    for at in (0..text.len()).filter(|at| text[*at] == b'.') {
        let of_seconds =
            !has_clock || text[..at].iter().rposition(|byte| !byte.is_ascii_digit()).is_some_and(|before| text[before] == b':');
        if of_seconds {
            let digits = text[at + 1..].iter().take_while(|byte| byte.is_ascii_digit()).count();
            let needed = text[at + 1..at + 1 + digits].iter().rposition(|byte| *byte != b'0').map_or(0, |last| last + 1);
            most = most.max(needed);
        }
    }
    most
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_known_by_their_names() {
        for (sql, rounding) in [
            ("timestamp(3) without time zone", Some(Rounding::Seconds(3))),
            ("timestamptz(0)", Some(Rounding::Seconds(0))),
            ("time(6) with time zone", Some(Rounding::Seconds(6))),
            ("interval day to second(2)", Some(Rounding::Seconds(2))),
            ("\"char\"", Some(Rounding::Bytes(1))),
            ("name", Some(Rounding::Bytes(63))),
            ("timestamp without time zone", None),
            ("numeric(5,2)", None),
            ("character(3)", None),
        ] {
            assert_eq!(Rounding::of(sql), rounding, "{sql}");
        }
    }

    #[test]
    fn what_a_type_changes_is_seen() {
        let changes = |rounding: Rounding, text: &str| rounding.changes(text.as_bytes()).is_some();
        for (text, digits) in
            [("2024-01-01 10:00:00.123456", 6), ("10:00:00.600+05:30", 1), ("10:00:00", 0), ("01.02.2024 10:00", 0), ("1.5 seconds", 1)]
        {
            assert_eq!(digits_of_seconds(text.as_bytes()), digits, "{text}");
        }
        assert!(changes(Rounding::Seconds(3), "10:00:00.1234") && !changes(Rounding::Seconds(3), "10:00:00.1230"));
        assert!(changes(Rounding::Money, "1.999") && changes(Rounding::Money, "1.0e+300") && !changes(Rounding::Money, "1.990"));
        assert!(
            changes(Rounding::Unsigned, "-1") && changes(Rounding::Unsigned, "4294967296") && !changes(Rounding::Unsigned, "4294967295")
        );
        assert!(changes(Rounding::Bytes(1), "ab") && !changes(Rounding::Bytes(1), "a"));
    }
}
