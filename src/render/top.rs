//! The live view of `candlefish top`: what cannot be read, what fires, charts, KPIs, alerts and statements, in as many rows as the terminal has.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::monitor::{AlertReport, HistoryPoint, Shown, Status};
use crate::render::columns::{columns_of, cut, filled};
use crate::render::monitor::{clock, shown, value_of, verdict};
use crate::render::table::visible;
use crate::render::{Ui, units};

/// A terminal of fewer columns has room for little beside names and values.
const NARROW: usize = 54;

/// How long a sample may take before it is said that it is waited for.
const PATIENCE: Duration = Duration::from_secs(2);

/// What is drawn: the last sample, those before it, and since when a source has not been read.
pub struct View {
    target: String,
    last: Option<(Status, Vec<HistoryPoint>)>,
    /// Milliseconds since 1970.
    failed_since: BTreeMap<&'static str, i64>,
}

/// A line, and how it is marked for those who see colour.
struct Line {
    text: String,
    mark: Mark,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mark {
    None,
    Heading,
    Alarm,
}

fn plain(text: impl Into<String>) -> Line {
    Line { text: text.into(), mark: Mark::None }
}

fn alarm(text: impl Into<String>) -> Line {
    Line { text: text.into(), mark: Mark::Alarm }
}

impl View {
    /// `target` is what is watched, without secrets.
    pub fn new(target: &str) -> Self {
        View { target: target.to_string(), last: None, failed_since: BTreeMap::new() }
    }

    pub fn take<'a>(&mut self, status: Status, history: impl Iterator<Item = &'a HistoryPoint>) {
        self.failed_since.retain(|name, _| status.sources.iter().any(|source| source.name == *name && source.state == "failed"));
        for source in status.sources.iter().filter(|source| source.state == "failed") {
            self.failed_since.entry(source.name).or_insert(status.at);
        }
        self.last = Some((status, history.cloned().collect()));
    }

    /// The whole in a terminal of so many columns and rows. `asked`: how long the next sample has been waited for.
    pub fn frame(&self, ui: &Ui, (width, height): (usize, usize), asked: Duration) -> String {
        // A full line wraps on some terminals.
        let width = width.saturating_sub(1).max(10);
        let lines = match &self.last {
            Some((status, history)) => Frame { status, history, failed_since: &self.failed_since, asked, width }.lines(height),
            None => vec![plain(format!("{}: not read yet", visible(&self.target))), plain("q quits")],
        };
        let marked = |line: &Line| {
            let text = cut(&line.text, width);
            match line.mark {
                Mark::None => text,
                Mark::Heading => ui.bold(&text),
                Mark::Alarm => ui.alarm(&text),
            }
        };
        lines.iter().map(marked).collect::<Vec<_>>().join("\x1b[K\r\n") + "\x1b[K\x1b[J"
    }
}

struct Frame<'a> {
    status: &'a Status,
    history: &'a [HistoryPoint],
    failed_since: &'a BTreeMap<&'static str, i64>,
    asked: Duration,
    width: usize,
}

