//! The live view of `candlefish top`: what fires, charts, KPIs, alerts and statements, in as many rows as the terminal has.

use crate::monitor::{AlertReport, HistoryPoint, Shown, Status};
use crate::render::monitor::{clock, reason, shown, value_of, verdict};
use crate::render::table::visible;
use crate::render::{Ui, units};

/// The whole in a terminal of so many columns and rows.
pub fn top(ui: &Ui, status: &Status, history: &[HistoryPoint], (width, height): (usize, usize)) -> String {
    let is_narrow = width < 54;
    let room = height.saturating_sub(2).max(1);
    let mut lines = head(ui, status, width);
    let firing = status.firing();
    let mut others: Vec<&AlertReport> = status.alerts.iter().filter(|alert| alert.state != Shown::Firing).collect();
    others.sort_by_key(|alert| urgency(alert.state));
    let line = |alert: &&AlertReport| {
        let (state, name, said) = (alert.state.name(), visible(&alert.title()), value_of(alert));
        match is_narrow {
            true => format!("{state} {name} {said}"),
            false => format!("{state:<15} {name:<28} {said}{}", visible(&reason(alert))),
        }
    };
    // What fires is said first: no terminal is too short for it.
    let firing: Vec<String> = firing.iter().map(|alert| ui.alarm(&line(alert))).collect();
    lines.truncate(room.saturating_sub(firing.len().min(room / 2)).max(1));
    let sections = [firing, charts(history, width), kpis(status, width), others.iter().map(line).collect(), statements(ui, status)];
    let wanted = sections.each_ref().map(Vec::len);
    let gaps = wanted[1..].iter().filter(|wanted| **wanted > 0).count();
    let left = room - lines.len();
    // Empty lines stand where they take nobody's place.
    let is_spacious = wanted.iter().sum::<usize>() + gaps <= left;
    let rows = shares(&wanted, left);
    for (number, (section, rows)) in sections.into_iter().zip(rows).enumerate() {
        if is_spacious && number > 0 && !section.is_empty() {
            lines.push(String::new());
        }
        let (is_alert, all) = (number == 0 || number == 3, section.len());
        lines.extend(section.into_iter().take(rows));
        // That there are more alerts than are seen is itself to be seen.
        if is_alert && (1..all).contains(&rows) {
            lines.pop();
            let more = format!("… and {} more {}", all - rows + 1, if number == 0 { "that fire" } else { "alerts" });
            lines.push(if number == 0 { ui.alarm(&more) } else { more });
        }
    }
    if is_spacious {
        lines.push(String::new());
    }
    lines.push("q quits".to_string());
    lines.iter().map(|line| fit(line, width)).collect::<Vec<_>>().join("\x1b[K\r\n") + "\x1b[K\x1b[J"
}

/// What is watched, and what cannot be read of it.
fn head(ui: &Ui, status: &Status, width: usize) -> Vec<String> {
    let server = status.facts.server_version.as_ref().map_or(String::new(), |version| format!("  PostgreSQL {version}"));
    let mut lines = vec![format!("{}  {}{server}", ui.bold("candlefish top"), visible(&status.target))];
    let failed = status.sources.iter().filter(|source| source.state == "failed");
    lines.extend(failed.map(|source| {
        let why = visible(source.reason.as_deref().unwrap_or_default());
        ui.alarm(&format!("{} cannot be read: {why}", source.name))
    }));
    let mut state = vec![clock(status.at), format!("every {}", units::seconds(status.interval_seconds))];
    if let Some(connections) = &status.facts.connections {
        let number = |value: Option<f64>| value.map_or("?".to_string(), |value| format!("{value:.0}"));
        state.extend([
            format!("connections {}/{},", number(connections.used), number(connections.most)),
            format!("active {},", number(connections.active)),
            format!("idle in transaction {},", number(connections.idle_in_transaction)),
            format!("waiting for locks {}", number(connections.waiting_for_locks)),
        ]);
    }
    lines.extend(filled(&state, "  ", width));
    lines
}

/// A line a metric: its name, its value, how it went; the greatest where there is room for it.
fn charts(history: &[HistoryPoint], width: usize) -> Vec<String> {
    type Line = (&'static str, &'static str, fn(&HistoryPoint) -> Option<f64>);
    let rows: [Line; 8] = [
        ("mean time", "ms", |point| point.values["avg_query_time"]),
        ("p95", "ms", |point| point.values["p95"]),
        ("cache hits", "ratio", |point| point.values["cache_hit_ratio"]),
        ("pool", "ratio", |point| point.values["pool_usage"]),
        ("failures", "ratio", |point| point.values["error_rate"]),
        ("calls/s", "", |point| point.calls_per_s),
        ("connections", "", |point| point.connections),
        ("active", "", |point| point.active),
    ];
    let is_narrow = width < 54;
    let spark_width = width.saturating_sub(if is_narrow { 26 } else { 46 }).clamp(8, 60);
    let line = |(name, unit, of): Line| {
        let values: Vec<Option<f64>> = history.iter().map(of).collect();
        let greatest = shown(values.iter().flatten().copied().reduce(f64::max)?, unit);
        let now = values.last().copied().flatten().map_or("unknown".to_string(), |value| shown(value, unit));
        let most = if is_narrow { String::new() } else { format!("  most {greatest}") };
        Some(format!("{name:<12} {now:>10}  {}{most}", spark(&values, unit, spark_width)))
    };
    rows.into_iter().filter_map(line).collect()
}

