//! What a person sees: a frame for a terminal of any size, and the same as one line.

use std::time::{Duration, Instant};

use super::count::{Busy, Count, Work};
use crate::model::Phase;
use crate::render::columns::{columns_of, cut};
use crate::render::{units, visible};

/// Busy tables and objects with a line of their own; more are counted.
const MOST_LINES: usize = 8;
/// A longer bar says no more.
const WIDEST_BAR: usize = 32;
const NARROWEST_BAR: usize = 6;

/// The head line and one line for each busy table and object, none wider than the terminal.
pub fn frame(count: &mut Count, now: Instant, columns: usize, lines: usize, color: bool) -> String {
    // A full line may wrap on some terminals.
    let width = columns.saturating_sub(1).max(10);
    let Some(phase) = count.current() else { return String::new() };
    let since = now - count.phase_since;
    let (made, tables) = (count.objects_made, count.work.get(&phase).map(|work| (work.tables_done, work.tables)));
    let mut text = match count.work.get_mut(&phase).filter(|work| work.rows > 0 && !work.ended) {
        Some(work) => head(phase, work, now, width, color),
        None => {
            let mut parts = vec![units::duration(since)];
            if matches!(phase, Phase::Indexes | Phase::Constraints | Phase::Views) && made > 0 {
                parts.push(format!("{} made", units::counted(made, "object")));
            }
            cut(&format!("{:<11} {}  {}", phase.as_str(), spinner(since), parts.join("  ")), width)
        }
    };
    let below = below(count, now, width, color, tables.is_some());
    let room = lines.saturating_sub(2).min(MOST_LINES);
    let shown = if below.len() > room { room.saturating_sub(1) } else { below.len() };
    for line in &below[..shown] {
        text.push('\n');
        text.push_str(line);
    }
    if below.len() > shown && room > 0 {
        text.push_str(&format!("\n  and {} more", below.len() - shown));
    }
    text
}

/// `copy: 62 %, 3,131,000 of 5,050,000 rows, 48 MB/s, 12 s left; 1 of 7 tables; health_metrics 55 %; index orders_by_day 4.2 s`
pub fn line(count: &mut Count, now: Instant) -> Option<String> {
    let phase = count.current()?;
    let since = now - count.phase_since;
    let mut parts = Vec::new();
    match count.work.get_mut(&phase).filter(|work| work.rows > 0 && !work.ended) {
        Some(work) => {
            let mut said = facts(work, now);
            said.sort_by_key(|(_, place)| *place);
            parts.push(said.iter().map(|(text, _)| text.trim_start()).collect::<Vec<_>>().join(", "));
            parts.push(format!("{} of {} done", units::count(work.tables_done), units::counted(work.tables, "table")));
        }
        None => parts.push(units::duration(since)),
    }
    let share =
        |busy: &Busy| if busy.rows > 0 { percent(busy.rows_done, busy.rows).trim_start().to_string() } else { rows(busy.rows_done) };
    let named = |of: Phase, table: &str| if of == phase { visible(table) } else { format!("{} {}", of.as_str(), visible(table)) };
    parts.extend(count.busy(now).take(MOST_LINES).map(|(of, table, busy)| format!("{} {}", named(of, table), share(busy))));
    parts.extend(count.objects(now).take(MOST_LINES).map(|(object, time)| format!("{} {}", visible(object), units::duration(time))));
    Some(format!("{}: {}", phase.as_str(), parts.join("; ")))
}

/// The total: a bar, and as many facts as there is room for.
fn head(phase: Phase, work: &mut Work, now: Instant, width: usize, color: bool) -> String {
    let name = format!("{:<11} ", phase.as_str());
    let mut facts = facts(work, now);
    let length = |facts: &[(String, u8)]| facts.iter().map(|(text, _)| text.chars().count() + 2).sum::<usize>();
    // The last is the first that can be missed.
    while facts.len() > 1 && name.len() + NARROWEST_BAR + length(&facts) > width {
        facts.pop();
    }
    let room = width.saturating_sub(name.len() + length(&facts)).min(WIDEST_BAR);
    let bar = if room >= NARROWEST_BAR { bar(work.rows_done, work.rows, room, color) } else { String::new() };
    facts.sort_by_key(|(_, place)| *place);
    let facts: String = facts.iter().map(|(text, _)| format!("  {text}")).collect();
    if bar.is_empty() { cut(&format!("{name}{}", facts.trim_start()), width) } else { format!("{name}{bar}{facts}") }
}

/// What there is to say of the total, the most wanted first, each with its place from the left.
fn facts(work: &mut Work, now: Instant) -> Vec<(String, u8)> {
    let (rows, bytes, eta) = work.pace(now);
    let mut facts = vec![(percent(work.rows_done, work.rows), 0)];
    facts.extend(eta.map(|eta| (format!("{} left", about(eta)), 3)));
    facts.push((format!("{} of {} rows", units::count(work.rows_done.min(work.rows)), units::count(work.rows)), 1));
    if bytes > 0.0 {
        facts.push((format!("{}/s", units::bytes(bytes as u64)), 2));
    } else if rows > 0.0 {
        facts.push((format!("{}/s", units::counted(rows as u64, "row")), 2));
    }
    facts
}