impl Frame<'_> {
    fn is_narrow(&self) -> bool {
        self.width < NARROW
    }

    fn lines(&self, height: usize) -> Vec<Line> {
        let room = height.saturating_sub(1).max(1);
        let firing = self.status.firing();
        let mut others: Vec<&AlertReport> = self.status.alerts.iter().filter(|alert| alert.state != Shown::Firing).collect();
        others.sort_by_key(|alert| urgency(alert.state));
        let firing_lines: Vec<Line> = match firing.is_empty() {
            true => vec![plain(none_fires(self.status))],
            false => self.alerts(&firing).into_iter().map(alarm).collect(),
        };
        let sections = [
            firing_lines,
            self.charts().into_iter().map(plain).collect(),
            self.kpis().into_iter().map(plain).collect(),
            self.alerts(&others).into_iter().map(plain).collect(),
            self.statements(),
        ];
        // No terminal is too short for what fires.
        let mut lines = self.head();
        lines.truncate(room.saturating_sub(firing.len().clamp(1, room.div_ceil(2))).max(1));
        let left = room - lines.len();
        let mut wanted = sections.each_ref().map(Vec::len);
        let gaps = wanted[1..].iter().filter(|wanted| **wanted > 0).count() + 1;
        // Empty lines stand where they take nobody's place.
        let is_spacious = wanted.iter().sum::<usize>() + gaps <= left;
        let mut rows = shares(&wanted, left);
        // What has no room for all of its lines says it in one.
        if rows[2] < wanted[2] {
            wanted[2] = 1;
            rows = shares(&wanted, left);
        }
        for (number, (mut section, rows)) in sections.into_iter().zip(rows).enumerate() {
            if rows == 0 {
                continue;
            }
            if is_spacious && number > 0 {
                lines.push(plain(""));
            }
            let is_cut = rows < section.len();
            match number {
                // That there are more alerts than are seen is itself to be seen.
                0 if is_cut => {
                    section.truncate(rows - 1);
                    section.push(alarm(more_fire(&firing, rows - 1)));
                }
                2 if is_cut => section = vec![plain(self.kpis_in_a_line())],
                3 if is_cut => {
                    section.truncate(rows - 1);
                    section.push(plain(more_alerts(&others[rows - 1..], rows > 1)));
                }
                4 if rows == 1 && is_cut => section = self.slowest_in_a_line().into_iter().collect(),
                _ => section.truncate(rows),
            }
            lines.append(&mut section);
        }
        if is_spacious {
            lines.push(plain(""));
        }
        lines.push(plain("q quits"));
        lines
    }

    /// What is watched, and what cannot be read of it.
    fn head(&self) -> Vec<Line> {
        let (status, width) = (self.status, self.width);
        let connections = status.facts.connections.as_ref();
        let number = |value: Option<f64>| value.map_or("?".to_string(), |value| format!("{value:.0}"));
        let mut lines: Vec<Line>;
        if self.is_narrow() {
            // The time of day, and of the address what tells servers apart.
            let at = clock(status.at);
            let (_, place) = status.target.split_once("://").unwrap_or(("", &status.target));
            let place = place.split_once('@').map_or(place, |(_, place)| place);
            lines = vec![Line { text: format!("{}  {}", time_of(&at), visible(place)), mark: Mark::Heading }];
        } else {
            let version = status.facts.server_version.as_ref().map(|version| format!("PostgreSQL {version}"));
            let mut words = vec!["candlefish top".to_string(), visible(&status.target)];
            words.extend(version);
            words.extend([clock(status.at), format!("every {}", units::seconds(status.interval_seconds))]);
            lines = filled(&words, "  ", width).into_iter().map(|text| Line { text, mark: Mark::Heading }).collect();
        }
        if self.asked >= PATIENCE {
            lines.push(alarm(format!("this is old: for {} no answer to the next question", units::duration(self.asked))));
        }
        let most = if self.is_narrow() { 3 } else { 2 };
        lines.extend(self.failures().iter().flat_map(|said| wrapped(said, width, most)).map(alarm));
        if let Some(connections) = connections {
            let mut words = vec![
                format!("connections {}/{}", number(connections.used), number(connections.most)),
                format!("active {}", number(connections.active)),
            ];
            let others = [("waiting for locks", connections.waiting_for_locks), ("idle in transaction", connections.idle_in_transaction)];
            // Where there is little room, what is none goes without saying.
            let said = others.into_iter().filter(|(_, value)| !self.is_narrow() || *value != Some(0.0));
            words.extend(said.map(|(name, value)| format!("{name} {}", number(value))));
            lines.extend(filled(&words, "  ", width).into_iter().map(plain));
        }
        lines
    }

    /// A sentence each reason: which sources cannot be read, since when, and why.
    fn failures(&self) -> Vec<String> {
        let mut by_reason: Vec<(&str, Vec<&'static str>)> = Vec::new();
        for source in self.status.sources.iter().filter(|source| source.state == "failed") {
            let why = source.reason.as_deref().unwrap_or_default();
            match by_reason.iter_mut().find(|(there, _)| *there == why) {
                Some((_, names)) => names.push(source.name),
                None => by_reason.push((why, vec![source.name])),
            }
        }
        let said = |(why, names): (&str, Vec<&'static str>)| {
            let since = names.iter().filter_map(|name| self.failed_since.get(name)).min().copied().unwrap_or(self.status.at);
            format!("{} cannot be read {}: {}", names.join(", "), self.since(since), visible(why))
        };
        by_reason.into_iter().map(said).collect()
    }

    /// `since 08:12:40Z (1m 05s)`
    fn since(&self, at: i64) -> String {
        let long = units::seconds((self.status.at - at).max(0) as f64 / 1000.0);
        format!("since {} ({long})", time_of(&clock(at)))
    }

    /// A line an alert: its state, how severe it is when it fires, its name, its value, and its condition or why it has no value.
    fn alerts(&self, alerts: &[&AlertReport]) -> Vec<String> {
        let state = |alert: &AlertReport| match alert.state {
            Shown::Firing => format!("firing {}", visible(&alert.severity)),
            state => state.name().replace('_', " "),
        };
        if self.is_narrow() {
            let line = |alert: &&AlertReport| {
                let (state, value) = (alert.state.name().replace('_', " "), value_of(alert));
                let room = self.width.saturating_sub(columns_of(&state) + columns_of(&value) + 2);
                format!("{state} {} {value}", cut(&visible(&alert.title()), room.max(8)))
            };
            return alerts.iter().map(line).collect();
        }
        // The same columns for all, whether they fire or not.
        let all = &self.status.alerts;
        let widest = |of: &dyn Fn(&AlertReport) -> String| all.iter().map(|alert| columns_of(&of(alert))).max().unwrap_or(0);
        let state_width = widest(&state).min(16);
        let name_width = widest(&|alert| visible(&alert.title())).min(self.width / 3);
        let value_width = widest(&value_of).min(12);
        let line = |alert: &&AlertReport| {
            let told = match (&alert.reason, alert.value) {
                (None, _) => alert.condition.clone(),
                (Some(reason), None) => reason.clone(),
                (Some(reason), Some(_)) => format!("{}: {reason}", alert.condition),
            };
            let (state, name) = (padded(&state(alert), state_width), padded(&visible(&alert.title()), name_width));
            format!("{state}  {name}  {:>value_width$}  {}", value_of(alert), visible(&told))
        };
        alerts.iter().map(line).collect()
    }

    /// A line a metric: its name, its value, how it went; the greatest where there is room for it.
    fn charts(&self) -> Vec<String> {
        type Row = (&'static str, &'static str, fn(&HistoryPoint) -> Option<f64>);
        let rows: [Row; 8] = [
            ("mean time", "ms", |point| point.values["avg_query_time"]),
            ("p95", "ms", |point| point.values["p95"]),
            ("cache hits", "ratio", |point| point.values["cache_hit_ratio"]),
            ("pool", "ratio", |point| point.values["pool_usage"]),
            ("failures", "ratio", |point| point.values["error_rate"]),
            ("calls/s", "", |point| point.calls_per_s),
            ("connections", "", |point| point.connections),
            ("active", "", |point| point.active),
        ];
        let spark_width = self.width.saturating_sub(if self.is_narrow() { 25 } else { 45 }).clamp(8, 60);
        let line = |(name, unit, of): Row| {
            let values: Vec<Option<f64>> = self.history.iter().map(of).collect();
            let greatest = shown(values.iter().flatten().copied().reduce(f64::max)?, unit);
            let now = values.last().copied().flatten().map_or("unknown".to_string(), |value| shown(value, unit));
            let most = if self.is_narrow() { String::new() } else { format!("  most {greatest}") };
            Some(format!("{name:<12} {now:>10}  {}{most}", spark(&values, unit, spark_width)))
        };
        rows.into_iter().filter_map(line).collect()
    }

    /// The worst first; of what was missed by how much.
    fn kpis(&self) -> Vec<String> {
        let of = |word: &str| {
            let of_word = self.status.kpis.iter().filter(|kpi| verdict(kpi) == word);
            let said = of_word.map(|kpi| match kpi.value.filter(|_| word == "missed") {
                Some(value) => {
                    format!("{} {} (target {} {})", kpi.name, shown(value, kpi.unit), kpi.comparison, shown(kpi.target, kpi.unit))
                }
                None => kpi.name.to_string(),
            });
            let words: Vec<String> = [format!("KPIs {word}:")].into_iter().chain(said).collect();
            if words.len() > 1 { filled(&words, "  ", self.width) } else { Vec::new() }
        };
        ["missed", "unknown", "met"].into_iter().flat_map(of).collect()
    }

    /// `KPIs: 2 missed (l1_hit_ratio l2_hit_ratio), 6 met`
    fn kpis_in_a_line(&self) -> String {
        let of = |word: &str| {
            let names: Vec<&str> = self.status.kpis.iter().filter(|kpi| verdict(kpi) == word).map(|kpi| kpi.name).collect();
            let said = if word == "missed" { format!(" ({})", names.join(" ")) } else { String::new() };
            (!names.is_empty()).then(|| format!("{} {word}{said}", names.len()))
        };
        format!("KPIs: {}", ["missed", "unknown", "met"].into_iter().filter_map(of).collect::<Vec<_>>().join(", "))
    }

    /// The statements that took the most time since the sample before; where there are none, whether that is known.
    fn statements(&self) -> Vec<Line> {
        let facts = &self.status.facts;
        if facts.slow_queries.is_empty() {
            return vec![plain(self.no_statements())];
        }
        let header = if self.is_narrow() { "    time/s  query" } else { "    time/s    calls/s       mean  query" };
        let mut lines = vec![Line { text: header.to_string(), mark: Mark::Heading }];
        for query in &facts.slow_queries {
            let number = |value: Option<f64>, unit: &str| value.map_or(String::new(), |value| shown(value, unit));
            let time = number(query.total_ms_per_s, "ms");
            let text = said_by(query.query.as_deref());
            lines.push(plain(match self.is_narrow() {
                true => format!("{time:>10}  {text}"),
                false => format!("{time:>10} {:>10} {:>10}  {text}", number(query.calls_per_s, ""), number(query.mean_ms, "ms")),
            }));
        }
        lines
    }

    fn slowest_in_a_line(&self) -> Option<Line> {
        let query = self.status.facts.slow_queries.first()?;
        let time = query.total_ms_per_s.map_or(String::new(), |time| format!("{}/s ", shown(time, "ms")));
        Some(plain(format!("slowest: {time}{}", said_by(query.query.as_deref()))))
    }

    fn no_statements(&self) -> String {
        let source = self.status.sources.iter().find(|source| source.name == "pg_stat_statements");
        match source.map(|source| (source.state, source.reason.as_deref().unwrap_or_default())) {
            // Why stands above.
            Some(("failed", _)) => {
                let since = self.failed_since.get("pg_stat_statements").copied().unwrap_or(self.status.at);
                format!("statements cannot be read {}", self.since(since))
            }
            Some(("there", _)) if self.history.len() < 2 => "statements are counted from this sample on".to_string(),
            Some(("there", _)) => "no statement was counted since the sample before".to_string(),
            Some((_, why)) => format!("statements are not known: {}", visible(why)),
            None => "statements are not known".to_string(),
        }
    }
}

