//! Numbers as people read them: `4,182 rows`, `466 MB`, `1.3 s`, `2m 05s`.

use std::time::Duration;

/// `4182` is `4,182`.
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `4,182 rows`, `1 row`: the number with its noun, whose plural adds an `s`.
pub fn counted(number: u64, noun: &str) -> String {
    format!("{} {noun}{}", count(number), if number == 1 { "" } else { "s" })
}

/// Decimal units, as disks and networks have them: 1 MB is a million bytes.
pub fn bytes(number: u64) -> String {
    const UNITS: [&str; 6] = ["kB", "MB", "GB", "TB", "PB", "EB"];
    if number < 1000 {
        return format!("{number} B");
    }
    let mut scaled = number as f64 / 1000.0;
    let mut unit = 0;
    // 999.5 kB would be shown as 1000 kB: it is 1.0 MB.
    while scaled >= 999.5 && unit + 1 < UNITS.len() {
        scaled /= 1000.0;
        unit += 1;
    }
    // 9.95 rounds to 10.0, which is 10.
    if scaled < 9.95 { format!("{scaled:.1} {}", UNITS[unit]) } else { format!("{scaled:.0} {}", UNITS[unit]) }
}

/// `9.7 µs`, `0.4 ms`, `12 ms`, `1.3 s`, `42 s`, `2m 05s`, `3h 07m`.
pub fn duration(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    if seconds == 0.0 {
        "0 ms".to_string()
    } else if seconds < 0.000_009_95 {
        format!("{:.1} µs", seconds * 1e6)
    } else if seconds < 0.000_05 {
        format!("{:.0} µs", seconds * 1e6)
    } else if seconds < 0.009_95 {
        format!("{:.1} ms", seconds * 1000.0)
    } else if seconds < 0.999_5 {
        format!("{:.0} ms", seconds * 1000.0)
    } else if seconds < 9.95 {
        format!("{seconds:.1} s")
    } else if seconds < 59.5 {
        format!("{seconds:.0} s")
    } else {
        let whole = seconds.round() as u64;
        match whole {
            ..3600 => format!("{}m {:02}s", whole / 60, whole % 60),
            3600..172_800 => format!("{}h {:02}m", whole / 3600, whole % 3600 / 60),
            _ => format!("{}d {:02}h", whole / 86_400, whole % 86_400 / 3600),
        }
    }
}

/// The same for a report's `seconds`.
pub fn seconds(seconds: f64) -> String {
    duration(Duration::try_from_secs_f64(seconds).unwrap_or_default())
}

/// `51,300 rows/s`. No time has passed: no rate.
pub fn rows_per_second(rows: u64, time: Duration) -> Option<String> {
    per_second(rows, time).map(|rate| format!("{}/s", counted(rate, "row")))
}

/// `48 MB/s`.
pub fn bytes_per_second(number: u64, time: Duration) -> Option<String> {
    per_second(number, time).map(|rate| format!("{}/s", bytes(rate)))
}

/// A ratio 0..1 as `95.3 %`, below 1 % as `0.04 %`. Only all is `100 %`, and only nothing `0.0 %`: a rounded 99.99 % or 0.001 % would claim too much.
pub fn percent(ratio: f64) -> String {
    let percent = ratio * 100.0;
    match percent {
        100.0.. => format!("{percent:.0} %"),
        99.95..100.0 => "99.9 %".to_string(),
        0.005..0.995 => format!("{percent:.2} %").replace("0 %", " %"),
        percent if percent > 0.0 && percent < 0.005 => "<0.01 %".to_string(),
        _ => format!("{percent:.1} %"),
    }
}

fn per_second(number: u64, time: Duration) -> Option<u64> {
    let seconds = time.as_secs_f64();
    (seconds > 0.0).then(|| (number as f64 / seconds).round() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts() {
        for (number, text) in [(0, "0"), (999, "999"), (1000, "1,000"), (4182, "4,182"), (1_234_567, "1,234,567")] {
            assert_eq!(count(number), text);
        }
        assert_eq!(count(u64::MAX), "18,446,744,073,709,551,615");
        assert_eq!(counted(1, "row"), "1 row");
        assert_eq!(counted(0, "row"), "0 rows");
    }

    #[test]
    fn sizes() {
        let sizes =
            [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (9949, "9.9 kB"), (9_950, "10 kB"), (999_499, "999 kB"), (999_500, "1.0 MB")];
        for (number, text) in sizes {
            assert_eq!(bytes(number), text, "{number}");
        }
        assert_eq!(bytes(466_000_000), "466 MB");
        assert_eq!(bytes(u64::MAX), "18 EB");
    }

    #[test]
    fn durations() {
        let durations =
            [(0.0, "0 ms"), (0.0004, "0.4 ms"), (0.012, "12 ms"), (0.9996, "1.0 s"), (1.3, "1.3 s"), (9.96, "10 s"), (59.4, "59 s")];
        for (number, text) in durations {
            assert_eq!(seconds(number), text, "{number}");
        }
        assert_eq!(seconds(59.6), "1m 00s");
        assert_eq!(seconds(125.0), "2m 05s");
        assert_eq!(seconds(3599.7), "1h 00m");
        assert_eq!(seconds(11_220.0), "3h 07m");
        assert_eq!(seconds(3_600_000.0), "41d 16h");
    }

    #[test]
    fn rates() {
        assert_eq!(rows_per_second(102_600, Duration::from_secs(2)).as_deref(), Some("51,300 rows/s"));
        assert_eq!(bytes_per_second(96_000_000, Duration::from_secs(2)).as_deref(), Some("48 MB/s"));
        assert_eq!(rows_per_second(1, Duration::ZERO), None);
    }

    #[test]
    fn percents_are_rounded_but_never_up_to_all_or_down_to_nothing() {
        assert_eq!(percent(0.9999), "99.9 %");
        assert_eq!(percent(1.0), "100 %");
        assert_eq!(percent(0.0), "0.0 %");
        let shown = [0.9596, 0.9994, 0.99951, 0.0997, 0.00096, 0.001, 0.0004, 0.00001, 0.00994, 0.00996].map(percent);
        assert_eq!(shown, ["96.0 %", "99.9 %", "99.9 %", "10.0 %", "0.1 %", "0.1 %", "0.04 %", "<0.01 %", "0.99 %", "1.0 %"]);
    }
}
