//! `{{ $value }}` and `{{ $labels.NAME }}` in annotations, filled in as Prometheus does it, with its ways to write a number. More of Go's templates
//! is not understood here: it stays as it is written, and `rules check` says so.

use std::collections::BTreeMap;

/// One `{{ … }}`.
#[derive(Clone, Debug, PartialEq)]
enum Action<'a> {
    Value(Written),
    Label(&'a str),
}

/// How a number is written.
#[derive(Clone, Debug, PartialEq)]
enum Written {
    /// As Go prints it.
    Plain,
    Humanize,
    Humanize1024,
    Duration,
    Percentage,
    /// `printf "before%.2fafter"`: digits behind the point.
    Fixed(String, usize, String),
}

/// A text between templates, or one of them.
enum Part<'a> {
    Text(&'a str),
    /// With its braces, and what it means where that is known.
    Template(&'a str, Option<Action<'a>>),
}

/// `text` with what is known filled in. `value` is in Prometheus's units; a label that is not there is empty, as it is there.
pub fn filled(text: &str, value: f64, labels: &BTreeMap<String, String>) -> String {
    let said = |part: Part| match part {
        Part::Text(text) | Part::Template(text, None) => text.to_string(),
        Part::Template(_, Some(Action::Value(written))) => written.number(value),
        Part::Template(_, Some(Action::Label(name))) => labels.get(name).cloned().unwrap_or_default(),
    };
    parts(text).into_iter().map(said).collect()
}

/// `text` with those labels filled in that are a rule's own: Prometheus, which knows the labels of series alone, leaves them empty.
pub fn with_labels(text: &str, labels: &BTreeMap<String, String>) -> String {
    let said = |part: Part| match part {
        Part::Template(text, Some(Action::Label(name))) => labels.get(name).map_or(text.to_string(), Clone::clone),
        Part::Text(text) | Part::Template(text, _) => text.to_string(),
    };
    parts(text).into_iter().map(said).collect()
}

/// The templates in it that are not filled in here.
pub fn not_understood(text: &str) -> Vec<&str> {
    let unknown = |part| if let Part::Template(text, None) = part { Some(text) } else { None };
    parts(text).into_iter().filter_map(unknown).collect()
}

/// Every template in it.
pub fn all(text: &str) -> Vec<&str> {
    parts(text).into_iter().filter_map(|part| if let Part::Template(text, _) = part { Some(text) } else { None }).collect()
}

fn parts(text: &str) -> Vec<Part<'_>> {
    let (mut parts, mut rest) = (Vec::new(), text);
    while let Some(open) = rest.find("{{") {
        let Some(length) = rest[open..].find("}}").map(|end| end + 2) else { break };
        let template = &rest[open..open + length];
        parts.push(Part::Text(&rest[..open]));
        parts.push(Part::Template(template, action(&template[2..length - 2])));
        rest = &rest[open + length..];
    }
    parts.push(Part::Text(rest));
    parts
}

fn action(inside: &str) -> Option<Action<'_>> {
    let (what, how) = match inside.split_once('|') {
        None => (inside.trim(), None),
        Some((what, how)) => (what.trim(), Some(how.trim())),
    };
    let name = what.strip_prefix("$labels.").or(what.strip_prefix(".Labels."));
    if let Some(name) = name {
        let is_name = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        return (is_name && how.is_none()).then_some(Action::Label(name));
    }
    let is_value = |word: &str| matches!(word, "$value" | ".Value");
    if let Some(printed) = what.strip_prefix("printf ") {
        let (format, of) = printed.trim().rsplit_once(' ')?;
        return if is_value(of) && how.is_none() { Some(Action::Value(printf(format.trim())?)) } else { None };
    }
    if !is_value(what) {
        return None;
    }
    let written = match how {
        None => Written::Plain,
        Some("humanize") => Written::Humanize,
        Some("humanize1024") => Written::Humanize1024,
        Some("humanizeDuration") => Written::Duration,
        Some("humanizePercentage") => Written::Percentage,
        Some(how) => printf(how.strip_prefix("printf ")?.trim())?,
    };
    Some(Action::Value(written))
}

/// `"%.2f"`, with words around it.
fn printf(format: &str) -> Option<Written> {
    let inside = format.strip_prefix('"')?.strip_suffix('"')?;
    let (before, rest) = inside.split_once("%.")?;
    let digits = rest.find(|c: char| !c.is_ascii_digit())?;
    let after = rest[digits..].strip_prefix('f')?;
    let is_text = |text: &str| !text.replace("%%", "").contains(['%', '\\', '"']);
    let plain = |text: &str| text.replace("%%", "%");
    (is_text(before) && is_text(after)).then_some(Written::Fixed(
        plain(before),
        rest[..digits].parse().ok().filter(|n| *n < 20)?,
        plain(after),
    ))
}

impl Written {
    fn number(&self, value: f64) -> String {
        match self {
            Written::Plain => general(value, None),
            Written::Fixed(before, digits, after) => {
                let number = if value.is_finite() { format!("{value:.digits$}") } else { general(value, None) };
                format!("{before}{number}{after}")
            }
            Written::Percentage => format!("{}%", short(value * 100.0)),
            Written::Humanize if !value.is_finite() || value == 0.0 => short(value),
            Written::Humanize if value.abs() >= 1.0 => scaled(value, 1000.0, &["", "k", "M", "G", "T", "P", "E", "Z", "Y"]),
            Written::Humanize => lessened(value),
            Written::Humanize1024 if !value.is_finite() || value.abs() <= 1.0 => short(value),
            Written::Humanize1024 => scaled(value, 1024.0, &["", "ki", "Mi", "Gi", "Ti", "Pi", "Ei", "Zi", "Yi"]),
            Written::Duration if !value.is_finite() => short(value),
            Written::Duration if value == 0.0 => "0s".to_string(),
            Written::Duration if value.abs() < 1.0 => format!("{}s", lessened(value)),
            Written::Duration => duration(value),
        }
    }
}