/// The worst first.
fn kpis(status: &Status, width: usize) -> Vec<String> {
    let of = |word: &str| {
        let names = status.kpis.iter().filter(|kpi| verdict(kpi) == word).map(|kpi| kpi.name.to_string());
        let words: Vec<String> = [format!("KPIs {word}:")].into_iter().chain(names).collect();
        if words.len() > 1 { filled(&words, " ", width) } else { Vec::new() }
    };
    ["missed", "unknown", "met"].into_iter().flat_map(of).collect()
}

/// The statements that took the most time since the sample before.
fn statements(ui: &Ui, status: &Status) -> Vec<String> {
    if status.facts.slow_queries.is_empty() {
        return vec!["no statement was counted since the sample before".to_string()];
    }
    let mut lines = vec![ui.bold("    time/s    calls/s       mean  query")];
    for query in &status.facts.slow_queries {
        let number = |value: Option<f64>, unit: &str| value.map_or(String::new(), |value| shown(value, unit));
        let text = query.query.as_deref().unwrap_or("hidden from this user").split_whitespace().collect::<Vec<_>>().join(" ");
        lines.push(format!(
            "{:>10} {:>10} {:>10}  {}",
            number(query.total_ms_per_s, "ms"),
            number(query.calls_per_s, ""),
            number(query.mean_ms, "ms"),
            visible(&text)
        ));
    }
    lines
}

/// Rows for each who wants some: a row each in turn, the first first, until nobody wants any more or none is left.
fn shares<const N: usize>(wanted: &[usize; N], mut room: usize) -> [usize; N] {
    let mut shares = [0; N];
    while room > 0 && shares != *wanted {
        for (share, wanted) in shares.iter_mut().zip(wanted) {
            if *share < *wanted && room > 0 {
                *share += 1;
                room -= 1;
            }
        }
    }
    shares
}

/// The lower, the sooner somebody has to look.
fn urgency(state: Shown) -> u8 {
    match state {
        Shown::Firing => 0,
        Shown::Pending => 1,
        Shown::Unknown => 2,
        Shown::Resolved => 3,
        Shown::Inactive | Shown::NotApplicable => 4,
    }
}

/// Words in lines of so many columns.
fn filled(words: &[String], between: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in words {
        match lines.last_mut() {
            Some(line) if line.chars().count() + between.len() + word.chars().count() < width => {
                line.push_str(between);
                line.push_str(word);
            }
            _ => lines.push(word.clone()),
        }
    }
    lines
}

/// A line that does not wrap; what colours it takes no place.
fn fit(line: &str, width: usize) -> String {
    let (mut fitted, mut used, mut in_escape) = (String::new(), 0, false);
    for c in line.chars() {
        if c == '\x1b' {
            in_escape = true;
        }
        if in_escape {
            in_escape = !c.is_ascii_alphabetic();
            fitted.push(c);
        } else if c.is_control() {
            continue;
        } else if used + 1 < width {
            fitted.push(c);
            used += 1;
        }
    }
    fitted
}

/// The last values as blocks of eight heights; a gap where nothing was known.
fn spark(values: &[Option<f64>], unit: &str, width: usize) -> String {
    const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let last = &values[values.len().saturating_sub(width)..];
    let most = if unit == "ratio" { 1.0 } else { last.iter().flatten().copied().fold(f64::MIN_POSITIVE, f64::max) };
    let block = |value: &Option<f64>| value.map_or(' ', |value| BLOCKS[((value / most * 7.0).round().clamp(0.0, 7.0)) as usize]);
    let drawn: String = last.iter().map(block).collect();
    format!("{drawn:>width$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_fit_and_colours_take_no_place() {
        assert_eq!(fit("abcdef", 4), "abc");
        assert_eq!(fit("\x1b[1mabcdef\x1b[0m", 4), "\x1b[1mabc\x1b[0m");
        assert_eq!(filled(&["KPIs met:", "p50", "p95", "memory"].map(str::to_string), " ", 15), ["KPIs met: p50", "p95 memory"]);
    }

    #[test]
    fn gaps_stay_gaps() {
        assert_eq!(spark(&[Some(0.0), None, Some(1.0)], "ratio", 5), "  ▁ █");
        assert_eq!(spark(&[Some(5.0), Some(10.0)], "ms", 2), "▅█");
    }

    #[test]
    fn rows_are_shared_fairly() {
        assert_eq!(shares(&[4, 8, 3, 0, 11], 20), [4, 7, 3, 0, 6]);
        assert_eq!(shares(&[200, 8, 3, 4, 11], 20), [5, 4, 3, 4, 4]);
        assert_eq!(shares(&[1, 8, 3, 4, 11], 1), [1, 0, 0, 0, 0]);
        assert_eq!(shares(&[1, 2], 9), [1, 2]);
    }
}