fn said_by(query: Option<&str>) -> String {
    visible(&query.unwrap_or("hidden from this user").split_whitespace().collect::<Vec<_>>().join(" "))
}

/// `08:12:40Z` of `2026-11-30T08:12:40Z`.
fn time_of(clock: &str) -> &str {
    clock.split_once('T').map_or(clock, |(_, time)| time)
}

fn padded(text: &str, width: usize) -> String {
    let text = cut(text, width);
    let room = width.saturating_sub(columns_of(&text));
    format!("{text}{}", " ".repeat(room))
}

/// A sentence in so many lines at most.
fn wrapped(text: &str, width: usize, most: usize) -> Vec<String> {
    let words: Vec<String> = text.split(' ').map(str::to_string).collect();
    let mut lines = filled(&words, " ", width);
    if lines.len() > most {
        let rest = lines.split_off(most - 1).join(" ");
        lines.push(cut(&rest, width));
    }
    lines
}

/// `no alert fires; 2 are unknown`: what nobody could judge is no good news.
fn none_fires(status: &Status) -> String {
    let unknown = status.alerts.iter().filter(|alert| matches!(alert.state, Shown::Unknown | Shown::NotApplicable)).count();
    match unknown {
        0 => "no alert fires".to_string(),
        all if all == status.alerts.len() => "no alert could be judged".to_string(),
        unknown => format!("no alert fires; {unknown} of {} not judged", status.alerts.len()),
    }
}

