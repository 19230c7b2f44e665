//! Numbers and spans in the notes of statistics, as one says them.

/// `1 session`, `2 sessions`: the number with its noun, whose plural adds an `s`.
pub fn counted(number: u64, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

/// In seconds.
pub(super) const DAY: f64 = 86_400.0;

/// `42 seconds`, `3 minutes`, `5.2 hours`, `1 day`.
pub fn span(seconds: f64) -> String {
    let (number, unit) = match seconds {
        ..59.5 => (format!("{seconds:.0}"), "second"),
        ..3570.0 => (format!("{:.0}", seconds / 60.0), "minute"),
        ..DAY => (format!("{:.1}", seconds / 3600.0), "hour"),
        _ => (format!("{:.1}", seconds / DAY), "day"),
    };
    let number = number.trim_end_matches(".0");
    format!("{number} {unit}{}", if number == "1" { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_said_as_one_says_them() {
        let said = [0.0, 1.0, 59.6, 90.0, 3569.0, 3580.0, 7300.0, DAY, 12.54 * DAY].map(span);
        assert_eq!(said, ["0 seconds", "1 second", "1 minute", "2 minutes", "59 minutes", "1 hour", "2 hours", "1 day", "12.5 days"]);
    }

    #[test]
    fn one_is_no_plural() {
        assert_eq!([0, 1, 2].map(|number| counted(number, "session")), ["0 sessions", "1 session", "2 sessions"]);
    }
}