/// The frame that stands on the terminal.
#[derive(Debug, Default)]
pub struct Shown {
    /// The columns of each of its lines.
    lines: Vec<usize>,
    columns: usize,
}

impl Shown {
    /// What has to be written before the next frame. A terminal that was made narrower has broken the lines of the last one, and who takes those
    /// away counts as many as were written: the rest, above, is taken away here.
    pub fn before(&mut self, text: &str, columns: usize) -> String {
        let rows = |columns: usize| self.lines.iter().map(|line| line.div_ceil(columns.max(1)).max(1)).sum::<usize>();
        let broken = if columns < self.columns { rows(columns) - rows(self.columns) } else { 0 };
        *self = Shown { lines: text.lines().map(columns_without_color).collect(), columns };
        // The last line is filled up with blanks, so that the cursor stands at the edge.
        self.lines.last_mut().into_iter().for_each(|line| *line = columns);
        if broken > 0 { format!("\x1b[{broken}A\r\x1b[J") } else { String::new() }
    }
}

/// Without the sequences that colour it.
fn columns_without_color(line: &str) -> usize {
    let mut parts = line.split('\x1b');
    let plain = parts.next().map_or(0, columns_of);
    plain + parts.map(|part| part.split_once('m').map_or(0, |(_, text)| columns_of(text))).sum::<usize>()
}

/// Half a second more or less is not known.
fn about(time: Duration) -> String {
    let seconds = time.as_secs_f64().round().max(1.0);
    if seconds < 60.0 { format!("{seconds} s") } else { units::duration(Duration::from_secs_f64(seconds)) }
}

fn below(count: &Count, now: Instant, width: usize, color: bool, counts_rows: bool) -> Vec<String> {
    let current = count.current();
    let named = |of: Phase, table: &str| if Some(of) == current { visible(table) } else { format!("{} {}", of.as_str(), visible(table)) };
    let busy: Vec<(String, &Busy)> = count.busy(now).map(|(of, table, busy)| (named(of, table), busy)).collect();
    let longest = busy.iter().map(|(name, _)| columns_of(name)).max().unwrap_or_default();
    let name_width = longest.min(width.saturating_sub(2) / 2).min(40);
    let mut lines: Vec<String> = Vec::new();
    for (name, busy) in &busy {
        let name = padded(name, name_width);
        let rows = rows(busy.rows_done);
        let room = width.saturating_sub(2 + name_width);
        let line = if busy.rows == 0 {
            cut(&format!("  {name}  {rows}"), width)
        } else {
            let share = percent(busy.rows_done, busy.rows);
            let bar_room = room.saturating_sub(2 + 2 + share.len() + 2 + rows.len()).min(18);
            if bar_room >= NARROWEST_BAR {
                format!("  {name}  {}  {share}  {rows}", bar(busy.rows_done, busy.rows, bar_room, color))
            } else {
                cut(&format!("  {name}  {share}"), width)
            }
        };
        lines.push(line);
    }
    lines.extend(count.objects(now).map(|(object, time)| cut(&format!("  {}  {}", visible(object), units::duration(time)), width)));
    if let Some(work) = current.and_then(|phase| count.work.get(&phase)).filter(|work| counts_rows && work.tables > 8 && !work.ended) {
        lines.insert(0, cut(&format!("  {} of {} done", units::count(work.tables_done), units::counted(work.tables, "table")), width));
    }
    lines
}

fn rows(number: u64) -> String {
    units::counted(number, "row")
}

/// Whole per cents, and 100 only for all of it.
fn percent(done: u64, of: u64) -> String {
    let share = (u128::from(done.min(of)) * 100).checked_div(u128::from(of)).unwrap_or(100);
    format!("{share:>3} %")
}

/// `━━━━━━━╸     `
fn bar(done: u64, of: u64, width: usize, color: bool) -> String {
    let halves = (u128::from(done.min(of)) * 2 * width as u128).checked_div(u128::from(of)).unwrap_or(2 * width as u128) as usize;
    let (full, half) = (halves / 2, halves % 2);
    let filled = format!("{}{}", "━".repeat(full), "╸".repeat(half));
    let filled = if color && !filled.is_empty() { format!("\x1b[36m{filled}\x1b[0m") } else { filled };
    format!("{filled}{}", " ".repeat(width - full - half))
}

fn spinner(since: Duration) -> char {
    ['-', '\\', '|', '/'][(since.as_millis() / 200 % 4) as usize]
}

