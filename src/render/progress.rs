//! How far a migration is: bars on a terminal, a line every ten seconds elsewhere, or JSON events.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::json;

use crate::model::Event;
use crate::render::{Ui, units};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ProgressStyleChoice {
    /// Bars on a terminal, plain lines elsewhere.
    #[default]
    Auto,
    Plain,
    Json,
    None,
}

/// Shows the events of one run, on stderr.
pub struct Progress {
    state: Mutex<State>,
}

struct State {
    style: Style,
    started: Instant,
    total_rows: u64,
    total_tables: u64,
    rows: u64,
    bytes: u64,
    tables_done: u64,
    phase: &'static str,
}

enum Style {
    Bars { all: MultiProgress, total: ProgressBar, tables: BTreeMap<String, TableBar> },
    Plain { next: Instant },
    Json,
    Silent,
}

/// The line of a table that is being copied.
struct TableBar {
    bar: ProgressBar,
    started: Instant,
    rows: u64,
    bytes: u64,
    rows_expected: u64,
}

/// Between two plain lines.
const PLAIN_INTERVAL: Duration = Duration::from_secs(10);

impl Progress {
    pub fn new(ui: &Ui, choice: ProgressStyleChoice) -> Self {
        let style = match choice {
            _ if ui.quiet => Style::Silent,
            ProgressStyleChoice::None => Style::Silent,
            ProgressStyleChoice::Json => Style::Json,
            ProgressStyleChoice::Auto if ui.live => bars(),
            ProgressStyleChoice::Auto | ProgressStyleChoice::Plain => Style::Plain { next: Instant::now() + PLAIN_INTERVAL },
        };
        let state = State { style, started: Instant::now(), total_rows: 0, total_tables: 0, rows: 0, bytes: 0, tables_done: 0, phase: "" };
        Progress { state: Mutex::new(state) }
    }

    /// Shows one event. Called from many threads; what cannot be shown is passed over.
    pub fn show(&self, event: &Event) {
        let Ok(mut state) = self.state.lock() else { return };
        state.count(event);
        state.draw(event);
    }

    /// Takes the bars away, so that the report stands alone.
    pub fn finish(&self) {
        if let Ok(state) = self.state.lock()
            && let Style::Bars { all, .. } = &state.style
        {
            // A terminal that is gone needs no clearing.
            let _ = all.clear();
        }
    }
}

fn bars() -> Style {
    let all = MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(10));
    let total = all.add(ProgressBar::new(0));
    // How much there is to do is known only after looking.
    total.set_style(style("{prefix:<10} {spinner} {msg}"));
    total.enable_steady_tick(Duration::from_millis(100));
    Style::Bars { all, total, tables: BTreeMap::new() }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("━━ ").tick_chars("-\\|/ ")
}

impl State {
    fn count(&mut self, event: &Event) {
        match event {
            Event::PhaseStarted(phase) => self.phase = phase.as_str(),
            Event::Total { tables, rows, .. } => {
                (self.total_tables, self.total_rows) = (*tables, *rows);
                (self.rows, self.bytes, self.tables_done) = (0, 0, 0);
                self.started = Instant::now();
            }
            Event::TableAdvanced { rows, bytes, .. } => {
                self.rows += rows;
                self.bytes += bytes;
            }
            Event::TableEnded { .. } => self.tables_done += 1,
            _ => {}
        }
    }

    /// `1,204,000 of 5,050,000 rows, 48 MB/s, 12 s left`
    fn summary(&self) -> String {
        summary(self.rows, self.total_rows, self.bytes, self.started.elapsed())
    }

