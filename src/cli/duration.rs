//! Spans of time as they are typed: `60`, `60s`, `2m`, `1.5h`, `500ms`.

use std::time::Duration;

/// Reads one; a bare number is seconds.
pub fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is no span of time: write 60, 60s, 2m, 1h or 500ms");
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let number: f64 = text[..digits].parse().map_err(|_| wrong())?;
    let unit = match text[digits..].trim() {
        "" | "s" => 1.0,
        "ms" => 0.001,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        "d" => 86_400.0,
        _ => return Err(wrong()),
    };
    Duration::try_from_secs_f64(number * unit).map_err(|_| wrong())
}

/// Nothing that is done again and again waits longer: what is counted in milliseconds stays far from the end of its numbers.
const INTERVAL_MOST: Duration = Duration::from_secs(366 * 86_400);

/// One that time passes in.
pub fn interval(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        span if span < Duration::from_millis(100) => Err("an interval is at least 100ms".to_string()),
        span if span > INTERVAL_MOST => Err("an interval is at most 366d".to_string()),
        span => Ok(span),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_of_time() {
        for (text, milliseconds) in
            [("60", 60_000), ("60s", 60_000), ("2m", 120_000), ("1.5h", 5_400_000), ("500ms", 500), ("1d", 86_400_000)]
        {
            assert_eq!(duration(text), Ok(Duration::from_millis(milliseconds)), "{text}");
        }
        for text in ["", "x", "-1", "5y", "1e99d", "."] {
            assert!(duration(text).is_err(), "{text}");
        }
        assert!(interval("0").is_err() && interval("15s").is_ok() && interval("366d").is_ok());
        assert!(["367d", "99999999999d"].iter().all(|text| interval(text).unwrap_err().contains("at most 366d")));
    }
}