fn more_fire(firing: &[&AlertReport], seen: usize) -> String {
    let names: Vec<String> = firing[seen..].iter().map(|alert| visible(&alert.title())).collect();
    match seen {
        0 => format!("{} alerts fire: {}", firing.len(), names.join(", ")),
        _ => format!("… and {} more that fire: {}", names.len(), names.join(", ")),
    }
}

/// `… and 4 more alerts: 1 pending, 3 inactive`
fn more_alerts(unseen: &[&AlertReport], some_are_seen: bool) -> String {
    let states = [Shown::Pending, Shown::Unknown, Shown::Resolved, Shown::Inactive, Shown::NotApplicable];
    let count = |state: Shown| unseen.iter().filter(|alert| alert.state == state).count();
    let counts: Vec<String> = states
        .into_iter()
        .filter(|state| count(*state) > 0)
        .map(|state| format!("{} {}", count(state), state.name().replace('_', " ")))
        .collect();
    let alerts = if unseen.len() == 1 { "alert" } else { "alerts" };
    match some_are_seen {
        true => format!("… and {} more {alerts}: {}", unseen.len(), counts.join(", ")),
        false => format!("{alerts}: {}", counts.join(", ")),
    }
}

/// Rows for each who wants some: the first (what fires) has two thirds if it wants; then the others a row each in turn, until nobody wants any more or
/// none is left; then the first has the rest.
fn shares<const N: usize>(wanted: &[usize; N], mut room: usize) -> [usize; N] {
    let mut shares = [0; N];
    shares[0] = wanted[0].min((room * 2).div_ceil(3));
    room -= shares[0];
    while room > 0 && shares[1..] != wanted[1..] {
        for (share, wanted) in shares[1..].iter_mut().zip(&wanted[1..]) {
            if *share < *wanted && room > 0 {
                *share += 1;
                room -= 1;
            }
        }
    }
    shares[0] = wanted[0].min(shares[0] + room);
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
mod tests;