    fn draw(&mut self, event: &Event) {
        let summary = self.summary();
        match &mut self.style {
            Style::Silent => {}
            Style::Json => {
                let line = json_event(event, self.started.elapsed());
                // Nobody listens any more: the work goes on.
                let _ = writeln!(std::io::stderr(), "{line}");
            }
            Style::Plain { next } => {
                if Instant::now() >= *next && self.total_rows > 0 {
                    *next = Instant::now() + PLAIN_INTERVAL;
                    let _ = writeln!(std::io::stderr(), "{}: {summary}, {} of {} tables", self.phase, self.tables_done, self.total_tables);
                }
            }
            Style::Bars { all, total, tables } => match event {
                Event::PhaseStarted(phase) => total.set_prefix(phase.as_str()),
                Event::Total { rows, .. } => {
                    total.set_style(style("{prefix:<10} {bar:30} {percent:>3}%  {msg}"));
                    total.set_length(*rows);
                }
                Event::TableStarted { table, rows } => {
                    let bar = all.add(ProgressBar::new(*rows));
                    bar.set_style(style("  {prefix:<20.20} {bar:18} {percent:>3}%  {msg}"));
                    bar.set_prefix(crate::render::visible(table));
                    tables.insert(table.clone(), TableBar { bar, started: Instant::now(), rows: 0, bytes: 0, rows_expected: *rows });
                }
                Event::TableAdvanced { table, rows, bytes } => {
                    total.set_position(self.rows);
                    total.set_message(summary);
                    if let Some(line) = tables.get_mut(table) {
                        line.advance(*rows, *bytes);
                    }
                }
                Event::TableEnded { table, .. } => {
                    if let Some(line) = tables.remove(table) {
                        line.bar.finish_and_clear();
                    }
                }
                Event::Note(text) => total.set_message(text.clone()),
                Event::PhaseEnded { .. } | Event::Warning(_) => {}
            },
        }
    }
}

impl TableBar {
    fn advance(&mut self, rows: u64, bytes: u64) {
        self.rows += rows;
        self.bytes += bytes;
        self.bar.set_position(self.rows);
        self.bar.set_message(summary(self.rows, self.rows_expected, self.bytes, self.started.elapsed()));
    }
}

/// `1,204,000 of 5,050,000 rows, 310 MB, 48 MB/s, 12 s left`
fn summary(rows: u64, of: u64, bytes: u64, elapsed: Duration) -> String {
    let mut parts = vec![format!("{} of {} rows", units::count(rows), units::count(of))];
    if bytes > 0 {
        parts.push(units::bytes(bytes));
        parts.extend(units::bytes_per_second(bytes, elapsed));
    }
    if rows > 0 && rows < of {
        let left = elapsed.as_secs_f64() * (of - rows) as f64 / rows as f64;
        parts.push(format!("{} left", units::duration(Duration::from_secs_f64(left))));
    }
    parts.join(", ")
}

fn json_event(event: &Event, elapsed: Duration) -> serde_json::Value {
    let seconds = elapsed.as_secs_f64();
    match event {
        Event::PhaseStarted(phase) => json!({"event": "phase_started", "seconds": seconds, "phase": phase.as_str()}),
        Event::PhaseEnded { phase, seconds: took } => {
            json!({"event": "phase_ended", "seconds": seconds, "phase": phase.as_str(), "took_seconds": took})
        }
        Event::Total { tables, rows, bytes } => {
            json!({"event": "total", "seconds": seconds, "tables": tables, "rows": rows, "bytes": bytes})
        }
        Event::TableStarted { table, rows } => json!({"event": "table_started", "seconds": seconds, "table": table, "rows": rows}),
        Event::TableAdvanced { table, rows, bytes } => {
            json!({"event": "table_advanced", "seconds": seconds, "table": table, "rows": rows, "bytes": bytes})
        }
        Event::TableEnded { table, rows_written, rows_rejected } => {
            json!({"event": "table_ended", "seconds": seconds, "table": table, "rows_written": rows_written, "rows_rejected": rows_rejected})
        }
        Event::Note(text) => json!({"event": "note", "seconds": seconds, "text": text}),
        Event::Warning(text) => json!({"event": "warning", "seconds": seconds, "text": text}),
    }
}