/// Go's `%.4g`.
fn short(value: f64) -> String {
    general(value, Some(4))
}

fn scaled(value: f64, by: f64, prefixes: &[&str]) -> String {
    let mut value = value;
    let mut at = 0;
    while value.abs() >= by && at + 1 < prefixes.len() {
        value /= by;
        at += 1;
    }
    format!("{}{}", short(value), prefixes[at])
}

fn lessened(value: f64) -> String {
    let mut value = value;
    let mut prefix = "";
    for smaller in ["m", "u", "n", "p", "f", "a", "z", "y"] {
        if value.abs() >= 1.0 {
            break;
        }
        prefix = smaller;
        value *= 1000.0;
    }
    format!("{}{prefix}", short(value))
}

fn duration(value: f64) -> String {
    let whole = value.abs() as u64;
    let sign = if value < 0.0 { "-" } else { "" };
    let (days, hours, minutes, seconds) = (whole / 86_400, whole / 3600 % 24, whole / 60 % 60, whole % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{}s", short(value)),
        (0, 0, _) => format!("{sign}{minutes}m {seconds}s"),
        (0, ..) => format!("{sign}{hours}h {minutes}m {seconds}s"),
        _ => format!("{sign}{days}d {hours}h {minutes}m {seconds}s"),
    }
}

/// Go's `%g`: with so many digits, or with as many as tell the number apart from every other.
fn general(value: f64, digits: Option<usize>) -> String {
    if value.is_nan() {
        return "NaN".to_string();
    }
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.to_string();
    }
    let scientific = digits.map_or_else(|| format!("{value:e}"), |digits| format!("{value:.*e}", digits - 1));
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let sign = if mantissa.starts_with('-') { "-" } else { "" };
    let all: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    let significant = match all.trim_end_matches('0') {
        "" => "0",
        significant => significant,
    };
    let most = digits.map_or(6, |digits| digits as i32);
    if exponent < -4 || exponent >= most {
        let (first, rest) = significant.split_at(1);
        let point = if rest.is_empty() { "" } else { "." };
        let mark = if exponent < 0 { '-' } else { '+' };
        return format!("{sign}{first}{point}{rest}e{mark}{:02}", exponent.abs());
    }
    if exponent < 0 {
        return format!("{sign}0.{}{significant}", "0".repeat((-exponent - 1) as usize));
    }
    let whole = exponent as usize + 1;
    match significant.split_at_checked(whole) {
        Some((whole, "")) => format!("{sign}{whole}"),
        Some((whole, part)) => format!("{sign}{whole}.{part}"),
        None => format!("{sign}{significant}{}", "0".repeat(whole - significant.len())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str, value: f64) -> String {
        filled(text, value, &BTreeMap::from([("team".to_string(), "data".to_string())]))
    }

    #[test]
    fn what_prometheus_fills_in_is_filled_in() {
        for (text, value, wanted) in [
            ("{{ $value }} of {{$labels.team}}{{ .Labels.none }}!", 0.125, "0.125 of data!"),
            ("{{ $value | humanizePercentage }}", 0.012345, "1.234%"),
            ("{{ $value | humanizeDuration }}", 0.25, "250ms"),
            ("{{ .Value | humanizeDuration }}", 93_784.0, "1d 2h 3m 4s"),
            ("{{ $value | humanizeDuration }}", 61.5, "1m 1s"),
            ("{{ $value | humanize1024 }}", 250e6, "238.4Mi"),
            ("{{ $value | humanize }}", 1234.5, "1.234k"),
            ("{{ $value | humanize }}", 0.000_025, "25u"),
            ("{{ $value | printf \"%.2f\" }} {{ printf \"%.1f%%\" $value }}", 2.345, "2.35 2.3%"),
            ("{{ $value }}", f64::NAN, "NaN"),
            ("no {{ end", 1.0, "no {{ end"),
        ] {
            assert_eq!(said(text, value), wanted, "{text}");
        }
    }

    #[test]
    fn what_is_not_understood_stays_and_is_said() {
        let text = "{{ $value }} {{ query \"up\" }} {{ $labels.a | toUpper }} {{- $value }} {{ if gt $value 1.0 }}x{{ end }}";
        let unknown = ["{{ query \"up\" }}", "{{ $labels.a | toUpper }}", "{{- $value }}", "{{ if gt $value 1.0 }}", "{{ end }}"];
        assert_eq!(not_understood(text), unknown);
        assert_eq!(said(text, 1.5), text.replacen("{{ $value }}", "1.5", 1));
    }

    #[test]
    fn a_rules_own_labels_are_filled_in_for_prometheus() {
        let labels = BTreeMap::from([("team".to_string(), "data".to_string())]);
        assert_eq!(with_labels("{{ $labels.team }} {{ $labels.job }} {{ $value }}", &labels), "data {{ $labels.job }} {{ $value }}");
    }

    proptest::proptest! {
        #[test]
        fn no_text_and_no_number_panics(text in "[{} $.a-z|%\"f0-9]{0,40}", value: f64) {
            let _ = (said(&text, value), said(&format!("{{{{ $value{text} }}}}"), value), not_understood(&text));
            for how in ["humanize", "humanize1024", "humanizeDuration", "humanizePercentage", "printf \"%.3f\""] {
                said(&format!("{{{{ $value | {how} }}}}"), value);
            }
        }
    }
}