fn padded(text: &str, width: usize) -> String {
    let text = cut(text, width);
    let columns = columns_of(&text);
    format!("{text}{}", " ".repeat(width.saturating_sub(columns)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Event;

    fn at(start: Instant, seconds: f64) -> Instant {
        start + Duration::from_secs_f64(seconds)
    }

    /// Half of a copy of two tables, at 1,000 rows and a megabyte a second, while an index is built.
    fn half_way(start: Instant) -> Count {
        let mut count = Count::new(start);
        let phase = Phase::Copy;
        count.add(&Event::PhaseStarted(phase), start);
        count.add(&Event::Total { phase, tables: 2, rows: 10_000, rows_done: 0 }, start);
        count.add(&Event::TableStarted { phase, table: "orders".into(), rows: 8_000 }, start);
        count.add(&Event::ObjectStarted("index orders_by_day".into()), start);
        for step in 0..10 {
            let now = at(start, f64::from(step) * 0.5);
            count.add(&Event::TableAdvanced { phase, table: "orders".into(), rows: 500, bytes: 500_000 }, now);
            frame(&mut count, now, 80, 24, false);
        }
        count
    }

    #[test]
    fn a_copy_half_way_on_terminals_of_every_width() {
        let start = Instant::now();
        let now = at(start, 5.0);
        let shown = frame(&mut half_way(start), now, 100, 24, false);
        assert_eq!(
            shown,
            "copy        ━━━━━━━━━━━━━━━━                   50 %  5,000 of 10,000 rows  900 kB/s  6 s left\n  \
             orders  ━━━━━━━━━━━          62 %  5,000 rows\n  index orders_by_day  5.0 s"
        );
        assert_eq!(frame(&mut half_way(start), now, 40, 24, false).lines().next(), Some("copy        ━━━━━        50 %  6 s left"));
        let narrow = frame(&mut half_way(start), now, 60, 24, false);
        assert_eq!(narrow.lines().next(), Some("copy        ━━━━       50 %  5,000 of 10,000 rows  6 s left"));
        for columns in 1..200 {
            for line in frame(&mut half_way(start), now, columns, 24, false).lines() {
                assert!(columns_of(line) < columns.max(11), "{columns}: {line:?}");
            }
        }
    }

    #[test]
    fn a_terminal_that_was_made_narrower_keeps_no_broken_lines() {
        let mut shown = Shown::default();
        let (wide, narrow) = (format!("\x1b[36m{}\x1b[0m\n{}", "━".repeat(70), "x".repeat(30)), "y".repeat(20));
        assert_eq!(shown.before(&wide, 80), "");
        assert_eq!(shown.before(&wide, 80), "");
        // 70 columns take three rows of 25, and the last line, which was filled up to 80, takes four: two and three more than they took.
        assert_eq!(shown.before(&narrow, 25), "\x1b[5A\r\x1b[J");
        assert_eq!((shown.before(&narrow, 25), shown.before(&wide, 90)), (String::new(), String::new()));
    }

    #[test]
    fn the_same_as_one_line() {
        let start = Instant::now();
        assert_eq!(
            line(&mut half_way(start), at(start, 5.0)).unwrap(),
            "copy: 50 %, 5,000 of 10,000 rows, 900 kB/s, 6 s left; 0 of 2 tables done; orders 62 %; index orders_by_day 5.0 s"
        );
    }

    #[test]
    fn a_resumed_copy_starts_where_it_was_and_its_pace_is_its_own() {
        let start = Instant::now();
        let mut count = Count::new(start);
        let phase = Phase::Copy;
        count.add(&Event::PhaseStarted(phase), start);
        count.add(&Event::Total { phase, tables: 1, rows: 1_000_000, rows_done: 900_000 }, start);
        for step in 0..=4 {
            frame(&mut count, at(start, f64::from(step)), 100, 24, false);
            count.add(&Event::TableAdvanced { phase, table: "t".into(), rows: 1000, bytes: 0 }, at(start, f64::from(step) + 0.5));
        }
        let shown = frame(&mut count, at(start, 5.0), 100, 24, false);
        assert!(
            shown.starts_with("copy ") && shown.contains("90 %") && shown.contains("1,000 rows/s") && shown.contains("1m 35s left"),
            "{shown}"
        );
    }

    #[test]
    fn thousands_of_tables_take_no_more_than_their_lines() {
        let start = Instant::now();
        let mut count = Count::new(start);
        count.add(&Event::PhaseStarted(Phase::Copy), start);
        count.add(&Event::Total { phase: Phase::Copy, tables: 2000, rows: 6000, rows_done: 0 }, start);
        for table in 0..2000 {
            count.add(&Event::TableStarted { phase: Phase::Copy, table: format!("t{table:04}"), rows: 3 }, start);
        }
        let shown = frame(&mut count, at(start, 1.0), 80, 24, false);
        assert_eq!(shown.lines().count(), 1 + MOST_LINES, "{shown}");
        assert!(shown.contains("0 of 2,000 tables done") && shown.ends_with("and 1994 more"), "{shown}");
        assert_eq!(frame(&mut count, at(start, 1.0), 80, 3, false).lines().count(), 2);
        // What has just begun is not worth a line that flickers.
        assert_eq!(frame(&mut count, at(start, 0.1), 80, 24, false).lines().count(), 2);
    }
}
